"""Detection: lists of images, some without objects or detections; no scores are tied, since ties are in the order of the data."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from tests.laws.data import each, labels, row


def some_boxes(n: int, g: torch.Generator) -> Tensor:
    corner = 200 * torch.rand(n, 2, generator=g)
    return torch.cat([corner, corner + 3 + 150 * torch.rand(n, 2, generator=g)], 1)


def images(number: int, g: torch.Generator, scores, masks: bool = False) -> tuple[list, list]:
    """Detections near the objects, of which some are crowds."""
    preds, target = [], []
    for _ in range(number):
        n, m = (int(torch.randint(high, (), generator=g)) for high in (5, 9))
        objects = some_boxes(n, g)
        near = torch.randint(n, (m,), generator=g) if n else None
        found = some_boxes(m, g) if near is None else objects[near] + 6 * torch.randn(m, 4, generator=g)
        found[:, 2:] = torch.maximum(found[:, 2:], found[:, :2] + 1)
        names = labels(2, n, g=g)
        guessed = labels(3, m, g=g) if near is None else torch.where(torch.rand(m, generator=g) < 0.7, names[near], 2)
        score = torch.tensor([next(scores) for _ in range(m)]) * 0.618034 % 1
        preds.append({"boxes": found, "labels": guessed, "scores": score})
        target.append({"boxes": objects, "labels": names, "iscrowd": (torch.rand(n, generator=g) < 0.2).long()})
        for image in (preds[-1], target[-1]) if masks else ():
            image["masks"] = drawn(image["boxes"])
    return preds, target


def drawn(boxes: Tensor) -> Tensor:
    x, y = torch.arange(0, 400, 10), torch.arange(0, 300, 10)
    across, down = ((p >= boxes[:, [i]]) & (p < boxes[:, [i + 2]]) for i, p in enumerate((x, y)))
    return across[:, None, :] & down[:, :, None]


def data(masks: bool = False):
    def batches():
        scores = itertools.count(1)
        return each(lambda n, g: images(n, g, scores, masks))()

    return batches


mean_ap = functools.partial(row, "MeanAveragePrecision", function="mean_average_precision")
mean_ap("boxes", data())
mean_ap("classes", data(), {"class_metrics": True, "iou_thresholds": [0.3, 0.5], "max_detection_thresholds": [1, 20]})
mean_ap("micro", data(), {"average": "micro", "class_metrics": True, "rec_thresholds": [0.0, 0.5, 1.0]})
mean_ap("masks", data(masks=True), {"iou_type": "segm"})
mean_ap("both", data(masks=True), {"iou_type": ("bbox", "segm"), "box_format": "xywh"})

for name in ("Intersection", "GeneralizedIntersection", "DistanceIntersection", "CompleteIntersection"):
    row(f"{name}OverUnion", "boxes", data())
    row(f"{name}OverUnion", "all pairs", data(), {"respect_labels": False, "iou_threshold": 0.2})
    row(f"{name}OverUnion", "classes", data(), {"class_metrics": True, "box_format": "cxcywh"})
