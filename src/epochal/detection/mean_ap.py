"""Mean average precision and recall of detections, as COCO evaluates them."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.detection import boxes
from epochal.detection.images import Image, pair
from epochal.detection.matching import AREAS, Matcher, Pairs, in_range
from epochal.detection.regions import Boxes, Masks
from epochal.detection.summary import Matches, Tables, tables
from epochal.metric import Metric, MetricOptions, State, fixed

Array = npt.NDArray[Any]

REGIONS: dict[Any, Any] = {"bbox": Boxes, "segm": Masks}
BACKENDS = ("pycocotools", "faster_coco_eval")
POOLED, BY_CLASS = "pooled", "by_class"  # a detection finds an object of any class, or of its own
FIELDS = {  # of each way of matching: a row for each detection, and the last two for each object
    "scores": np.float64,
    "labels": np.int64,
    "hits": np.uint8,
    "ignored": np.uint8,
    "limit": np.uint8,
    "positive": np.int64,
    "counted": np.uint8,
}
OVERLAPS = ("overlaps", "groups", "images")  # of all pairs; what they are of: label, detections, objects; groups of each image


class MeanAveragePrecision(Metric):
    r"""Mean average precision (mAP) and recall (mAR) of detections, as COCO evaluates them.

    .. math:: AP = \frac{1}{|R|} \sum_{r \in R} \max_{r' \ge r} p(r'), \qquad mAP = \frac{1}{|T| |K|} \sum_{t, k} AP_{t, k}

    with the precision p at a recall, over thresholds T of the intersection over union and classes K that have objects. In an image
    and a class, the detections find objects in the order of their scores, each the one that it overlaps most of those that are
    left. That is done in ``update``, on the host: kept of a detection are its score, its label and which thresholds it reached,
    about 23 bytes. Among tied scores the order is that of arrival, then of ranks.

    ``update(preds, target)``: lists with a dictionary for each image, of N detections or objects each:

    - ``boxes``: ``(N, 4)``, in pixels, for "bbox"; ``masks``: bools ``(N, H, W)`` or a list of N run lengths (dictionaries with
      ``size`` and ``counts``, as pycocotools has them), for "segm";
    - ``labels``: integers ``(N,)``; in preds also ``scores``: ``(N,)``, of any scale;
    - in target, optionally, ``iscrowd``: ``(N,)``, 1 for a crowd of objects, which any number of detections may find but none has
      to; ``area``: ``(N,)``, which decides of the range of areas; default, and where it is 0: that of the box or mask.

    ``compute()``: a dictionary of numbers in [0, 1], -1 where there are no objects: "map"; "map_50" and "map_75" at these
    thresholds; "map_small", "map_medium" and "map_large", of objects of less than 32² pixels, up to 96², and more; "mar_1",
    "mar_10" and "mar_100", the recall with so many detections for each image and class; "mar_small", "mar_medium", "mar_large";
    "map_per_class" and "mar_100_per_class", ``(K,)`` with ``class_metrics``, else -1; "classes", the labels ``(K,)``.

    Args:
        box_format: "xyxy" (two corners), "xywh" (a corner, width, height) or "cxcywh" (centre, width, height).
        iou_type: "bbox", "segm", or a tuple of both: then the names begin with "bbox_" and "segm_".
        iou_thresholds: T; default 0.5, 0.55, ..., 0.95.
        rec_thresholds: R, the recalls at which precision is read; default 0, 0.01, ..., 1.
        max_detection_thresholds: limits of the number of detections for each image and class, which "mar_1" and so on are named by.
            All but mAR are of the last one. Default [1, 10, 100].
        class_metrics: whether there are values of each class.
        extended_summary: adds "precision" and "scores" ``(T, R, K, A, M)`` for areas A and limits M, "recall" ``(T, K, A, M)``, and
            "ious", a dictionary from (image, label) to ``(detections, objects)``; the images are numbered in the order of arrival.
        average: "macro", or "micro": labels do not matter, a detection may find an object of any class.
        backend: there is one, with the numbers of both that may be named.
        warn_on_many_detections: whether ``update`` warns where the last limit leaves detections out.

    Raises:
        ValueError: entries that are missing or whose lengths differ, NaN. TypeError: what is no list of dictionaries of tensors.

    Source: T.-Y. Lin et al., Microsoft COCO: common objects in context, 2014, and its evaluation code, pycocotools.

    >>> metric = MeanAveragePrecision()
    >>> preds = [{"boxes": torch.tensor([[258.0, 41, 606, 285]]), "scores": torch.tensor([0.536]), "labels": torch.tensor([0])}]
    >>> target = [{"boxes": torch.tensor([[214.0, 41, 562, 285]]), "labels": torch.tensor([0])}]
    >>> metric(preds, target)["map"]
    tensor(0.6000)
    """

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    plot_legend_name = "Class"

    def __init__(
        self,
        box_format: str = "xyxy",
        iou_type: str | tuple[str, ...] = "bbox",
        iou_thresholds: Sequence[float] | None = None,
        rec_thresholds: Sequence[float] | None = None,
        max_detection_thresholds: Sequence[int] | None = None,
        class_metrics: bool = False,
        extended_summary: bool = False,
        average: str = "macro",
        backend: str = "pycocotools",
        *,
        warn_on_many_detections: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.choice(self, "box_format", box_format, boxes.FORMATS)
        check.choice(self, "average", average, ("macro", "micro"))
        check.choice(self, "backend", backend, BACKENDS)
        flags = {"class_metrics": class_metrics, "extended_summary": extended_summary}
        for name, flag in {**flags, "warn_on_many_detections": warn_on_many_detections}.items():
            check.choice(self, name, flag, (True, False))
        self.iou_type = tuple(iou_type) if isinstance(iou_type, tuple | list) and iou_type else (iou_type,)
        for kind in self.iou_type:
            check.choice(self, "iou_type", kind, tuple(REGIONS))
        self.box_format, self.class_metrics, self.extended_summary = box_format, class_metrics, extended_summary
        self.average, self.backend, self.warn_on_many_detections = average, backend, warn_on_many_detections
        self.iou_thresholds = fractions(self, "iou_thresholds", iou_thresholds, np.linspace(0.5, 0.95, 10))
        self.rec_thresholds = fractions(self, "rec_thresholds", rec_thresholds, np.linspace(0, 1, 101))
        self.max_detection_thresholds = limits(self, max_detection_thresholds)
        self.matcher = Matcher(tuple(self.iou_thresholds))
        by_class = [BY_CLASS] if average == "macro" or class_metrics else []
        self.ways = [POOLED, *by_class] if average == "micro" else by_class  # all but values of a class are of the first
        for kind in self.iou_type:
            for way in self.ways:
                for field in (*FIELDS, *OVERLAPS * (extended_summary and way == self.ways[0])):
                    self.add_state(f"{kind}_{way}_{field}", [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        thresholds = tuple(self.iou_thresholds), tuple(self.max_detection_thresholds)
        return self.box_format, self.iou_type, *thresholds, self.extended_summary, tuple(self.ways)

    # --- the statistic -------------------------------------------------------------------------------------------------------

    def measure(self, preds: Sequence[Image], target: Sequence[Image]) -> State:
        """Which detections find an object. ``preds``, ``target``: a dictionary for each image."""
        needed = ("labels", *(REGIONS[kind].key for kind in self.iou_type))
        images = pair(self, preds, target, (*needed, "scores"), needed)
        scores = images[0].host("scores")
        check.floating(self, **{"scores of preds": scores})
        labels = [each.labels().numpy(force=True) for each in images]
        crowd = images[1].host("iscrowd", 0).bool().numpy()
        area = images[1].host("area", 0).numpy()
        state: State = {}
        for kind in self.iou_type:
            detections, objects = (REGIONS[kind](each, self.box_format) for each in images)
            inside = in_range(detections.areas)
            counted = np.where(crowd, 0, in_range(np.where(area > 0, area, objects.areas))).astype(np.uint8)
            for way in self.ways:
                names, keys = grouped([each.image for each in images], labels, way == POOLED)
                pairs = Pairs.of(keys[0], scores.double().numpy(), keys[1], self.max_detection_thresholds[-1])
                self._warn(len(scores) - len(pairs.order))
                overlaps = detections.overlaps(objects, pairs, crowd)
                hits, ignored = self.matcher(pairs, overlaps, counted, crowd, inside[pairs.order])
                limit = np.searchsorted(self.max_detection_thresholds, pairs.rank, side="right").astype(np.uint8)
                rows = [labels[0][pairs.order], hits, ignored, limit, labels[1], counted]
                fields = dict(zip(FIELDS, [scores[torch.from_numpy(pairs.order)], *rows], strict=True))
                if self.extended_summary and way == self.ways[0]:
                    groups, numbers = counts(pairs.key, keys[1], names, len(images[0]))
                    fields |= {"overlaps": overlaps, "groups": groups, "images": numbers}
                state |= {f"{kind}_{way}_{k}": torch.as_tensor(v).to(self.device) for k, v in fields.items()}
        return state

    def _warn(self, left_out: int) -> None:
        if left_out and self.warn_on_many_detections:
            came = f"{left_out} detections are left out, those with the lowest scores"
            needed = f"at most {self.max_detection_thresholds[-1]} count for an image and a class"
            fix = "Raise max_detection_thresholds, or pass warn_on_many_detections=False."
            warnings.warn(check.message(self, came, needed, fix), stacklevel=4)

    # --- its reading ---------------------------------------------------------------------------------------------------------

    def value(self, **state: Tensor) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for kind in self.iou_type:
            found = [self._tables(state, f"{kind}_{way}_", way == POOLED) for way in self.ways]
            summary = self._summary(found[0], found[-1])
            if self.extended_summary:
                every = {name: getattr(found[0], name) for name in ("precision", "recall", "scores")}
                summary |= {"ious": self._overlaps(state, f"{kind}_{self.ways[0]}_"), **every}
            prefix = f"{kind}_" if len(self.iou_type) > 1 else ""
            out |= {prefix + name: value for name, value in summary.items()}
        first = f"{self.iou_type[0]}_{self.ways[0]}_"
        labels = torch.cat([state[first + name].long() for name in ("labels", "positive")])
        return {**placed(out, self.device), "classes": torch.unique(labels).int()}

    def _tables(self, state: dict[str, Tensor], prefix: str, pooled: bool) -> Tables:
        rows = {name: state[prefix + name].double() if name == "scores" else state[prefix + name] for name in FIELDS}
        arrays = {name: field.numpy(force=True).astype(FIELDS[name], copy=False) for name, field in rows.items()}
        if pooled:
            arrays |= {name: np.zeros_like(arrays[name]) for name in ("labels", "positive")}
        matches = Matches(*arrays.values())
        recalls = np.asarray(self.rec_thresholds)
        return tables(self.matcher, matches, recalls, len(self.max_detection_thresholds), self.extended_summary)

    def _summary(self, found: Tables, by_class: Tables) -> dict[str, Any]:
        limits, ranges = self.max_detection_thresholds, list(enumerate(AREAS))[1:]
        precision, recall = found.precision[..., -1], found.recall
        at = {n: np.isclose(self.iou_thresholds, n / 100, rtol=0, atol=1e-6) for n in (50, 75)}
        out: dict[str, Any] = {"map": mean(precision[..., 0])}
        out |= {f"map_{n}": mean(precision[here][..., 0]) for n, here in at.items()}
        out |= {f"map_{name}": mean(precision[..., a]) for a, name in ranges}
        out |= {f"mar_{limit}": mean(recall[:, :, 0, m]) for m, limit in enumerate(limits)}
        out |= {f"mar_{name}": mean(recall[:, :, a, -1]) for a, name in ranges}
        for name, table in (("map", by_class.precision), (f"mar_{limits[-1]}", by_class.recall)):
            each = [mean(table[..., k, 0, -1]) for k in range(len(by_class.classes))]
            out[f"{name}_per_class"] = np.array(each) if self.class_metrics else -1.0
        return out

    def _overlaps(self, state: dict[str, Tensor], prefix: str) -> dict[tuple[int, int], Tensor]:
        """By image and label ``(detections, objects)``."""
        images, groups = (state[prefix + name].long().tolist() for name in ("images", "groups"))
        owner = [image for image, number in enumerate(images) for _ in range(number)]
        parts = torch.split(state[prefix + "overlaps"], [n * m for _, n, m in groups])
        pairs = zip(owner, groups, parts, strict=True)
        return {(image, label): part.reshape(n, m) for image, (label, n, m), part in pairs}


def mean(values: Array) -> float:
    """Of what there are objects for; -1 where there are none."""
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def placed(value: Any, device: torch.device) -> Any:
    """Numbers as float64 tensors."""
    if isinstance(value, dict):
        return {key: placed(item, device) for key, item in value.items()}
    return torch.as_tensor(value, dtype=torch.float64, device=device)


def grouped(images: list[Array], labels: list[Array], pooled: bool) -> tuple[Array, list[Array]]:
    """For detections and objects the number of their image and label, and the labels: image * len(labels) + place of the label."""
    if pooled:
        return np.zeros(1, np.int64), images
    names, place = np.unique(np.concatenate(labels), return_inverse=True)
    places = np.split(place.reshape(-1), [len(labels[0])])
    return names, [image * len(names) + number for image, number in zip(images, places, strict=True)]


def counts(pred_key: Array, target_key: Array, names: Array, images: int) -> tuple[Array, Array]:
    """For each group a row of label, detections and objects; and how many groups each image has."""
    keys = np.unique(np.concatenate([pred_key, target_key]))
    numbers = [np.bincount(np.searchsorted(keys, key), minlength=len(keys)) for key in (pred_key, target_key)]
    size = max(1, len(names))
    return np.stack([names[keys % size], *numbers], 1), np.bincount(keys // size, minlength=images)


def fractions(metric: Any, name: str, given: Sequence[float] | None, default: Array) -> list[float]:
    """Thresholds from 0 to 1."""
    given = plain(default if given is None else given)
    if not isinstance(given, list | tuple) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in given):
        raise TypeError(check.message(metric, f"{name} is {given!r}", "a list of numbers is needed"))
    if not given or not all(0 <= x <= 1 for x in given):
        check.fail(metric, f"{name} is {given!r}", "numbers from 0 to 1 are needed")
    return [float(x) for x in given]


def plain(given: Any) -> Any:
    """Numbers of a tensor or an array as a list."""
    return given.tolist() if isinstance(given, Tensor | np.ndarray) else given


def limits(metric: Any, given: Sequence[int] | None) -> list[int]:
    """Limits of the number of detections, ascending."""
    given = [1, 10, 100] if given is None else plain(given)
    if not isinstance(given, list | tuple) or any(isinstance(x, bool) or not isinstance(x, int) for x in given):
        raise TypeError(check.message(metric, f"max_detection_thresholds is {given!r}", "a list of integers is needed"))
    if not given or min(given) < 1 or len(given) > 255:
        check.fail(metric, f"max_detection_thresholds is {given!r}", "integers from 1 on are needed")
    return sorted(given)


def mean_average_precision(
    preds: Sequence[Image],
    target: Sequence[Image],
    box_format: str = "xyxy",
    iou_type: str | tuple[str, ...] = "bbox",
    iou_thresholds: Sequence[float] | None = None,
    rec_thresholds: Sequence[float] | None = None,
    max_detection_thresholds: Sequence[int] | None = None,
    class_metrics: bool = False,
    extended_summary: bool = False,
    average: str = "macro",
    backend: str = "pycocotools",
    warn_on_many_detections: bool = True,
) -> dict[str, Any]:
    """Functional form of :class:`MeanAveragePrecision`."""
    thresholds = [hashable(given) for given in (iou_thresholds, rec_thresholds, max_detection_thresholds)]
    options = class_metrics, extended_summary, average, backend
    metric: Any = fixed(
        MeanAveragePrecision,
        box_format,
        hashable(iou_type),
        *thresholds,
        *options,
        warn_on_many_detections=warn_on_many_detections,
    )
    out: dict[str, Any] = metric.of(preds, target)
    return out


def hashable(given: Any) -> Any:
    return tuple(plain(given)) if isinstance(given, list | Tensor | np.ndarray) else given
