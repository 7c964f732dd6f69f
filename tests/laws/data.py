"""How an example of a metric is written: :func:`row`, and generators of data that families share.

The rows stand in ``tests/laws/rows``, one file for each room; :mod:`tests.laws.examples` collects them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import epochal
from epochal.metric import Metric
from epochal.testing import Case

SIZES = (7, 1, 12, 4)
CLASSES, MANY, LABELS, POSITIONS = 4, 70, 3, 3


@dataclass(frozen=True)
class Example:
    """A metric with arguments, data, its functional form, and options of :class:`~epochal.testing.Case`."""

    cls: str
    variant: str
    arguments: Mapping[str, Any]
    batches: Callable[[], Sequence[Any]]
    function: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[..., Metric] | None = None

    def make(self) -> Metric:
        return (self.build or public(self.cls))(**self.arguments)

    def case(self) -> Case:
        function = functools.partial(getattr(epochal.functional, self.function), **self.arguments) if self.function else None
        return Case(self.make, self.batches(), function, **self.options)

    def __str__(self) -> str:
        return f"{self.cls}-{self.variant}"


def public(name: str) -> Any:
    """A class by its name, from the library or a domain of it."""
    modules = (getattr(epochal, room) if room else epochal for room in ROOMS)
    return next(getattr(module, name) for module in modules if name in module.__all__)


NO_ROOMS = {"training", "testing", "functional", "integrations"}  # of the public modules
ROOMS = ("", *sorted({name for name in epochal.__all__ if inspect.ismodule(getattr(epochal, name))} - NO_ROOMS))

# --- data ----------------------------------------------------------------------------------------------------------------


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def each(row: Callable[[int, torch.Generator], tuple[Tensor, ...]], seed: int = 0) -> Callable[[], list[tuple[Tensor, ...]]]:
    def batches() -> list[tuple[Tensor, ...]]:
        generator = source(seed)
        return [row(size, generator) for size in SIZES]

    return batches


def labels(classes: int, *shape: int, g: torch.Generator, ignored: int | None = None) -> Tensor:
    drawn = torch.randint(classes, shape, generator=g)
    return drawn if ignored is None else drawn.masked_fill(torch.rand(shape, generator=g) < 0.25, ignored)


def yes_or_no(*shape: int, ignored: int | None = None) -> dict[str, Callable[[], Any]]:
    """Binary or multilabel data, one entry for each form of the predictions."""

    def logits(n: int, g: torch.Generator) -> Tensor:
        drawn = 3 * torch.randn(n, *shape, generator=g)
        return drawn.sigmoid() if n == SIZES[0] else drawn  # a batch that could be probabilities, if the others were not known

    target = functools.partial(labels, 2, ignored=ignored)
    return {
        "probabilities": each(lambda n, g: (torch.rand(n, *shape, generator=g), target(n, *shape, g=g))),
        "logits": each(lambda n, g: (logits(n, g), target(n, *shape, g=g))),
        "labels": each(lambda n, g: (labels(2, n, *shape, g=g), target(n, *shape, g=g))),
    }


def one_of_many(*shape: int, classes: int = CLASSES, ignored: int | None = None) -> dict[str, Callable[[], Any]]:
    target = functools.partial(labels, classes, ignored=ignored)
    return {
        "scores": each(lambda n, g: (torch.randn(n, classes, *shape, generator=g), target(n, *shape, g=g))),
        "labels": each(lambda n, g: (labels(classes, n, *shape, g=g), target(n, *shape, g=g))),
    }


def numbers(*shape: int, inputs: int = 1) -> Callable[[], list[tuple[Tensor, ...]]]:
    return each(lambda n, g: tuple(1 + 2 * torch.randn(n, *shape, generator=g) for _ in range(inputs)))


# --- rows ----------------------------------------------------------------------------------------------------------------

EXAMPLES: dict[str, list[Example]] = {}


def row(
    cls: str,
    variant: str,
    batches: Callable[[], Sequence[Any]],
    arguments: Mapping[str, Any] | None = None,
    function: str | None = None,
    build: Callable[..., Metric] | None = None,
    **options: Any,
) -> None:
    EXAMPLES.setdefault(cls, []).append(Example(cls, variant, arguments or {}, batches, function, options, build))
