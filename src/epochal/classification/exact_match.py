"""Exact match: a sample is right if all of its labels or positions are."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.tables import GLOBAL, SAMPLEWISE, Family, choose
from epochal.classification.tasks import MulticlassCorrect, Multilabel
from epochal.metric import Metric, MetricOptions, State, fixed
from epochal.numeric import ratio


class ExactMatch(Metric, metaclass=Family):
    r"""The part of the samples that are right in all of their labels (multilabel) or positions (multiclass).

    .. math:: \frac{1}{N} \sum_i \prod_j [\hat y_{ij} = y_{ij}]

    What is ignored counts as right; a sample of which all is ignored does not count. Also called subset accuracy.
    """

    is_differentiable = False
    higher_is_better = True
    task_name: ClassVar[str | None] = None

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

    def __init__(
        self,
        task: MulticlassCorrect | Multilabel,
        multidim_average: str = GLOBAL,
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.choice(self, "multidim_average", multidim_average, (GLOBAL, SAMPLEWISE))
        self.__dict__.update(task=task, multidim_average=multidim_average, validate_args=validate_args)
        rows = multidim_average == SAMPLEWISE
        self.add_state("right", [] if rows else torch.zeros(2, dtype=torch.int64), dist_reduce_fx="cat" if rows else "sum")
        self.add_state("total", [] if rows else torch.tensor(0), dist_reduce_fx="cat" if rows else "sum")
        self.add_state("outside", torch.tensor(0), dist_reduce_fx="sum")  # how many scores were no probabilities
        self.add_state("faults", torch.tensor(0), dist_reduce_fx="sum")

    task: MulticlassCorrect | Multilabel
    multidim_average: str
    validate_args: bool

    def measured_by(self) -> Hashable:
        return self.task, self.multidim_average

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Whether each sample is right, read as probabilities and as logits."""
        cells, weight = self.task.encode(self, preds, target)  # (N, X), or (N, labels, X)
        keep = torch.ones_like(cells) if weight is None else weight.view(cells.shape)
        if isinstance(self.task, Multilabel):
            right, outside = self.task.right(cells)
            right, counts = (right | (keep == 0)).all(2), keep.any(1)
        else:
            right, outside = (cells == 1).expand(2, *cells.shape), torch.zeros_like(cells)
            right, counts = (right | (keep == 0)).all(2, keepdim=True), keep.any(1, keepdim=True)
        right, counts = (right & counts).sum(-1).movedim(0, -1), counts.sum(-1)  # (N, 2), (N,)
        state = {"outside": (outside * keep).sum(), "faults": ((cells >= self.task.good) * keep).sum()}
        if self.multidim_average == SAMPLEWISE:
            return {"right": right, "total": counts, **state}
        return {"right": right.sum(0), "total": counts.sum(), **state}

    def value(self, right: Tensor, total: Tensor, outside: Tensor, faults: Tensor) -> Tensor:  # noqa: ARG002
        if not right.numel():  # no sample yet
            return torch.zeros(0)
        return ratio(torch.where(outside > 0, right[..., 1], right[..., 0]).double(), total)

    def verify(self, state: State) -> None:
        if self.validate_args and bool(state["faults"] > 0):
            came = f"{int(state['faults'])} values are labels out of range or NaN"
            check.fail(self, came, f"{self.task.valid} and numbers are needed")

    def diagnose(self, preds: Tensor, target: Tensor) -> None:
        self.task.diagnose(self, preds, target)

    def extra_repr(self) -> str:
        return repr(self.task)


class MulticlassExactMatch(ExactMatch):
    """Exact match of a multiclass task: ``preds`` are scores ``(N, num_classes, ...)`` or labels ``(N, ...)``, ``target`` labels ``(N, ...)``.

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
        super().__init__(MulticlassCorrect(num_classes, 1, ignore_index), multidim_average, validate_args, **kwargs)


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
        super().__init__(Multilabel(num_labels, threshold, ignore_index, logits), multidim_average, validate_args, **kwargs)


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
