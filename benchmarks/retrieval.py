"""Metrics of many queries beside torchmetrics: update and compute of a new metric, as an epoch has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torchmetrics.retrieval

import epochal
from benchmarks.timing import Row, row

QUERIES, DOCUMENTS = 2000, 50
METRICS: list[tuple[str, dict[str, Any], float]] = [  # with what is required
    ("RetrievalNormalizedDCG", {}, 20.0),
    ("RetrievalMAP", {}, 5.0),
    ("RetrievalMRR", {}, 5.0),
    ("RetrievalPrecision", {"top_k": 10}, 5.0),
    ("RetrievalAUROC", {}, 20.0),
    ("RetrievalPrecisionRecallCurve", {"max_k": 20}, 5.0),
]


def computed(library: Any, name: str, arguments: dict[str, Any], *data: torch.Tensor) -> Any:
    metric = getattr(library, name)(**arguments)
    metric.update(*data)
    return metric.compute()


def rows() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    size = QUERIES * DOCUMENTS
    preds, target = torch.rand(size, generator=generator), torch.randint(2, (size,), generator=generator)
    indexes = torch.arange(QUERIES).repeat_interleave(DOCUMENTS)
    for name, arguments, required in METRICS:
        both = [
            lambda lib=lib, c=(name, arguments): computed(lib, *c, preds, target, indexes)
            for lib in (epochal.retrieval, torchmetrics.retrieval)
        ]
        yield row(f"{name} of {QUERIES} x {DOCUMENTS}", *both, required)
