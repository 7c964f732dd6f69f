"""What a call costs, and how that compares with a peer's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

WARM, CALLS = 20, 5
TURNS, SECONDS = 50, 1.0  # at least
SLOW, LEAST = 0.05, 3  # seconds from which calls are slow, and how often each is made then at least
HEAD = f"{'':<58}{'ours':>10}{'peer':>10}{'':>7}{'ratio':>8}  needed"


@dataclass(frozen=True)
class Row:
    """One comparison of a cost of ours and of the peer's: how many times less ours must be, or the most that it may be, or both.

    Seconds by default, printed as µs; ``unit`` names what else is counted.
    """

    name: str
    ours: float
    peer: float
    required: float | None = None
    limit: float | None = None
    unit: str = "µs"

    @property
    def ratio(self) -> float:
        return self.peer / self.ours if self.ours > 0 else float("inf")

    @property
    def met(self) -> bool:
        return (self.required is None or self.ratio >= self.required) and (self.limit is None or self.ours <= self.limit)

    @property
    def needed(self) -> str:
        ratio = [] if self.required is None else [f"{self.required:g} times"]
        return " and ".join([*ratio, *([] if self.limit is None else [f"at most {self.limit:g}"])])

    def printed(self, cost: float) -> str:
        return f"{cost * 1e6:.1f}" if self.unit == "µs" else f"{cost:.0f}" if self.unit == "calls" else f"{cost:.3f}"

    def __str__(self) -> str:
        costs = f"{self.printed(self.ours):>10}{self.printed(self.peer):>10} {self.unit:<6}"
        return f"{self.name:<58}{costs}{self.ratio:>8.2f}  {self.needed:<10}{'' if self.met else '  MISSED'}"


def best_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
    """Seconds of a call: the best burst's mean, since other processes only ever add to it."""
    return compare([lambda: function(*args, **kwargs)])[0]


def compare(functions: Sequence[Callable[[], Any]]) -> list[float]:
    """:func:`best_of` for each; in turns of a few calls: a busy machine is busy for all, and each has some bursts undisturbed.

    What takes long has fewer calls, at least three: its noise is small beside it.
    """
    start = time.perf_counter()
    for function in functions:
        function()
    slow = time.perf_counter() - start > SLOW
    for _ in range(0 if slow else WARM - 1):
        for function in functions:
            function()
    calls, enough = (1, LEAST) if slow else (CALLS, TURNS)
    best = [float("inf")] * len(functions)
    turns, end = 0, time.perf_counter() + SECONDS
    while turns < enough or time.perf_counter() < end:
        turns += 1
        for index, function in enumerate(functions):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            best[index] = min(best[index], (time.perf_counter() - start) / calls)
    return best


def row(name: str, ours: Callable[[], Any], peer: Callable[[], Any], required: float | None = None) -> Row:
    """The comparison of two calls that do the same."""
    return Row(name, *compare([ours, peer]), required)
