"""The areas under the curves: AUROC and average precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.points import Points
from epochal.classification.ranked import (
    BinaryRanked,
    MulticlassRanks,
    MultilabelRanks,
    RankedMetric,
    Ranking,
    Thresholds,
    hashable,
)
from epochal.classification.tables import choose
from epochal.metric import MetricOptions, fixed


class AreaMetric(RankedMetric):
    """A number for the points of each class. Binned, it is that of the scores rounded down to a threshold.

    ``compute()``: a scalar, or ``(C,)`` with ``average="none"``; NaN where it is not defined, which an average leaves out.
    """

    higher_is_better = True

    def area(self, points: Points) -> Tensor:
        """Of the last dimension."""
        raise NotImplementedError(check.message(self, "area is not defined", "an area of a curve defines it"))

    def value(self, ranking: Ranking) -> Tensor:
        if self.task.classes == 1:
            return self.area(ranking.each[0])
        if self.average == "micro":
            return self.area(ranking.pooled)
        areas = ranking.of(self.area)
        if self.average in ("none", None):
            return areas
        weights = ranking.positives if self.average == "weighted" else torch.ones_like(areas)
        weights = torch.where(areas.isnan(), 0.0, weights)
        return weights @ areas.nan_to_num() / weights.sum()


class AUROC(AreaMetric):
    r"""The area under the receiver operating characteristic: how often a positive scores more than a negative, ties counting half.

    .. math:: \frac{1}{P N} \sum_{i \in P} \sum_{j \in N} [s_i > s_j] + \tfrac{1}{2} [s_i = s_j]

    ``max_fpr``, for a binary task: the area up to this false positive rate, scaled so that chance is 0.5 and the best 1. NaN
    without positives or without negatives. Source: Hanley and McNeil (1982), McClish (1989).
    """

    max_fpr: float | None = None

    def __new__(
        cls,
        task: str | None = None,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        max_fpr: float | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def area(self, points: Points) -> Tensor:
        most = self.max_fpr
        if most is None or most == 1:
            return points.wins / (points.positives * points.negatives)
        points = points.closed
        right, left, top, low = (rate[..., part] for rate in (points.fpr, points.recall) for part in (slice(-1), slice(1, None)))
        end = right.clamp(max=most)
        height = low + (top - low) * ((end - left) / (right - left)).nan_to_num(0.0)  # at the end, on the line
        partial = ((end - left).clamp(min=0) * (low + height) / 2).sum(-1)
        chance = most**2 / 2
        return (1 + (partial - chance) / (most - chance)) / 2


class AveragePrecision(AreaMetric):
    r"""The area under the precision-recall curve, by steps: the mean precision over the positives.

    .. math:: \sum_i (R_i - R_{i + 1}) P_i

    with precision and recall at ascending thresholds. NaN without positives. Source: scikit-learn's ``average_precision_score``.
    """

    def __new__(
        cls,
        task: str | None = None,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def area(self, points: Points) -> Tensor:
        points = points.closed
        step = points.tp[..., :-1] - points.tp[..., 1:]
        return (step * points.precision[..., :-1].nan_to_num()).sum(-1) / points.positives


# --- the metrics of each task -------------------------------------------------------------------------------------------------


class MulticlassArea(AreaMetric):
    """Of a multiclass task, each class against the others: ``update(preds, target)`` with scores ``(N, num_classes, ...)`` and
    labels ``(N, ...)``."""

    task_name = "multiclass"
    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = MulticlassRanks(num_classes, 1, ignore_index, logits)
        super().__init__(task, thresholds, average, validate_args, **kwargs)


class MultilabelArea(AreaMetric):
    """Of a multilabel task: ``update(preds, target)`` with scores and labels 0 and 1 of one shape ``(N, num_labels, ...)``."""

    task_name = "multilabel"
    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        average: str | None = "macro",
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = MultilabelRanks(num_labels, 0.5, ignore_index, logits)
        super().__init__(task, thresholds, average, validate_args, **kwargs)


class BinaryAUROC(BinaryRanked, AUROC):
    """AUROC of a binary task; as :class:`BinaryRanked` and :class:`RankedMetric` say.

    >>> metric = BinaryAUROC()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    def __init__(
        self,
        max_fpr: float | None = None,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        normalization: str | None = "sigmoid",
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(thresholds, ignore_index, validate_args, normalization, logits=logits, **kwargs)
        if max_fpr is not None:
            check.number(self, "max_fpr", max_fpr, 0, 1)
            if not max_fpr:
                check.fail(self, f"max_fpr is {max_fpr!r}", "a number in (0, 1] is needed")
        self.max_fpr = max_fpr


class MulticlassAUROC(MulticlassArea, AUROC):
    """AUROC of a multiclass task; as :class:`MulticlassArea` and :class:`RankedMetric` say.

    >>> metric = MulticlassAUROC(num_classes=3)
    >>> metric(torch.tensor([[4.0, 1, 2], [1, 3, 2], [1, 2, 0], [0, 1, 3]]), torch.tensor([0, 1, 2, 2]))
    tensor(0.7778)
    """


class MultilabelAUROC(MultilabelArea, AUROC):
    """AUROC of a multilabel task; as :class:`MultilabelArea` and :class:`RankedMetric` say.

    >>> metric = MultilabelAUROC(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7], [0.3, 0.1]]), torch.tensor([[1, 0], [0, 1], [1, 1]]))
    tensor(0.5000)
    """


class BinaryAveragePrecision(BinaryRanked, AveragePrecision):
    """Average precision of a binary task; as :class:`BinaryRanked` and :class:`RankedMetric` say.

    >>> metric = BinaryAveragePrecision()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5833)
    """


class MulticlassAveragePrecision(MulticlassArea, AveragePrecision):
    """Average precision of a multiclass task; as :class:`MulticlassArea` and :class:`RankedMetric` say.

    >>> metric = MulticlassAveragePrecision(num_classes=3)
    >>> metric(torch.tensor([[4.0, 1, 2], [1, 3, 2], [1, 2, 0], [0, 1, 3]]), torch.tensor([0, 1, 2, 2]))
    tensor(0.7500)
    """


class MultilabelAveragePrecision(MultilabelArea, AveragePrecision):
    """Average precision of a multilabel task; as :class:`MultilabelArea` and :class:`RankedMetric` say.

    >>> metric = MultilabelAveragePrecision(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7], [0.3, 0.1]]), torch.tensor([[1, 0], [0, 1], [1, 1]]))
    tensor(0.8333)
    """


def binary_auroc(
    preds: Tensor,
    target: Tensor,
    max_fpr: float | None = None,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryAUROC`."""
    return fixed(BinaryAUROC, max_fpr, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def multiclass_auroc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassAUROC`."""
    return fixed(MulticlassAUROC, num_classes, average, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def multilabel_auroc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelAUROC`."""
    return fixed(MultilabelAUROC, num_labels, average, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def auroc(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    max_fpr: float | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`AUROC`."""
    return fixed(AUROC, task, hashable(thresholds), num_classes, num_labels, average, max_fpr, ignore_index, validate_args).of(
        preds, target
    )


def binary_average_precision(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryAveragePrecision`."""
    return fixed(BinaryAveragePrecision, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def multiclass_average_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassAveragePrecision`."""
    return fixed(MulticlassAveragePrecision, num_classes, average, hashable(thresholds), ignore_index, validate_args).of(
        preds, target
    )


def multilabel_average_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelAveragePrecision`."""
    return fixed(MultilabelAveragePrecision, num_labels, average, hashable(thresholds), ignore_index, validate_args).of(
        preds, target
    )


def average_precision(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`AveragePrecision`."""
    return fixed(AveragePrecision, task, hashable(thresholds), num_classes, num_labels, average, ignore_index, validate_args).of(
        preds, target
    )
