"""Compiled steps (``torch.compile(fullgraph=True)``, inductor) of a metric and of the eight of :mod:`benchmarks.collection`.

"compiled beside eager" is ours beside ours, with no ratio needed: what compiling does where nothing else is compiled with it. The
peer's steps are eager in the other rows, since its classification metrics do not compile: torch's tracer raises in them
(torchmetrics 1.9.0, torch 2.13.0). Its MeanSquaredError compiles, and anew in each step, until torch gives up: "graphs of 12
steps" counts that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchmetrics

import epochal
from benchmarks.collection import BATCH, CLASSES, eight
from benchmarks.timing import Row, row

STEPS = 12
MAKE: dict[str, Callable[[Any], Any]] = {
    "MulticlassF1Score": lambda library: library.classification.MulticlassF1Score(num_classes=CLASSES),
    "eight of one statistic": eight,
}
NEEDED = {"MulticlassF1Score": {"forward": 2.0, "update": 1.0}, "eight of one statistic": {"forward": 6.0, "update": 1.0}}


def graphs(metric: Any, data: tuple[torch.Tensor, ...]) -> int:
    """How many graphs twelve equal steps make."""
    made = []

    def backend(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        made.append(module)
        return module.forward

    torch.compiler.reset()
    step = torch.compile(metric.update, backend=backend)
    for _ in range(STEPS):
        step(*data)
    return len(made)


def rows() -> Iterator[Row]:
    data = torch.randn(BATCH, CLASSES).softmax(-1), torch.randint(CLASSES, (BATCH,))
    for name, make in MAKE.items():
        for verb in ("forward", "update"):
            torch.compiler.reset()
            compiled = torch.compile(getattr(make(epochal), verb), fullgraph=True)
            eager, peer = getattr(make(epochal), verb), getattr(make(torchmetrics), verb)
            ours = lambda step=compiled: step(*data)  # noqa: E731  # as the others of a row
            yield row(f"{name}: {verb}, compiled", ours, lambda step=peer: step(*data), NEEDED[name][verb])
            yield row(f"{name}: {verb}, compiled beside eager", ours, lambda step=eager: step(*data))
    numbers = torch.randn(BATCH), torch.randn(BATCH)
    ours, peers = (graphs(library.MeanSquaredError(), numbers) for library in (epochal, torchmetrics))
    yield Row("MeanSquaredError: graphs of 12 steps", ours, peers, limit=2, unit="calls")
