"""Intersection over union of boxes in four forms: each a function of two boxes (``boxes.py``), averaged over pairs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.detection import boxes
from epochal.detection.images import Image, pair
from epochal.detection.matching import each_with
from epochal.metric import Metric, MetricOptions, State
from epochal.results import cast, has_double

Similarity = Callable[[Tensor, Tensor], Tensor]


class PairedBoxes(Metric):
    """Base of means over the pairs of a detection and an object of one image: a subclass says what a pair gives (``similarity``).

    ``update(preds, target)``: lists with a dictionary for each image: ``boxes`` ``(N, 4)`` and ``labels`` ``(N,)``, integers. NaN
    gives NaN. ``compute()``: a dictionary of the mean, and with ``class_metrics`` of one for each class, named "iou/cl_3"; 0 where
    there are no pairs. With a gradient.

    Args:
        box_format: "xyxy" (two corners), "xywh" (a corner, width, height) or "cxcywh" (centre, width, height).
        iou_threshold: pairs below it are left out.
        class_metrics: whether there are values of each class that occurs: of the pairs whose object is of it.
        respect_labels: whether only pairs of one label are read; else all of an image.

    Raises:
        ValueError: entries that are missing or whose lengths differ. TypeError: what is no list of dictionaries of tensors.
    """

    is_differentiable = True
    higher_is_better = True
    plot_upper_bound = 1.0
    uncompiled = "compiled, each number of boxes in an image makes a graph of its own"
    name: ClassVar[str]
    similarity: ClassVar[staticmethod[..., Tensor]]

    def __init__(
        self,
        box_format: str = "xyxy",
        iou_threshold: float | None = None,
        class_metrics: bool = False,
        respect_labels: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.choice(self, "box_format", box_format, boxes.FORMATS)
        if iou_threshold is not None:
            check.number(self, "iou_threshold", iou_threshold, -float("inf"))
        check.choice(self, "class_metrics", class_metrics, (True, False))
        check.choice(self, "respect_labels", respect_labels, (True, False))
        self.box_format, self.iou_threshold = box_format, iou_threshold
        self.class_metrics, self.respect_labels = class_metrics, respect_labels
        if class_metrics:
            for field in ("labels", "total", "count"):  # for each class of each batch
                self.add_state(field, [], dist_reduce_fx="cat")
        else:
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
            self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return type(self).similarity, self.box_format, self.iou_threshold, self.class_metrics, self.respect_labels

    def measure(self, preds: Sequence[Image], target: Sequence[Image]) -> State:
        """Sums over pairs, and their number. ``preds``, ``target``: a dictionary for each image."""
        images = pair(self, preds, target, ("labels", "boxes"), ("labels", "boxes"))
        rows = [boxes.boxes(each.entry("boxes"), self.box_format) for each in images]
        labels = [each.labels() for each in images]
        mine, its = (torch.from_numpy(index).to(rows[0].device) for index in within_images(images[0].lengths, images[1].lengths))
        found = type(self).similarity(rows[0][mine], rows[1][its])
        of = labels[1][its]
        kept = torch.ones_like(of, dtype=torch.bool) if not self.respect_labels else labels[0][mine] == of
        if self.iou_threshold is not None:
            kept = kept & ~(found < self.iou_threshold)  # NaN stays
        found = torch.where(kept, found, 0.0)
        if not self.class_metrics:
            return {"total": found.sum(), "count": kept.sum()}
        names, place = torch.unique(torch.cat(labels[::-1]), return_inverse=True)
        return {"labels": names, "total": sums(found, place[its], names), "count": sums(kept.long(), place[its], names)}

    def value(self, total: Tensor, count: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        out = {self.name: mean(total.sum(), count.sum())}
        if labels is not None:
            names, place = torch.unique(labels, return_inverse=True)
            each = mean(sums(total, place, names), sums(count, place, names))
            out |= {f"{self.name}/cl_{label}": value for label, value in zip(names.long().tolist(), each.unbind(), strict=True)}
        return out


def within_images(preds: Sequence[int], target: Sequence[int]) -> tuple[Any, Any]:
    """The places in both of all pairs within an image, from how many rows each image has."""
    numbers = np.array(target, np.int64)
    return each_with(np.repeat(np.cumsum(numbers) - numbers, preds), np.repeat(numbers, preds))


def sums(values: Tensor, place: Tensor, names: Tensor) -> Tensor:
    """By class."""
    return values.new_zeros(names.shape).index_add(0, place, values)


def mean(total: Tensor, count: Tensor) -> Tensor:
    return torch.where(count == 0, 0.0, total / count.clamp_min(1))


def between(
    name: str,
    similarity: Similarity,
    preds: Tensor,
    target: Tensor,
    iou_threshold: float | None,
    replacement_val: float,
    aggregate: bool,
) -> Tensor:
    """What the functions return."""
    for which, given in (("preds", preds), ("target", target)):
        check.tensors(name, **{which: given})
        check.real(name, **{which: given})
        if given.ndim != 2 or given.shape[1] != 4:
            check.fail(name, f"{which} has shape {check.shape(given)}", "(N, 4) is needed")
    a, b = boxes.boxes(preds, "xyxy"), boxes.boxes(target, "xyxy")
    n = min(len(a), len(b))
    found = similarity(a[:n], b[:n]) if aggregate else similarity(a[:, None], b[None])
    if iou_threshold is not None:
        found = torch.where(found < iou_threshold, replacement_val, found)
    value = found.sum() / max(n, 1) if aggregate else found
    result: Tensor = cast(value, torch.float64 if has_double((preds, target), {}) else torch.float32)
    return result


class IntersectionOverUnion(PairedBoxes):
    r"""Intersection over union (IoU) of boxes, the mean over pairs of one label.

    .. math:: IoU = \frac{|A \cap B|}{|A \cup B|}

    Data, arguments and errors as in :class:`~epochal.detection.iou.PairedBoxes`. ``compute()``: "iou", in [0, 1].

    Source: P. Jaccard, The distribution of the flora in the alpine zone, 1912.

    >>> metric = IntersectionOverUnion()
    >>> preds = [{"boxes": torch.tensor([[298.55, 98.96, 314.97, 151.79]]), "labels": torch.tensor([5])}]
    >>> target = [{"boxes": torch.tensor([[300.0, 100.0, 315.0, 150.0]]), "labels": torch.tensor([5])}]
    >>> metric(preds, target)
    {'iou': tensor(0.8614)}
    """

    name = "iou"
    similarity = staticmethod(boxes.overlap)
    plot_lower_bound = 0.0


def intersection_over_union(
    preds: Tensor, target: Tensor, iou_threshold: float | None = None, replacement_val: float = 0, aggregate: bool = True
) -> Tensor:
    """Of boxes (N, 4) and (M, 4), two corners each, the table (N, M); or, to ``aggregate``, the mean of the i-th with the i-th.

    What is below ``iou_threshold`` is ``replacement_val``. See :class:`IntersectionOverUnion`.
    """
    return between("intersection_over_union", boxes.overlap, preds, target, iou_threshold, replacement_val, aggregate)


class GeneralizedIntersectionOverUnion(PairedBoxes):
    r"""Generalized IoU: also of boxes that have nothing in common, by the part of the smallest box C around both that is empty.

    .. math:: GIoU = IoU - \frac{|C| - |A \cup B|}{|C|}

    Data, arguments and errors as in :class:`~epochal.detection.iou.PairedBoxes`. ``compute()``: "giou", in [-1, 1].

    Source: H. Rezatofighi et al., Generalized intersection over union, 2019.

    >>> metric = GeneralizedIntersectionOverUnion()
    >>> preds = [{"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([5])}]
    >>> metric(preds, [{"boxes": torch.tensor([[3.0, 0, 4, 1]]), "labels": torch.tensor([5])}])
    {'giou': tensor(-0.5000)}
    """

    name = "giou"
    similarity = staticmethod(boxes.generalized)
    plot_lower_bound = -1.0


def generalized_intersection_over_union(
    preds: Tensor, target: Tensor, iou_threshold: float | None = None, replacement_val: float = 0, aggregate: bool = True
) -> Tensor:
    """As :func:`intersection_over_union`, of :class:`GeneralizedIntersectionOverUnion`."""
    return between(
        "generalized_intersection_over_union", boxes.generalized, preds, target, iou_threshold, replacement_val, aggregate
    )


class DistanceIntersectionOverUnion(PairedBoxes):
    r"""Distance IoU: less the distance of the centres, over the diagonal c of the smallest box around both.

    .. math:: DIoU = IoU - \frac{\rho^2(a, b)}{c^2}

    Data, arguments and errors as in :class:`~epochal.detection.iou.PairedBoxes`. ``compute()``: "diou", in [-1, 1].

    Source: Z. Zheng et al., Distance-IoU loss: faster and better learning for bounding box regression, 2020.

    >>> metric = DistanceIntersectionOverUnion()
    >>> preds = [{"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([5])}]
    >>> metric(preds, [{"boxes": torch.tensor([[3.0, 0, 4, 1]]), "labels": torch.tensor([5])}])
    {'diou': tensor(-0.5294)}
    """

    name = "diou"
    similarity = staticmethod(boxes.distance)
    plot_lower_bound = -1.0


def distance_intersection_over_union(
    preds: Tensor, target: Tensor, iou_threshold: float | None = None, replacement_val: float = 0, aggregate: bool = True
) -> Tensor:
    """As :func:`intersection_over_union`, of :class:`DistanceIntersectionOverUnion`."""
    return between("distance_intersection_over_union", boxes.distance, preds, target, iou_threshold, replacement_val, aggregate)


class CompleteIntersectionOverUnion(PairedBoxes):
    r"""Complete IoU: distance IoU, less a term for the difference of width over height.

    .. math:: CIoU = DIoU - \frac{v^2}{1 - IoU + v}, \qquad v = \frac{4}{\pi^2}
        \left(\arctan \frac{w_A}{h_A} - \arctan \frac{w_B}{h_B}\right)^2

    Data, arguments and errors as in :class:`~epochal.detection.iou.PairedBoxes`. ``compute()``: "ciou", in (-2, 1].

    Source: Z. Zheng et al., Distance-IoU loss: faster and better learning for bounding box regression, 2020.

    >>> metric = CompleteIntersectionOverUnion()
    >>> preds = [{"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([5])}]
    >>> metric(preds, [{"boxes": torch.tensor([[3.0, 0, 4, 2]]), "labels": torch.tensor([5])}])
    {'ciou': tensor(-0.4642)}
    """

    name = "ciou"
    similarity = staticmethod(boxes.complete)
    plot_lower_bound = -2.0


def complete_intersection_over_union(
    preds: Tensor, target: Tensor, iou_threshold: float | None = None, replacement_val: float = 0, aggregate: bool = True
) -> Tensor:
    """As :func:`intersection_over_union`, of :class:`CompleteIntersectionOverUnion`."""
    return between("complete_intersection_over_union", boxes.complete, preds, target, iou_threshold, replacement_val, aggregate)
