"""Exact match: a sample is right if all of its labels or positions are."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.tables import GLOBAL, Family, TableMetric, choose
from epochal.classification.tasks import MulticlassExact, MultilabelExact
from epochal.metric import MetricOptions, fixed
from epochal.numeric import Numbers, ratio


class ExactMatch(TableMetric, metaclass=Family):
    r"""The part of the samples that are right in all of their labels (multilabel) or positions (multiclass).

    .. math:: \frac{1}{N} \sum_i \prod_j [\hat y_{ij} = y_{ij}]

    What is ignored counts as right; a sample of which all is ignored does not count. Also called subset accuracy.
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    task: MulticlassExact | MultilabelExact

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def derive(self, table: Tensor) -> dict[str, Numbers]:
        right, total = self.task.matches(self.rows(table))
        return {"right": right, "total": total}

    def value(self, right: Numbers, total: Numbers) -> Numbers:
        return ratio(right, total)


class MulticlassExactMatch(ExactMatch):
    """Exact match of a multiclass task: ``preds`` are scores ``(N, num_classes, ...)`` or labels ``(N, ...)``, ``target``
    labels ``(N, ...)``.

    ``compute()``: a scalar, or ``(N,)`` of 0 and 1 with ``multidim_average="samplewise"``.

    >>> metric = MulticlassExactMatch(num_classes=3)
    >>> metric(torch.tensor([[0, 1], [2, 1]]), torch.tensor([[0, 1], [2, 2]]))
    tensor(0.5000)
    """

    task_name = "multiclass"

    def __init__(
        self,
        num_classes: int,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check.whole(self, "num_classes", num_classes, 2)
        super().__init__(MulticlassExact(num_classes, 1, ignore_index), multidim_average, validate_args, **kwargs)


class MultilabelExactMatch(ExactMatch):
    """Exact match of a multilabel task: ``preds`` and ``target`` ``(N, num_labels, ...)``, as in
    :class:`~epochal.classification.counts.MultilabelScore`; each position of the dimensions behind is a set of labels of its own.

    ``compute()``: a scalar, or with ``multidim_average="samplewise"`` ``(N,)``, each the mean over the positions of a sample.

    >>> metric = MultilabelExactMatch(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.5000)
    """

    task_name = "multilabel"

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(MultilabelExact(num_labels, threshold, ignore_index, logits), multidim_average, validate_args, **kwargs)


def multiclass_exact_match(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multidim_average: str = GLOBAL,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassExactMatch`."""
    return fixed(MulticlassExactMatch, num_classes, multidim_average, ignore_index, validate_args).of(preds, target)


def multilabel_exact_match(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    multidim_average: str = GLOBAL,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelExactMatch`."""
    return fixed(MultilabelExactMatch, num_labels, threshold, multidim_average, ignore_index, validate_args).of(preds, target)


def exact_match(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    threshold: float = 0.5,
    multidim_average: str = GLOBAL,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`ExactMatch`."""
    return fixed(ExactMatch, task, threshold, num_classes, num_labels, multidim_average, ignore_index, validate_args).of(
        preds, target
    )
