"""Profilers: how long the hooks of a run take, or what happens in them. Without one, nothing is measured and nothing costs."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from epochal import check
from epochal.paths import answer_to


class Profiler:
    """A user's own overrides ``start`` and ``stop``, which get the name of an action, and ``summary``.

    The report is printed at the end of the run, or written to ``{dirpath}/{stage}-{filename}.txt``; ``dirpath`` defaults to the
    folder of the logs.
    """

    def __init__(self, dirpath: str | Path | None = None, filename: str | None = None) -> None:
        self.dirpath, self.filename = dirpath, filename
        self.stage = ""
        self.folder: str | Path = "."

    def start(self, action_name: str) -> None:
        """An action begins."""

    def stop(self, action_name: str) -> None:
        """It ends."""

    def summary(self) -> str:
        """The report."""
        return ""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """:meth:`start` and :meth:`stop` around a block."""
        self.start(action_name)
        try:
            yield action_name
        finally:
            self.stop(action_name)

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | None = None) -> None:  # noqa: ARG002  # Lightning's
        """A run begins."""
        self.stage, self.folder = stage, self.dirpath or log_dir or "."

    def describe(self) -> None:
        """Print the report, or write it."""
        report = self.summary()
        if not report:
            return
        if self.dirpath is None and self.filename is None:
            print(report)  # noqa: T201  # it is asked for
            return
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.stage}-{self.filename or 'profile'}.txt").write_text(report)

    def teardown(self, stage: str | None) -> None:
        """A run ends."""


class SimpleProfiler(Profiler):
    """How often each action ran, and for how many seconds. Actions lie within each other, so the shares add up to more than all."""

    def __init__(self, dirpath: str | Path | None = None, filename: str | None = None, extended: bool = True) -> None:
        super().__init__(dirpath, filename)
        self.extended = extended
        self.began = time.perf_counter()
        self.running: dict[str, float] = {}
        self.recorded_durations: dict[str, list[float]] = {}

    def start(self, action_name: str) -> None:
        self.running[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        began = self.running.pop(action_name)
        self.recorded_durations.setdefault(action_name, []).append(time.perf_counter() - began)

    def summary(self) -> str:
        total = time.perf_counter() - self.began
        rows = sorted(((sum(times), len(times), action) for action, times in self.recorded_durations.items()), reverse=True)
        width = max([len(action) for _, _, action in rows] + [len("action")])
        lines = [
            f"{self.stage} profile, {total:.4g} s in all",
            f"{'action':{width}}  {'calls':>8}  {'mean s':>10}  {'total s':>10}",
        ]
        lines[1] += f"  {'share':>6}" if self.extended else ""
        for seconds, calls, action in rows:
            share = f"  {100 * seconds / total:5.1f}%" if self.extended else ""
            lines.append(f"{action:{width}}  {calls:8}  {seconds / calls:10.4g}  {seconds:10.4g}{share}")
        return "\n".join(lines)


class AdvancedProfiler(Profiler):
    """Every function that ran inside of an action, by Python's own cProfile; ``line_count_restriction`` of the report's lines."""

    def __init__(self, dirpath: str | Path | None = None, filename: str | None = None, line_count_restriction: float = 1.0) -> None:
        super().__init__(dirpath, filename)
        self.line_count_restriction = line_count_restriction
        self.functions = cProfile.Profile()
        self.depth = 0

    def start(self, action_name: str) -> None:  # noqa: ARG002
        self.depth += 1
        if self.depth == 1:
            self.functions.enable()

    def stop(self, action_name: str) -> None:  # noqa: ARG002
        self.depth -= 1
        if self.depth == 0:
            self.functions.disable()

    def summary(self) -> str:
        text = io.StringIO()
        pstats.Stats(self.functions, stream=text).sort_stats("cumulative").print_stats(self.line_count_restriction)
        return text.getvalue()


class PyTorchProfiler(Profiler):
    """torch's profiler over the first ``steps`` batches, with the run's actions as ranges in it.

    ``profiler_kwargs`` are those of ``torch.profiler.profile``. With ``dirpath`` a trace for chrome://tracing is written as well.
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        row_limit: int = 20,
        sort_by_key: str = "self_cpu_time_total",
        steps: int = 4,
        **profiler_kwargs: Any,
    ) -> None:
        super().__init__(dirpath, filename)
        self.row_limit, self.sort_by_key, self.steps = row_limit, sort_by_key, steps
        self.torch_profiler: Any = torch.profiler.profile(**profiler_kwargs)
        self.ranges: list[Any] = []
        self.seen: int | None = None  # batches; None before the first action

    def start(self, action_name: str) -> None:
        if self.seen is None:
            self.seen = 0
            self.torch_profiler.start()
        if self.seen < self.steps:
            self.ranges.append(torch.profiler.record_function(action_name))
            self.ranges[-1].__enter__()

    def stop(self, action_name: str) -> None:
        if self.ranges:
            self.ranges.pop().__exit__(None, None, None)
        if self.seen is not None and action_name.endswith(BATCHES) and self.seen < self.steps:
            self.seen += 1
            self._end(self.seen == self.steps)

    def _end(self, over: bool) -> None:
        if not over:
            self.torch_profiler.step()
            return
        while self.ranges:
            self.ranges.pop().__exit__(None, None, None)
        self.seen = self.steps
        self.torch_profiler.stop()

    def summary(self) -> str:
        if self.seen is None:
            return ""
        if self.seen < self.steps:
            self._end(over=True)
        if self.dirpath is not None:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            self.torch_profiler.export_chrome_trace(str(Path(self.folder) / f"{self.stage}-{self.filename or 'profile'}.json"))
        table: str = self.torch_profiler.key_averages().table(sort_by=self.sort_by_key, row_limit=self.row_limit)
        return table


BATCHES = ("training_step", "validation_step", "test_step", "predict_step")
BY_NAME: dict[str, type[Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def chosen(profiler: Any) -> Any:
    """What the flag stands for: a profiler, or None."""
    if isinstance(profiler, str):
        check.choice("Trainer", "profiler", profiler, tuple(BY_NAME))
        return BY_NAME[profiler]()
    if profiler is not None and not (hasattr(profiler, "start") and hasattr(profiler, "stop")):
        came = f"profiler is {profiler!r}"
        raise TypeError(check.message("Trainer", came, f"one of {list(BY_NAME)} or a Profiler is needed"))
    return profiler


def timed(profiler: Any, owner: str, call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A call under a name of Lightning's form, ``[LightningModule]Net.training_step``; itself where nobody measures."""
    if profiler is None:
        return call

    def measured(*args: Any) -> Any:
        profiler.start(f"{owner}.{name}")
        try:
            return call(*args)
        finally:
            profiler.stop(f"{owner}.{name}")

    return measured


def timed_batches(profiler: Any, action: str, batches: Iterable[Any]) -> Iterable[Any]:
    """How long each batch took to come."""
    if profiler is None:
        return batches
    step = timed(profiler, "[Loader]", lambda: next(iterator, _END), action)
    iterator = iter(batches)
    return iter(step, _END)


_END = object()


answer_to(__name__, "advanced profiler pytorch simple")
