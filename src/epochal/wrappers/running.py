"""Any metric over the latest updates."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch.compiler import is_dynamo_compiling

from epochal import check
from epochal.metric import WEIGHT, Metric, cleaned, held, leaves
from epochal.results import copied
from epochal.states import Snapshot, State
from epochal.wrappers.base import look_like, metric_needed

__all__ = ["Running"]


class Running(Metric):
    """A metric of the latest updates.

    The state is the metric's own statistic of each of them, at most ``window``; the value is the metric's, of these merged. The
    metric inside stays empty.

    ``update``: what the metric takes. ``compute()``: its value of the data of the latest ``window`` updates, or of all as long as
    there are fewer. ``forward``: the value of the batch alone. Merged over time, the later push the earlier out; over processes,
    the newest updates of all are one, and so on backwards.

    Args:
        base_metric: the metric; it is copied, without its data.
        window: the number of updates, at least 1.

    >>> from epochal import MeanSquaredError
    >>> metric = Running(MeanSquaredError(), window=2)
    >>> for error in (9.0, 1.0, 2.0):
    ...     metric.update(torch.tensor([error]), torch.tensor([0.0]))
    >>> metric.compute()  # (1 + 4) / 2
    tensor(2.5000)
    """

    order_matters: ClassVar[bool] = True
    uncompiled = "compiled, each length of a window that is not yet full makes a graph of its own"
    base_metric: Metric

    def __init__(self, base_metric: Metric, window: int = 5) -> None:
        super().__init__()
        metric_needed(self, "base_metric", base_metric, collection=False)
        check.whole(self, "window", window, 1)
        self.base_metric, self.window = base_metric.clone(), window
        self.is_differentiable = base_metric.is_differentiable
        look_like(self, base_metric)
        self.base_metric.reset()
        for index, leaf in enumerate(leaves(self.base_metric)):
            for name in (*leaf.metric_state, WEIGHT):  # the last: how many updates, and whether float64 was among their data
                self.add_state(f"{name}_{index}", [])

    def measure(self, *args: Any, **kwargs: Any) -> State:
        if self.base_metric.statistic() is not None:
            taken = [(self.base_metric, self.base_metric.measured(args, kwargs))]
        else:  # it says itself what an update is
            twin = cleaned(self.base_metric)
            twin.update(*args, **kwargs)
            taken = [(leaf, leaf.snapshot()) for leaf in leaves(twin)]
        return self._rows([[(leaf, snapshot)] for leaf, snapshot in taken])

    def keywords(self) -> Collection[str] | None:
        return self.base_metric.keywords()

    def _rows(self, windows: Sequence[Sequence[tuple[Metric, Snapshot]]]) -> State:
        """The state that holds these statistics of each of the metrics."""
        state: State = {}
        for index, window in enumerate(windows):
            fields = [leaf.fields(snapshot.state) for leaf, snapshot in window]
            for name in fields[0] if fields else ():
                state[f"{name}_{index}"] = [kept(row[name], self.device) for row in fields]
            state[f"{WEIGHT}_{index}"] = [(snapshot.updates, snapshot.double) for _, snapshot in window]
        return state

    def _windows(self, state: Mapping[str, Any]) -> Iterator[tuple[Metric, list[Snapshot]]]:
        """The counterpart of :meth:`_rows`: each metric and its statistics."""
        for index, leaf in enumerate(leaves(self.base_metric)):
            columns = {name: state[f"{name}_{index}"] for name in leaf.metric_state}
            abouts = state[f"{WEIGHT}_{index}"]
            yield leaf, [Snapshot({name: column[i] for name, column in columns.items()}, *about) for i, about in enumerate(abouts)]

    def merge(self, a: State, b: State) -> State:
        return {name: [*a[name], *b[name]][-self.window :] for name in self.metric_state}

    def unmerge(self, whole: State, part: State) -> State:
        newer = min(whole[WEIGHT] - part[WEIGHT], self.window)
        return {name: whole[name][len(whole[name]) - newer :] for name in self.metric_state}

    def merge_ranks(self, states: Sequence[State]) -> State:
        merged: list[list[tuple[Metric, Snapshot]]] = []
        for ranks in zip(*(self._windows(state) for state in states), strict=True):
            leaf, windows = ranks[0][0], [window for _, window in ranks]
            steps = [[window[-age] for window in windows if len(window) >= age] for age in range(max(map(len, windows)), 0, -1)]
            merged.append([(leaf, over_ranks(leaf, step)) for step in steps])
        return {**{name: [] for name in self.metric_state}, **self._rows(merged)}

    def value(self, **state: Any) -> Any:
        if self.base_metric.statistic() is not None:
            ((metric, window),) = self._windows(state)
            whole = functools.reduce(functools.partial(over_time, metric), window) if window else metric.snapshot()
            if not is_dynamo_compiling():
                metric.verify(whole.state)
            return metric.read(metric.derived(whole.state), whole.double)
        twin, held_in = cleaned(self.base_metric), {}
        for leaf, (_, window) in zip(leaves(twin), self._windows(state), strict=True):
            for index, snapshot in enumerate(window):
                leaf.restore(leaf.after(snapshot) if index else snapshot)
            held_in[leaf] = leaf.snapshot()
        with held(held_in):
            return twin.compute()


def over_time(metric: Metric, earlier: Snapshot, later: Snapshot) -> Snapshot:
    """What was measured in two steps, as one."""
    first, second = ({**step.state, WEIGHT: step.updates} for step in (earlier, later))
    return Snapshot(metric.merge(first, second), earlier.updates + later.updates, earlier.double or later.double)


def over_ranks(metric: Metric, ranks: Sequence[Snapshot]) -> Snapshot:
    """What several processes measured in one step, as one."""
    state = metric.merge_ranks([{**rank.state, WEIGHT: rank.updates} for rank in ranks])
    return Snapshot(state, sum(rank.updates for rank in ranks), any(rank.double for rank in ranks))


def kept(field: Any, device: torch.device) -> Any:
    """A field as a state may keep it: a tensor that is no argument's own."""
    if isinstance(field, bool | int | float):
        return torch.full((), field, dtype=torch.float64 if isinstance(field, float) else torch.int64, device=device)
    return [kept(part, device) for part in field] if isinstance(field, list) else copied(field)
