"""What is overlapped, boxes or masks, by the arithmetic of COCO's own code."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal import check
from epochal.detection import boxes
from epochal.detection.images import Images
from epochal.detection.matching import Pairs
from epochal.extras import library

Array = npt.NDArray[Any]


class Regions(Protocol):
    """The rows of all images, each of which covers an area of its image."""

    @property
    def areas(self) -> Array:
        """Of each, in pixels."""

    def overlaps(self, others: Any, pairs: Pairs, crowd: Array) -> Array:
        """Of each pair intersection over union, or over the own area where the other is a crowd."""


class Boxes:
    """Rectangles with sides along the axes."""

    key = "boxes"

    def __init__(self, images: Images, box_format: str) -> None:
        self.rows = boxes.boxes(images.host("boxes"), box_format)

    @property
    def areas(self) -> Array:
        return boxes.areas(self.rows).numpy()

    def overlaps(self, others: Boxes, pairs: Pairs, crowd: Array) -> Array:
        mine, its = torch.from_numpy(pairs.order[pairs.preds]), torch.from_numpy(pairs.target)
        return boxes.overlap(self.rows[mine], others.rows[its], torch.from_numpy(crowd[pairs.target])).numpy()


class Masks:
    """Sets of pixels, as lengths of runs."""

    key = "masks"

    def __init__(self, images: Images, box_format: str) -> None:  # noqa: ARG002  # as of boxes
        self.metric, self.tools = images.metric, tools(images.metric)
        self.runs: list[dict[str, Any]] = []
        for i, (image, length) in enumerate(zip(images.images, images.lengths, strict=True)):
            self.runs += self._encoded(images.metric, f"{images.name}[{i}]['masks']", image["masks"]) if length else []

    def _encoded(self, metric: Any, name: str, masks: Any) -> list[dict[str, Any]]:
        if isinstance(masks, Tensor):
            if masks.ndim != 3 or masks.is_floating_point() or masks.is_complex():
                came = f"{name} has shape {check.shape(masks)} and dtype {masks.dtype}"
                check.fail(metric, came, "bools (N, H, W) are needed", f"Threshold them: {name} > 0.5.")
            columns = (masks != 0).to(torch.uint8).transpose(1, 2).contiguous().numpy(force=True)  # runs go down the columns
            encoded: list[dict[str, Any]] = self.tools.encode(columns.T)
            return encoded
        if not all(isinstance(mask, dict) and {"size", "counts"} <= mask.keys() for mask in masks):
            came = f"{name} is a {type(masks).__name__}"
            needed = "a Tensor (N, H, W), or a list of run lengths (dictionaries with size and counts) is needed"
            raise TypeError(check.message(metric, came, needed))
        return [self.tools.frPyObjects(mask, *mask["size"]) if isinstance(mask["counts"], list) else mask for mask in masks]

    @property
    def areas(self) -> Array:
        return np.array([self.tools.area(run) for run in self.runs], np.float64)  # of a list it takes no more than 255

    def overlaps(self, others: Masks, pairs: Pairs, crowd: Array) -> Array:
        out = np.empty(len(pairs.target))
        for start, stop in pairs.blocks():
            target = pairs.target[start:stop]
            preds, first = np.unique(pairs.preds[start:stop], return_index=True)
            target = target[: len(target) // len(first)]
            mine, its = [self.runs[i] for i in pairs.order[preds]], [others.runs[i] for i in target]
            sizes = {tuple(run["size"]) for run in (*mine, *its)}
            if len(sizes) > 1:
                check.fail(self.metric, f"masks of an image have the sizes {sorted(sizes)}", "one size is needed")
            out[start:stop] = self.tools.iou(mine, its, crowd[target].astype(np.uint8)).reshape(-1)
        return out


def tools(metric: Any) -> Any:
    """pycocotools' masks."""
    return library(metric, "detection", "pycocotools.mask", "it encodes and overlaps masks")
