"""States that grow, and large ones: what a batch costs as the data pile up, and what is stored."""

from __future__ import annotations

import pickle
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchmetrics

import epochal
from benchmarks.timing import Row, compare, row

BATCHES = 10_000


def rows() -> list[Row]:
    return [*growing(), *stored(), *large()]


def growing() -> list[Row]:
    """``forward`` of a list, at the first batches and after many."""
    batch = torch.randn(64)

    def forwards(make: Callable[..., Any]) -> list[Callable[[], Any]]:
        new, filled = make(nan_strategy="disable"), make(nan_strategy="disable")
        for _ in range(BATCHES):
            filled.update(batch)
        return [lambda: new(batch), lambda: filled(batch)]

    first, late = compare(forwards(epochal.CatMetric))
    peers = forwards(torchmetrics.CatMetric)
    peer_first, peer_late = (min(timeit.repeat(call, number=5, repeat=3)) / 5 for call in peers)  # a tenth of a second each
    after = f"after {BATCHES} batches"
    return [
        Row("CatMetric: forward, first batches", first, peer_first, 1.0),
        Row(f"CatMetric: forward, {after}", late, peer_late, 2.0),
        Row(f"CatMetric: forward, {after} by first", late / first, peer_late / peer_first, limit=1.25, unit="times"),
    ]


def stored() -> list[Row]:
    """Memory and files of many small chunks, by the size of their data."""
    number = 20_000
    data = number * 4
    ours, peer = epochal.CatMetric(nan_strategy="disable"), torchmetrics.CatMetric(nan_strategy="disable")
    for index in range(number):
        for metric in (ours, peer):
            metric.update(torch.full((1,), float(index)))
    blocks: Any = ours.metric_state["values"]
    memory = sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in blocks}.values())
    parts = [part for part in peer.value if isinstance(part, torch.Tensor)]
    theirs = sum(max(64, part.untyped_storage().nbytes()) for part in parts)  # what an allocation takes at the least
    out = [Row(f"{number} numbers: memory by data", memory / data, theirs / data, 2.0, 1.2, "times")]
    sizes = [len(pickle.dumps(metric)) / data for metric in (ours, peer)]
    out.append(Row(f"{number} numbers: pickle by data", *sizes, 2.0, 1.2, "times"))
    loads: list[Callable[[], Any]] = [lambda m=metric: m.compute() for metric in (ours, peer)]  # type: ignore[misc]
    for metric in (ours, peer):
        metric.compute_with_cache = False
    out.append(Row(f"{number} numbers: compute", *compare(loads), 2.0))
    return out


def large() -> Iterator[Row]:
    """Matrices of many classes: 32 MB for 2 000, to which a batch is added in place."""
    for classes in (10, 100, 1000, 2000):
        batch = torch.randint(classes, (256,)), torch.randint(classes, (256,))
        ours = epochal.classification.MulticlassConfusionMatrix(classes)
        peer = torchmetrics.classification.MulticlassConfusionMatrix(classes)
        name = f"confusion matrix of {classes} classes"
        yield row(f"{name}: update", lambda: ours.update(*batch), lambda: peer.update(*batch), 1.0)  # noqa: B023
        yield row(f"{name}: forward", lambda: ours(*batch), lambda: peer(*batch), 1.0)  # noqa: B023
    three = "ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef"
    both = [
        library.MetricCollection([getattr(library, name)("multiclass", num_classes=1000) for name in three])
        for library in (epochal, torchmetrics)
    ]
    batch = torch.randint(1000, (256,)), torch.randint(1000, (256,))
    for collection in both:
        collection.update(*batch)
    yield row("three of 1000 classes: update", *(lambda c=collection: c.update(*batch) for collection in both), 1.0)
