"""Curves over all thresholds: precision against recall, and the receiver operating characteristic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

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
from epochal.plot import curve

Curve = tuple[Tensor, ...]


class CurveMetric(RankedMetric):
    """A curve: two rates at every threshold, and the thresholds; exact, in lists with an entry for each class.

    An average over classes is a curve, too, whose area is the average of their areas: the mean over classes that have one, at each
    point of any of them. Its thresholds are those of all classes, in order; a point of it belongs to no single one.
    """

    def curve(self, points: Points) -> Curve:
        """Of one class."""
        raise NotImplementedError(check.message(self, "curve is not defined", "a curve of scores defines it"))

    def mean(self, each: Sequence[Points], weights: Tensor) -> Curve:
        """The curve that is averaged over classes, weighted."""
        raise NotImplementedError(check.message(self, "mean is not defined", "a curve of scores defines it"))

    def value(self, ranking: Ranking) -> Any:
        if self.task.classes == 1:
            return self.curve(ranking.each[0])
        if self.average == "micro":
            return self.curve(ranking.pooled)
        if self.average in ("none", None):
            return ranking.curves(self.curve)
        return self.mean(ranking.each, ranking.positives if self.average == "weighted" else torch.ones_like(ranking.positives))


def mean_of(curves: Sequence[tuple[Tensor, Tensor]], grid: Tensor, weights: Tensor, at: Callable[..., Tensor]) -> Tensor:
    """The weighted mean over (x, y) with x ascending, read ``at`` a grid; those with NaN have no part in it."""
    defined = torch.stack([~(x.isnan().any() | y.isnan().any()) for x, y in curves])
    weights = torch.where(defined, weights, 0.0)
    values = torch.stack([at(x.nan_to_num(), y.nan_to_num(), grid) for x, y in curves])
    return (weights / weights.sum()) @ values


def at_step(x: Tensor, y: Tensor, grid: Tensor) -> Tensor:
    """The y of the first point whose x is not below."""
    return y[torch.searchsorted(x, grid).clamp(max=x.shape[0] - 1)]


def on_line(x: Tensor, y: Tensor, grid: Tensor) -> Tensor:
    """On the line through the points: where it rises upright, the lower end for the first of equal grid points, else the upper."""
    last = x.shape[0] - 1
    below = torch.searchsorted(x, grid).clamp(max=last)  # the first point that is not left of it
    above = (torch.searchsorted(x, grid, right=True) - 1).clamp(min=0)  # the last that is not right of it
    lowest = torch.ones_like(grid, dtype=torch.bool)
    lowest[1:] = grid[1:] != grid[:-1]
    lowest[:-1] &= grid[1:] == grid[:-1]
    low, width = x[above], x[below] - x[above]
    between = y[above] + (y[below] - y[above]) * ((grid - low) / width).nan_to_num(0.0, 0.0, 0.0)
    return torch.where(below > above, between, y[torch.where(lowest, below, above)])


class PrecisionRecallCurve(CurveMetric):
    r"""Precision against recall.

    .. math:: P = \frac{tp}{tp + fp}, \quad R = \frac{tp}{tp + fn}

    of scores at least each threshold, in ascending order; then precision 1 and recall 0, of no threshold. ``compute()``:
    precision ``(T + 1,)``, recall ``(T + 1,)`` and thresholds ``(T,)``: exact, all scores that occur. For each class lists of
    these, or with shared thresholds ``(C, T + 1)``, ``(C, T + 1)`` and ``(T,)``. A rate over no samples is NaN: recall without
    positives, precision where nothing scores as much. Source: scikit-learn's ``precision_recall_curve``.
    """

    plot = curve(x=("Recall", 1), y=("Precision", 0))

    def __new__(
        cls,
        task: str | None = None,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        average: str | None = None,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def curve(self, points: Points) -> Curve:
        end = torch.zeros_like(points.positives).unsqueeze(-1)
        return torch.cat([points.precision, end + 1], -1), torch.cat([points.recall, end], -1), points.thresholds

    def mean(self, each: Sequence[Points], weights: Tensor) -> Curve:
        curves = [self.curve(points) for points in each]
        grid = torch.cat([recall.nan_to_num() for _, recall, _ in curves]).sort().values
        closed = [(points.closed.recall.flip(-1), points.closed.precision.flip(-1)) for points in each]
        steps = [(recall, torch.where(recall == 0, 1.0, precision)) for recall, precision in closed]
        precision = mean_of(steps, grid, weights, at_step)
        return precision.flip(-1), grid.flip(-1), torch.cat([points.thresholds for points in each]).sort().values


class ROC(CurveMetric):
    r"""The receiver operating characteristic: how many positives against how many negatives score at least each threshold.

    .. math:: \mathit{fpr} = \frac{fp}{fp + tn}, \quad \mathit{tpr} = \frac{tp}{tp + fn}

    at thresholds in descending order. ``compute()``: fpr, tpr and thresholds ``(T,)``: exact, infinity and all scores that
    occur, so that the curve begins at (0, 0). For each class lists of these, or with shared thresholds ``(C, T)``, ``(C, T)``
    and ``(T,)``. A rate over no samples is NaN: fpr without negatives, tpr without positives. Source: scikit-learn's
    ``roc_curve``.
    """

    plot = curve(x=("False positive rate", 0), y=("True positive rate", 1))

    def __new__(
        cls,
        task: str | None = None,
        thresholds: Thresholds = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        average: str | None = None,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def curve(self, points: Points) -> Curve:
        if points.exact:  # the first threshold is reached by none
            points = points.closed
            return points.fpr[1:].flip(-1), points.recall[1:].flip(-1), points.thresholds[1:].flip(-1)
        return points.fpr.flip(-1), points.recall.flip(-1), points.thresholds.flip(-1)

    def mean(self, each: Sequence[Points], weights: Tensor) -> Curve:
        curves = [self.curve(points) for points in each]
        grid = torch.cat([fpr.nan_to_num() for fpr, _, _ in curves]).sort().values
        lines = [(points.closed.fpr.flip(-1), points.closed.recall.flip(-1)) for points in each]
        thresholds = torch.cat([part for _, _, part in curves]).sort(descending=True).values
        return grid, mean_of(lines, grid, weights, on_line), thresholds


# --- the metrics of each task -------------------------------------------------------------------------------------------------


class MulticlassCurve(CurveMetric):
    """Of a multiclass task, each class against the others: ``update(preds, target)`` with scores ``(N, num_classes, ...)`` and
    labels ``(N, ...)``."""

    task_name = "multiclass"
    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int,
        thresholds: Thresholds = None,
        average: str | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = MulticlassRanks(num_classes, 1, ignore_index, logits)
        super().__init__(task, thresholds, average, validate_args, **kwargs)


class MultilabelCurve(CurveMetric):
    """Of a multilabel task: ``update(preds, target)`` with scores and labels 0 and 1 of one shape ``(N, num_labels, ...)``."""

    task_name = "multilabel"
    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        average: str | None = None,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = MultilabelRanks(num_labels, 0.5, ignore_index, logits)
        super().__init__(task, thresholds, average, validate_args, **kwargs)


class BinaryPrecisionRecallCurve(BinaryRanked, PrecisionRecallCurve):
    """Precision-recall curve of a binary task; as :class:`BinaryRanked` and :class:`RankedMetric` say.

    >>> metric = BinaryPrecisionRecallCurve()
    >>> [part.tolist() for part in metric(torch.tensor([0.25, 0.5, 0.75]), torch.tensor([0, 1, 1]))]
    [[0.6666666865348816, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 0.0], [0.25, 0.5, 0.75]]
    """


class MulticlassPrecisionRecallCurve(MulticlassCurve, PrecisionRecallCurve):
    """Precision-recall curve of a multiclass task; as :class:`MulticlassCurve` and :class:`RankedMetric` say.

    >>> metric = MulticlassPrecisionRecallCurve(num_classes=3, thresholds=3)
    >>> precision, recall, thresholds = metric(torch.eye(3), torch.tensor([0, 1, 1]))
    >>> recall
    tensor([[1.0000, 1.0000, 1.0000, 0.0000],
            [1.0000, 0.5000, 0.5000, 0.0000],
            [   nan,    nan,    nan, 0.0000]])
    """


class MultilabelPrecisionRecallCurve(MultilabelCurve, PrecisionRecallCurve):
    """Precision-recall curve of a multilabel task; as :class:`MultilabelCurve` and :class:`RankedMetric` say.

    >>> metric = MultilabelPrecisionRecallCurve(num_labels=2, thresholds=3)
    >>> precision, recall, thresholds = metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    >>> recall
    tensor([[1.0000, 0.5000, 0.0000, 0.0000],
            [1.0000, 1.0000, 0.0000, 0.0000]])
    """


class BinaryROC(BinaryRanked, ROC):
    """ROC of a binary task; as :class:`BinaryRanked` and :class:`RankedMetric` say.

    >>> metric = BinaryROC()
    >>> [part.tolist() for part in metric(torch.tensor([0.25, 0.5, 0.75]), torch.tensor([0, 1, 1]))]
    [[0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 0.75, 0.5, 0.25]]
    """


class MulticlassROC(MulticlassCurve, ROC):
    """ROC of a multiclass task; as :class:`MulticlassCurve` and :class:`RankedMetric` say.

    >>> metric = MulticlassROC(num_classes=3, thresholds=3)
    >>> fpr, tpr, thresholds = metric(torch.eye(3), torch.tensor([0, 1, 1]))
    >>> fpr
    tensor([[0.0000, 0.0000, 1.0000],
            [0.0000, 0.0000, 1.0000],
            [0.3333, 0.3333, 1.0000]])
    """


class MultilabelROC(MultilabelCurve, ROC):
    """ROC of a multilabel task; as :class:`MultilabelCurve` and :class:`RankedMetric` say.

    >>> metric = MultilabelROC(num_labels=2, thresholds=3)
    >>> fpr, tpr, thresholds = metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [0, 1]]))
    >>> fpr
    tensor([[0., 0., 1.],
            [0., 0., 1.]])
    """


def binary_precision_recall_curve(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Curve:
    """Functional form of :class:`BinaryPrecisionRecallCurve`."""
    return cast(Curve, fixed(BinaryPrecisionRecallCurve, hashable(thresholds), ignore_index, validate_args).of(preds, target))


def multiclass_precision_recall_curve(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    thresholds: Thresholds = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`MulticlassPrecisionRecallCurve`."""
    return fixed(MulticlassPrecisionRecallCurve, num_classes, hashable(thresholds), average, ignore_index, validate_args).of(
        preds, target
    )


def multilabel_precision_recall_curve(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`MultilabelPrecisionRecallCurve`."""
    return fixed(MultilabelPrecisionRecallCurve, num_labels, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def precision_recall_curve(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`PrecisionRecallCurve`."""
    return fixed(
        PrecisionRecallCurve, task, hashable(thresholds), num_classes, num_labels, ignore_index, validate_args, average=average
    ).of(preds, target)


def binary_roc(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Curve:
    """Functional form of :class:`BinaryROC`."""
    return cast(Curve, fixed(BinaryROC, hashable(thresholds), ignore_index, validate_args).of(preds, target))


def multiclass_roc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    thresholds: Thresholds = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`MulticlassROC`."""
    return fixed(MulticlassROC, num_classes, hashable(thresholds), average, ignore_index, validate_args).of(preds, target)


def multilabel_roc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`MultilabelROC`."""
    return fixed(MultilabelROC, num_labels, hashable(thresholds), ignore_index, validate_args).of(preds, target)


def roc(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Any:
    """Functional form of :class:`ROC`."""
    return fixed(ROC, task, hashable(thresholds), num_classes, num_labels, ignore_index, validate_args, average=average).of(
        preds, target
    )
