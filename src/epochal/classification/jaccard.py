"""The Jaccard index: intersection over union."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from epochal.classification.counts import BinaryScore, MulticlassScore, MultilabelScore, Score
from epochal.classification.outcomes import Counts, GivenCounts
from epochal.classification.tables import GLOBAL, choose
from epochal.metric import MetricOptions, fixed
from epochal.numeric import Numbers, steps


class JaccardIndex(Score):
    r"""Intersection over union of what is predicted and what is true.

    .. math:: \frac{tp}{tp + fp + fn}

    A class that is ``ignore_index`` is left out of the averages, as a void class in segmentation is. Source: Jaccard (1901).
    """

    higher_is_better = True

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        zero_division: float = 0,
        **kwargs: Any,
    ) -> Any:
        arguments = {name: value for name, value in locals().items() if name not in ("cls", "task")}
        return choose(cls, task, arguments)

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(counts.tp, counts.predicted + counts.fn)

    def value(self, counts: Counts) -> Numbers:
        void = self.task.ignore_index
        if self.task.one_class_each and void is not None and 0 <= void < counts.tp.shape[-1]:
            others = 1.0 * (steps(counts.tp) != void)
            counts = GivenCounts(counts.tp, counts.predicted * others, counts.true)  # nothing of it is true
        return super().value(counts)


class BinaryJaccardIndex(BinaryScore, JaccardIndex):
    """Jaccard index in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryJaccardIndex()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.3333)
    """

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(threshold, GLOBAL, ignore_index, validate_args, zero_division=zero_division, logits=logits, **kwargs)


class MulticlassJaccardIndex(MulticlassScore, JaccardIndex):
    """Jaccard index in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassJaccardIndex(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.6667)
    """

    def __init__(
        self,
        num_classes: int,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_classes, 1, average, GLOBAL, ignore_index, validate_args, zero_division=zero_division, **kwargs)


class MultilabelJaccardIndex(MultilabelScore, JaccardIndex):
    """Jaccard index in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelJaccardIndex(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.7500)
    """

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_labels,
            threshold,
            average,
            GLOBAL,
            ignore_index,
            validate_args,
            zero_division=zero_division,
            logits=logits,
            **kwargs,
        )


def binary_jaccard_index(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
) -> Tensor:
    """Functional form of :class:`BinaryJaccardIndex`."""
    return fixed(BinaryJaccardIndex, threshold, ignore_index, validate_args, zero_division).of(preds, target)


def multiclass_jaccard_index(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
) -> Tensor:
    """Functional form of :class:`MulticlassJaccardIndex`."""
    return fixed(MulticlassJaccardIndex, num_classes, average, ignore_index, validate_args, zero_division).of(preds, target)


def multilabel_jaccard_index(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
) -> Tensor:
    """Functional form of :class:`MultilabelJaccardIndex`."""
    return fixed(MultilabelJaccardIndex, num_labels, threshold, average, ignore_index, validate_args, zero_division).of(
        preds, target
    )


def jaccard_index(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
) -> Tensor:
    """Functional form of :class:`JaccardIndex`."""
    return fixed(
        JaccardIndex, task, threshold, num_classes, num_labels, average, ignore_index, validate_args, zero_division=zero_division
    ).of(preds, target)
