"""Mean average precision beside pycocotools and faster-coco-eval, each from the same tensors."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.timing import Row, row
from epochal.detection import MeanAveragePrecision

OBJECTS, DETECTIONS, CLASSES = 12, 48, 80
Images = Sequence[dict[str, torch.Tensor]]


def images(number: int) -> tuple[Images, Images]:
    """Each object is detected about four times, at an error of a few pixels."""
    generator = torch.Generator().manual_seed(0)
    preds, target = [], []
    for _ in range(number):
        size = 5 + 150 * torch.rand(OBJECTS, 2, generator=generator)
        corner = 500 * torch.rand(OBJECTS, 2, generator=generator)
        boxes, labels = torch.cat([corner, corner + size], 1), torch.randint(CLASSES, (OBJECTS,), generator=generator)
        near = torch.randint(OBJECTS, (DETECTIONS,), generator=generator)
        found = boxes[near] + 8 * torch.randn(DETECTIONS, 4, generator=generator)
        found[:, 2:] = torch.maximum(found[:, 2:], found[:, :2] + 1)
        preds.append({"boxes": found, "labels": labels[near], "scores": torch.rand(DETECTIONS, generator=generator)})
        target.append({"boxes": boxes, "labels": labels})
    return preds, target


def annotations(given: Images) -> list[dict[str, Any]]:
    """COCO's dictionaries."""
    out = []
    for i, image in enumerate(given):
        corner, size = image["boxes"][:, :2], image["boxes"][:, 2:] - image["boxes"][:, :2]
        columns = torch.cat([corner, size], 1).tolist(), image["labels"].tolist(), size.prod(1).tolist()
        for box, label, area in zip(*columns, strict=True):
            one = {"id": len(out) + 1, "image_id": i, "category_id": label, "bbox": box, "area": area, "iscrowd": 0}
            out.append(one)
    if "scores" in given[0]:
        for one, score in zip(out, torch.cat([image["scores"] for image in given]).tolist(), strict=True):
            one["score"] = score
    return out


def theirs(coco: Any, evaluation: Any, preds: Images, target: Images) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        whole = coco()
        whole.dataset = {
            "images": [{"id": i} for i in range(len(preds))],
            "categories": [{"id": label} for label in range(CLASSES)],
            "annotations": annotations(target),
        }
        whole.createIndex()
        found = evaluation(whole, whole.loadRes(annotations(preds)), "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    return found.stats


def ours(preds: Images, target: Images, size: int) -> Any:
    """In batches of so many images."""
    metric = MeanAveragePrecision()
    for start in range(0, len(preds), size):
        metric.update(preds[start : start + size], target[start : start + size])
    return metric.compute()


def rows() -> Iterator[Row]:
    few, many = images(200), images(1000)
    yield row("mAP of 200 images in batches of 8, pycocotools", lambda: ours(*few, 8), lambda: theirs(COCO, COCOeval, *few), 5.0)
    for size in (1, 8, 1000):
        yield row(
            f"mAP of 1,000 images in batches of {size}, faster-coco-eval",
            lambda size=size: ours(*many, size),
            lambda: theirs(FasterCOCO, COCOeval_faster, *many),
            1.0,
        )
