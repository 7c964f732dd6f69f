"""Overlaps of boxes against pycocotools, and by their definitions, in scalars."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as runs

from epochal import detection as ed
from epochal import functional as ef
from epochal.detection import boxes
from tests.errors.grammar import refused

NAMES = {"iou": "Intersection", "giou": "GeneralizedIntersection", "diou": "DistanceIntersection", "ciou": "CompleteIntersection"}


def classes(kind):
    return getattr(ed, f"{NAMES[kind]}OverUnion")


def function(kind):
    name = {"iou": "", "giou": "generalized_", "diou": "distance_", "ciou": "complete_"}[kind]
    return getattr(ef, f"{name}intersection_over_union")


def some(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    corner = 10 * torch.rand(n, 2, generator=g, dtype=torch.float64)
    return torch.cat([corner, corner + 0.5 + 8 * torch.rand(n, 2, generator=g, dtype=torch.float64)], 1)


def by_definition(kind, a, b):
    """Of two boxes in two corners each."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    sides = [(x[2] - x[0], x[3] - x[1]) for x in (a, b)]
    union = sides[0][0] * sides[0][1] + sides[1][0] * sides[1][1] - common
    iou = common / union
    around = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "giou":
        return iou - (around[0] * around[1] - union) / (around[0] * around[1])
    centres = [((x[0] + x[2]) / 2, (x[1] + x[3]) / 2) for x in (a, b)]
    diou = iou - math.dist(*centres) ** 2 / (around[0] ** 2 + around[1] ** 2)
    v = 4 / math.pi**2 * (math.atan(sides[0][0] / sides[0][1]) - math.atan(sides[1][0] / sides[1][1])) ** 2
    return {"iou": iou, "diou": diou, "ciou": diou - v * v / (1 - iou + v) if v else diou}[kind]


def table(kind, a, b):
    return np.array([[by_definition(kind, x, y) for y in b.tolist()] for x in a.tolist()])


def test_the_oracle_overlaps_as_we_do():
    a, b = (boxes.boxes(some(n, n), "xyxy") for n in (30, 20))
    crowd = torch.rand(20, generator=torch.Generator().manual_seed(0)) < 0.5
    for flags in (torch.zeros(20, dtype=torch.bool), crowd):
        expected = runs.iou(a.numpy(), b.numpy(), flags.numpy().astype(np.uint8))
        assert np.array_equal(boxes.overlap(a[:, None], b, flags).numpy(), expected)


@pytest.mark.parametrize("kind", NAMES)
def test_functions(kind):
    a, b = some(12), some(9, 1)
    a[3] = b[3]
    expected = table(kind, a, b)
    found = function(kind)(a, b, aggregate=False)
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    assert found[3, 3] == 1
    assert expected.min() < (0.01 if kind == "iou" else 0)
    assert function(kind)(a, b).item() == pytest.approx(expected.diagonal().mean(), abs=1e-12)
    above = np.where(expected < 0.2, -7, expected)
    assert np.allclose(function(kind)(a, b, 0.2, -7, False).numpy(), above, rtol=0, atol=1e-12)
    assert function(kind)(a, b, 0.2, -7).item() == pytest.approx(above.diagonal().mean(), abs=1e-12)
    single = function(kind)(a.float(), b.float(), aggregate=False)
    assert single.dtype == torch.float32
    assert np.allclose(single.numpy(), expected, rtol=0, atol=1e-5)
    assert function(kind)(a[:0], b).item() == 0
    assert function(kind)(a[:0], b, aggregate=False).shape == (0, 9)


@pytest.mark.parametrize("kind", NAMES)
def test_gradient(kind):
    a, b = some(6).requires_grad_(), some(6, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: function(kind)(a, b, aggregate=False), (a, b))
    metric = classes(kind)()

    def value(a, b):
        labels = torch.arange(6) % 2
        return metric.of([{"boxes": a, "labels": labels}], [{"boxes": b, "labels": labels}])[kind]

    assert torch.autograd.gradcheck(value, (a, b))
    metric.update([{"boxes": a, "labels": torch.zeros(6).long()}], [{"boxes": b, "labels": torch.zeros(6).long()}])
    assert not metric.total.requires_grad
    points = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)  # without extent: no gradient, but no NaN either
    if kind != "ciou":
        function(kind)(points, torch.zeros(1, 4, dtype=torch.float64)).backward()
        assert points.grad.eq(0).all()


