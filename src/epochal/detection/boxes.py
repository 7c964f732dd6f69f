"""Boxes: their formats, areas and overlaps, in float64 and with a gradient.

A box is a row (x, y, width, height) of its corner with the smallest coordinates, as in COCO's files, and all sums are formed in
the order of COCO's own code, so that an overlap on a threshold falls on the same side of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from epochal.numeric import wide

FORMATS = ("xyxy", "xywh", "cxcywh")


def boxes(rows: Tensor, box_format: str) -> Tensor:
    """``(N, 4)`` in one of the formats as corner and size: two corners, a corner and the size, or the centre and the size."""
    rows = wide(rows)
    if box_format == "xywh":
        return rows
    first, second = rows[:, :2], rows[:, 2:]
    return torch.cat([first, second - first] if box_format == "xyxy" else [first - second / 2, second], 1)


def areas(rows: Tensor) -> Tensor:
    return rows[..., 2] * rows[..., 3]


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """The area that boxes ``(..., 4)`` have in common."""
    ends = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = (ends - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def overlap(a: Tensor, b: Tensor, crowd: Tensor | None = None) -> Tensor:
    """Intersection over union of boxes ``(..., 4)``; where ``b`` is a crowd, over the area of ``a``. 0 of two without area."""
    common = intersection(a, b)
    union = areas(a) + areas(b) - common
    if crowd is not None:
        union = torch.where(crowd, areas(a), union)
    return torch.where(common == 0, 0.0, common / torch.where(common == 0, 1.0, union))


def hull(a: Tensor, b: Tensor) -> Tensor:
    """Width and height ``(..., 2)`` of the smallest box around both."""
    return torch.maximum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])


def generalized(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, less the part of the box around both that is in neither."""
    common, around = intersection(a, b), hull(a, b).prod(-1)
    return overlap(a, b) - ratio(around - (areas(a) + areas(b) - common), around)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, less the squared distance of the centres over that of the corners of the box around both."""
    between = (a[..., :2] + a[..., 2:] / 2) - (b[..., :2] + b[..., 2:] / 2)
    return overlap(a, b) - ratio(between.square().sum(-1), hull(a, b).square().sum(-1))


def complete(a: Tensor, b: Tensor) -> Tensor:
    """:func:`distance`, less a term for the difference of the shapes."""
    angles = [torch.atan2(rows[..., 2], rows[..., 3]) for rows in (a, b)]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    return distance(a, b) - ratio(shape.square(), 1 - overlap(a, b) + shape)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 over nothing, with a gradient of 0 there."""
    return torch.where(denominator == 0, 0.0, numerator / torch.where(denominator == 0, 1.0, denominator))
