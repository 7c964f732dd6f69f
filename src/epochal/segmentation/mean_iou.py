"""Mean intersection over union of label maps."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import ratio
from epochal.segmentation.regions import Overlap, Regions, mean_over_samples

ABSENT = -1.0


def iou(found: Regions) -> tuple[Tensor, Tensor]:
    """Of each sample and class, and whether the class occurs there at all."""
    union = found.preds + found.target - found.both
    return ratio(found.both, union), union > 0


class MeanIoU(Overlap):
    r"""Intersection over union, averaged over all samples and the classes :math:`C_n` that occur in each.

    .. math:: \frac{1}{\sum_n |C_n|} \sum_n \sum_{c \in C_n} \frac{|\hat Y_{nc} \cap Y_{nc}|}{|\hat Y_{nc} \cup Y_{nc}|}

    ``update(preds, target)`` and arguments as in :class:`~epochal.segmentation.regions.Overlap`. ``compute()``: a scalar in
    [0, 1], NaN where no class occurs in any sample; with ``per_class`` ``(C,)``, of each class the mean over the samples in which
    it occurs, -1 where it occurs in none.

    Args:
        per_class: whether each class has a value of its own.

    Source: M. Everingham et al., The Pascal visual object classes challenge, 2010.

    >>> metric = MeanIoU(num_classes=3, input_format="index")
    >>> metric(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]))
    tensor(0.5833)
    """

    def __init__(
        self,
        num_classes: int | None = None,
        include_background: bool = True,
        per_class: bool = False,
        input_format: str = "one-hot",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_classes, include_background, input_format, **kwargs)
        self.per_class = per_class
        shape = (self.scored,) if per_class and self.scored is not None else ()
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.num_classes, self.include_background, self.per_class, self.input_format

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Sums over the samples."""
        found = self.regions(preds, target)
        scores, present = iou(found)
        if not self.per_class:
            scores, present = scores.flatten(), present.flatten()
        return {**mean_over_samples(scores, present), "faults": found.faults}

    def merge(self, a: State, b: State) -> State:
        check.one_number(self, "classes", a["total"], b["total"])
        return super().merge(a, b)

    def value(self, total: Tensor, count: Tensor, **_: Tensor) -> Tensor:
        mean = total / count
        return torch.where(count == 0, ABSENT, mean) if self.per_class else mean


def mean_iou(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    include_background: bool = True,
    per_class: bool = False,
    input_format: str = "one-hot",
) -> Tensor:
    """Of each sample the mean over its classes, ``(N,)``; ``per_class`` ``(N, C)``, -1 where a class is absent."""
    metric: Any = fixed(MeanIoU, num_classes, include_background, per_class, input_format)
    found = metric.regions(preds, target)
    metric.verify({"faults": found.faults})
    scores, present = iou(found)
    if per_class:
        return torch.where(present, scores, ABSENT).to(metric.dtype)
    return (torch.where(present, scores, 0.0).sum(1) / present.sum(1)).to(metric.dtype)
