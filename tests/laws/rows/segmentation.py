"""Examples of segmentation metrics."""

from __future__ import annotations

import torch

from tests.laws.data import each, labels, row

CLASSES = 4
maps = each(lambda n, g: (labels(CLASSES, n, 3, 2, g=g), labels(CLASSES, n, 3, 2, g=g)))
masks = each(lambda n, g: (labels(2, n, CLASSES, 3, 2, g=g), labels(2, n, CLASSES, 3, 2, g=g)))
mixed = each(lambda n, g: (torch.randn(n, CLASSES, 3, 2, generator=g), labels(CLASSES, n, 3, 2, g=g)))

for per_class in (False, True):
    shown = {"num_classes": CLASSES, "per_class": per_class}
    row("MeanIoU", f"index, per class {per_class}", maps, {**shown, "input_format": "index"})
    row("MeanIoU", f"one-hot, per class {per_class}", masks, {**shown, "include_background": False})
row("MeanIoU", "mixed", mixed, {"num_classes": CLASSES, "input_format": "mixed"})
row("MeanIoU", "classes of the data", masks, {"per_class": True})
for level in ("samplewise", "global"):
    for average in ("micro", "macro", "weighted", "none"):
        index = {"num_classes": CLASSES, "input_format": "index", "average": average, "aggregation_level": level}
        row("DiceScore", f"{average}, {level}", maps, index)
row("DiceScore", "one-hot", masks, {"num_classes": CLASSES, "include_background": False})
row("DiceScore", "mixed", mixed, {"num_classes": CLASSES, "input_format": "mixed", "average": "none"})