def images(seed=0):
    """The third has no object, the fourth no detection."""
    g = torch.Generator().manual_seed(seed)
    preds, target = [], []
    for i, (m, n) in enumerate(((9, 3), (8, 6), (3, 0), (0, 2), (2, 2))):
        preds.append({"boxes": some(m, 10 * seed + i), "labels": torch.randint(3, (m,), generator=g)})
        target.append({"boxes": some(n, 50 + 10 * seed + i), "labels": torch.randint(2, (n,), generator=g)})
    return preds, target


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("respect_labels", [True, False])
@pytest.mark.parametrize("threshold", [None, 0.01])
def test_classes(kind, respect_labels, threshold):
    preds, target = images()
    pairs = [
        (by_definition(kind, a, b), m, n)
        for p, t in zip(preds, target, strict=True)
        for a, m in zip(p["boxes"].tolist(), p["labels"].tolist(), strict=True)
        for b, n in zip(t["boxes"].tolist(), t["labels"].tolist(), strict=True)
    ]
    read = [(v, n) for v, m, n in pairs if (m == n or not respect_labels) and (threshold is None or v >= threshold)]
    expected = {kind: [v for v, _ in read], **{f"{kind}/cl_{c}": [v for v, n in read if n == c] for c in range(3)}}
    assert expected[f"{kind}/cl_1"]
    for class_metrics in (False, True):
        metric = classes(kind)("xyxy", threshold, class_metrics, respect_labels)
        metric.update(preds[:2], target[:2])
        other = metric.clone()
        other.reset()
        other.update(preds[2:], target[2:])
        metric.merge_state(other)
        found = metric.compute()
        assert list(found) == [*expected][: 4 if class_metrics else 1]
        for name, value in found.items():
            assert value.item() == pytest.approx(sum(expected[name]) / max(len(expected[name]), 1), abs=1e-12), name


def test_formats():
    preds, target = images()

    def written(image, form):
        first, last = image["boxes"][:, :2], image["boxes"][:, 2:]
        return {**image, "boxes": torch.cat([first if form == "xywh" else (first + last) / 2, last - first], 1)}

    expected = ed.IntersectionOverUnion().of(preds, target)["iou"].item()
    for form in ("xywh", "cxcywh"):
        lists = ([written(image, form) for image in given] for given in (preds, target))
        assert ed.IntersectionOverUnion(form).of(*lists)["iou"].item() == pytest.approx(expected, abs=1e-12)


def test_without_pairs():
    one = {"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([4])}
    other = {**one, "labels": torch.tensor([-1])}
    empty = {"boxes": torch.zeros(0), "labels": torch.zeros(0)}
    metric = ed.IntersectionOverUnion(class_metrics=True)
    assert metric.of([], []) == {"iou": 0}
    assert metric.of([empty], [one]) == metric.of([one], [empty]) == {"iou": 0, "iou/cl_4": 0}
    assert metric.of([one], [other]) == {"iou": 0, "iou/cl_-1": 0, "iou/cl_4": 0}
    assert metric.of([one, empty], [one, other]) == {"iou": 1, "iou/cl_-1": 0, "iou/cl_4": 1}


def test_boxes_without_area():
    flat = torch.tensor([[1.0, 1, 1, 5], [2.0, 2, 2, 2]])
    for kind in NAMES:
        found = function(kind)(flat, flat, aggregate=False)
        assert found.isfinite().all()
        assert found.diagonal().tolist() == [0, 0]  # no area is in common


def test_nan_is_nan():
    preds, target = images()
    preds[0]["boxes"][1, 2] = math.nan
    for kind in NAMES:
        for arguments in ({"respect_labels": False}, {"respect_labels": False, "iou_threshold": 0.5}):
            assert classes(kind)(**arguments).of(preds, target)[kind].isnan()


@pytest.mark.parametrize("kind", NAMES)
def test_functions_refuse(kind):
    a, name = some(3), function(kind).__name__
    refused(lambda: function(kind)(a[0], a), ValueError, name, ("preds has shape (4,)", "(N, 4)"))
    refused(lambda: function(kind)(a, a[:, :3]), ValueError, name, ("target has shape (3, 3)",))
    refused(lambda: function(kind)(a.tolist(), a), TypeError, name, ("preds is a list",))
