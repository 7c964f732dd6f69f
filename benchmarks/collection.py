"""A collection of eight metrics that read one table of counts, and one of metrics that share nothing."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics

import epochal
from benchmarks.timing import Row, row

EIGHT = ("Accuracy", "Precision", "Recall", "F1Score", "Specificity", "ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef")
CLASSES, BATCH = 10, 64


def eight(library: Any, **options: Any) -> Any:
    return library.MetricCollection([getattr(library.classification, f"Multiclass{name}")(CLASSES, **options) for name in EIGHT])


def unlike(library: Any) -> Any:
    return library.MetricCollection([getattr(library.aggregation, f"{name}Metric")() for name in ("Mean", "Sum", "Max", "Min")])


def rows() -> list[Row]:
    data = torch.randn(BATCH, CLASSES).softmax(-1), torch.randint(CLASSES, (BATCH,))
    ours, peer = eight(epochal), eight(torchmetrics)
    out = [
        row("eight of one statistic: forward", lambda: ours(*data), lambda: peer(*data), 8.0),
        row("eight of one statistic: update", lambda: ours.update(*data), lambda: peer.update(*data), 1.5),
    ]
    values, mine, its = torch.randn(BATCH), unlike(epochal), unlike(torchmetrics)
    return [
        *out,
        row("four of their own: forward", lambda: mine(values), lambda: its(values), 2.0),
        row("four of their own: update", lambda: mine.update(values), lambda: its.update(values), 1.0),
    ]
