"""What a call costs, and how that compares with a peer's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of a call of ours and of the peer's, and how many times faster ours must be."""

    name: str
    ours: float
    peer: float
    required: float

    @property
    def ratio(self) -> float:
        return self.peer / self.ours


def best_of(function: Callable[..., Any], *args: Any, calls: int = 20, rounds: int = 100, **kwargs: Any) -> float:
    """Seconds of a call: the best round's mean, since other processes only ever add to it."""
    return compare([lambda: function(*args, **kwargs)], calls, rounds)[0]


def compare(functions: Sequence[Callable[[], Any]], calls: int = 20, rounds: int = 100) -> list[float]:
    """:func:`best_of` for each; in turns, so that a busy machine is busy for all of them."""
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
    for _ in range(rounds):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            best[index] = min(best[index], (time.perf_counter() - start) / calls)
    return best


def row(name: str, ours: Callable[[], Any], peer: Callable[[], Any], required: float) -> Row:
    """The comparison of two calls that do the same."""
    return Row(name, *compare([ours, peer]), required)
