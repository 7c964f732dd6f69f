"""State has a scope: the metrics of a module, kept apart per stage and loader.

Validation runs inside the training epoch, and one metric may serve both, or several loaders. Snapshots cost a reference each, so
every metric of the module is set aside at a stage's begin and brought back at its end. A metric that no step updated belongs to
the run and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from epochal.metric import WEIGHT, Metric, cleaned
from epochal.states import Snapshot
from epochal.training import foreign

Place = tuple[int, str]  # a loader and the name of a metric in the module


@dataclass
class Stage:
    """A stage that is open: what the metrics held before it, and what each loader's steps put into them."""

    outer: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    parts: dict[Place, Any] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    fresh: bool = False  # an evaluation, which leaves the metrics as they were
    over: bool = False  # its values are out


class Parking:
    """The metrics of a module by name, and the stages that are open, the innermost last."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.adopted: dict[str, Any] = {}  # logged, but not a part of the module
        self.metrics: dict[str, Any] = {}
        self.logged: set[str] = set()
        self.stages: list[Stage] = []
        self.awaited: dict[str, Any] = {}  # of a checkpoint: states of metrics that are adopted when they are logged
        self.refresh()

    def refresh(self) -> None:
        """Look the metrics up again: a module may get new ones at any time."""
        found = {name: module for name, module in self.root.named_modules() if foreign.is_metric(module)}
        self.metrics = {**found, **self.adopted}
        self._names = {id(metric): name for name, metric in self.metrics.items()}
        self.lasting = {
            name
            for root, metric in self.metrics.items()
            if getattr(metric, "lasts", False)
            for name in self.metrics
            if name == root or name.startswith(f"{root}.")
        }
        for name, metric in self.metrics.items():
            foreign.remember(metric)
            for stage in self.stages:
                if name not in stage.outer:  # came after the stage began
                    stage.outer[name] = identity(metric)

    def name_of(self, metric: Any) -> str | None:
        return self._names.get(id(metric))

    def adopt(self, name: str, metric: Any) -> None:
        """A metric that is logged without being a part of the module: a callback's, or one in a plain list."""
        self.adopted[name] = metric
        self.metrics[name], self._names[id(metric)] = metric, name
        for stage in self.stages:
            stage.counts[name], stage.outer[name] = 0, identity(metric)
        if name in self.awaited:
            foreign.restore(metric, joined(metric, [self.awaited.pop(name), foreign.snapshot(metric)]))

    def names_of_leaves(self, metric: Any, key: str) -> list[str]:
        """The names of the metrics that hold a logged one's state: itself, or those that a formula reads."""
        names = []
        if any(self.name_of(leaf) is None for leaf in foreign.leaves(metric)):
            self.refresh()
        for index, leaf in enumerate(foreign.leaves(metric)):
            name = self.name_of(leaf)
            if name is None and isinstance(leaf, Metric) and not leaf.metric_state:
                continue  # a formula of its own, built on the way
            if name is None:
                name = f"@{key}.{index}" if index else f"@{key}"
                self.adopt(name, leaf)
            names.append(name)
        return names

    def holdings(self) -> dict[str, Any]:
        """What the module's metrics hold now, by name: to be taken over in another process."""
        self.refresh()
        return {name: foreign.snapshot(metric) for name, metric in self.metrics.items() if name not in self.adopted}

    def take(self, holdings: dict[str, Any]) -> None:
        """The counterpart of :meth:`holdings`."""
        self.refresh()
        for name, snapshot in holdings.items():
            if name in self.metrics:
                foreign.restore(self.metrics[name], snapshot)

    def settled(self) -> dict[str, Any]:
        """What the metrics would hold if the evaluation that is open had ended, or not begun if its values are not out yet."""
        now = {name: foreign.snapshot(metric) for name, metric in self.metrics.items()}
        for stage in self.stages:
            if not stage.fresh:  # in an epoch's end each rank holds all: what the steps left is in the parts
                parts = {name: part for (_, name), part in stage.parts.items()}
                now.update({n: p for n, p in parts.items() if self.metrics[n].update_count == stage.counts.get(n, 0)})
                continue
            for name, outer in stage.outer.items():
                if not stage.over or (name in stage.touched and name in self.logged):
                    now[name] = outer
                elif name in stage.touched:
                    now[name] = joined(self.metrics[name], [outer, now[name]])
        return now

    def is_over(self) -> bool:
        """Whether the values of the evaluation that is open are out."""
        return all(stage.over for stage in self.stages if stage.fresh)

    def touched(self) -> set[str]:
        """The metrics that steps of this training epoch have updated."""
        found: set[str] = set()
        for stage in self.stages[:1]:
            now = {} if len(self.stages) > 1 else {name: metric.update_count for name, metric in self.metrics.items()}
            found = stage.touched | {name for name, count in now.items() if count != stage.counts.get(name, 0)}
        return found

    def open(self, fresh: bool) -> None:
        """Begin a stage; ``fresh``: from empty states (evaluation), else from what is there (training)."""
        self.refresh()
        stage = Stage({name: foreign.snapshot(metric) for name, metric in self.metrics.items()}, fresh=fresh)
        if fresh:
            for metric in self.metrics.values():
                metric.reset()
        self.stages.append(stage)
        self.begin_steps()

    def begin_steps(self) -> None:
        """From here on, updates come from steps."""
        self.stages[-1].counts = {name: metric.update_count for name, metric in self.metrics.items()}

    def end_steps(self) -> None:
        """Updates from here on come from elsewhere: note who was touched."""
        self.refresh()
        stage = self.stages[-1]
        stage.touched |= {name for name, metric in self.metrics.items() if metric.update_count != stage.counts.get(name, 0)}

    def park(self, loader: int) -> None:
        """Set what the steps of one loader put in apart, and begin the next with nothing."""
        self.end_steps()
        stage = self.stages[-1]
        touched = {name: metric for name, metric in self.metrics.items() if metric.update_count != stage.counts.get(name, 0)}
        for name, metric in touched.items():
            stage.parts[loader, name] = foreign.snapshot(metric)
        for metric in touched.values():  # after all were set aside: one resets those inside of it
            metric.reset()
        self.begin_steps()

    def begin_loader(self) -> None:
        """After :meth:`present`: begin another loader with nothing."""
        for metric in self.metrics.values():
            metric.reset()
        self.begin_steps()

    def present(self, touched: set[str], fresh: bool) -> None:
        """For the hooks at the end: each metric holds all loaders of the stage, or what it held before if no step touched it."""
        stage = self.stages[-1]
        stage.touched |= touched
        for name, metric in self.metrics.items():
            if name in stage.touched:
                parts = [part for (_, owner), part in sorted(stage.parts.items(), key=lambda item: item[0]) if owner == name]
                if parts:
                    foreign.restore(metric, joined(metric, parts))
            elif fresh:
                foreign.restore(metric, stage.outer[name])
        self.begin_steps()

    def close(self, fresh: bool) -> None:
        """End a stage: what was logged begins anew, or goes back to what it held before; what was not, or lasts, is
        the user's own."""
        stage = self.stages.pop()
        for name in stage.touched:
            metric = self.metrics[name]
            if name not in self.logged or name in self.lasting:
                if fresh:
                    foreign.restore(metric, joined(metric, [stage.outer[name], foreign.snapshot(metric)]))
            elif fresh:
                foreign.restore(metric, stage.outer[name])
            else:
                metric.reset()

    def undo(self) -> None:
        """End a stage as if it had not been: the sanity check."""
        for name, snapshot in self.stages.pop().outer.items():
            foreign.restore(self.metrics[name], snapshot)


def joined(metric: Any, parts: list[Any]) -> Any:
    """Several states of one metric as one."""
    first, *rest = parts
    if not isinstance(metric, Metric):
        return foreign.joined(metric, parts)
    for part in rest:
        state = metric.merge({**first.state, WEIGHT: first.updates}, {**part.state, WEIGHT: part.updates})
        first = Snapshot(state, first.updates + part.updates, first.double or part.double, first.loaded)
    return first


def identity(metric: Any) -> Any:
    """The state of no data."""
    if isinstance(metric, Metric):
        return cleaned(metric).snapshot()
    now = foreign.snapshot(metric)
    metric.reset()
    empty = foreign.snapshot(metric)
    foreign.restore(metric, now)
    return empty
