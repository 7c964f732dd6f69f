"""A bootstrap of 100 replicates: an update in units of one update of the metric alone, beside torchmetrics' in units of its own.

"in updates" has the limit: what 100 replicates cost, in updates of ours. The other rows compare the seconds of both libraries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torchmetrics

import epochal
from benchmarks.metrics import BATCH, TEN, data
from benchmarks.timing import Row, compare

REPLICATES, LIMIT = 100, 20.0
METRICS: list[tuple[str, dict[str, Any]]] = [
    ("MulticlassF1Score", TEN),
    ("MulticlassAccuracy", {**TEN, "average": "micro"}),
    ("MulticlassConfusionMatrix", TEN),
    ("BinaryAccuracy", {}),
    ("MeanSquaredError", {}),
    ("MeanMetric", {}),
    ("MaxMetric", {}),
]
FASTER = 10.0  # times, than torchmetrics


def metric(library: Any, name: str, arguments: dict[str, Any]) -> Any:
    rooms = (library, library.classification, library.regression)
    return next(getattr(room, name) for room in rooms if hasattr(room, name))(**arguments)


def boot(library: Any, *of: Any, **options: Any) -> Any:
    return library.wrappers.BootStrapper(metric(library, *of), num_bootstraps=REPLICATES, **options)


def rows() -> Iterator[Row]:
    batches = data()
    batches = {**batches, "MeanSquared": batches.pop("Mean"), "numbers": (torch.randn(BATCH),)}
    for name, arguments in METRICS:
        kind = next((kind for kind in batches if name.startswith(kind)), "numbers")
        batch, both = batches[kind], (epochal, torchmetrics)
        single = [metric(library, name, arguments) for library in both]
        many = [boot(library, name, arguments) for library in both]
        its, theirs, ours, peer = compare([lambda m=m, b=batch: m.update(*b) for m in (*single, *many)])
        yield Row(f"{name}, 100 replicates: in updates", ours / its, peer / theirs, limit=LIMIT, unit="updates")
        yield Row(f"{name}, 100 replicates: update", ours, peer, FASTER)
