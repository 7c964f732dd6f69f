"""Several metrics that take the same batches, as one: what a collection and a formula have in common.

A statistic that metrics share (:meth:`~epochal.metric.Metric.statistic`: declared, never guessed from data) is measured once for a
batch, merged once into each state that several of them hold, and what they derive from it is derived once. No state that others
hold is changed in place, so two metrics hold the same one by holding the same objects; one that was updated or reset alone holds
other objects, and merges for itself. So nothing links the metrics: each behaves as if it were alone, whatever is called on it.

All of them take a batch, or none: everything is measured, merged and read before the first state is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from epochal import check
from epochal.metric import Metric, State, all_or_none, exchanged, synced

__all__ = ["Together", "Values"]

Values = dict[int, Any]  # by the metric's id: torch.compile does not know the hash of a module


class Together:
    """A plan of who shares what, for distinct metrics; valid until :meth:`fits` says otherwise."""

    def __init__(self, owner: object, metrics: Sequence[Metric], share: bool = True) -> None:
        self.owner = type(owner).__name__
        self.metrics = metrics
        self.configurations = [(metric.measured_by(), metric.device) for metric in self.metrics]
        self.others: list[Metric] = []  # those whose verbs are their own
        groups: dict[Any, list[Metric]] = {}
        for metric in self.metrics:
            statistic = metric.statistic()
            if statistic is None:
                self.others.append(metric)
            else:
                groups.setdefault(statistic if share else id(metric), []).append(metric)
        self.groups = list(groups.values())

    def fits(self, metrics: Sequence[Metric]) -> bool:
        """Whether these are the metrics of the plan, and still measure what they measured when it was made."""
        if len(metrics) != len(self.metrics):
            return False
        for metric, known, (config, device) in zip(metrics, self.metrics, self.configurations, strict=True):
            if metric is not known or (metric.device is not device and metric.device != device) or metric.measured_by() != config:
                return False
        return True

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def update(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        given = self.accepted(kwargs)
        steps = [Step(group, args, given(group[0])) for group in self.groups]
        with all_or_none(self.others):
            for metric in self.others:
                metric.update(*args, **given(metric))
        for step in steps:
            step.take()

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Values:
        given = self.accepted(kwargs)
        steps = [Step(group, args, given(group[0])) for group in self.groups]
        values = dict(_values(steps))
        with all_or_none(self.others):
            for metric in self.others:
                values[id(metric)] = metric(*args, **given(metric))
        for step in steps:
            step.take(shown=True)
        return values

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Values:
        given = self.accepted(kwargs)
        values = {id(metric): metric.of(*args, **given(metric)) for metric in self.others}
        for group in self.groups:
            measured, derive = group[0].measured(args, given(group[0])), Derivations()
            values.update((id(m), m.read(derive(m, measured.state), measured.double)) for m in group)
        return values

    def compute(self) -> Values:
        with synced(metric for metric in self.metrics if not metric.is_computed()):
            values = {id(metric): metric.compute() for metric in self.others}
            for group in self.groups:
                derive = Derivations()
                values.update((id(metric), metric.computed(derive)) for metric in group)
        return values

    # --- keyword arguments ------------------------------------------------------------------------------------------------

    def accepted(self, kwargs: Mapping[str, Any]) -> Callable[[Metric], Mapping[str, Any]]:
        """Which of the keyword arguments a metric takes, by its signature; one that none takes is an error."""
        if not kwargs:
            return lambda _: kwargs
        takes = {id(metric): metric.keywords() for metric in self.metrics}
        if all(names is not None for names in takes.values()):
            known = {name for names in takes.values() for name in names or ()}
            check.unknown_arguments(self.owner, {k: v for k, v in kwargs.items() if k not in known}, known)

        def given(metric: Metric) -> Mapping[str, Any]:
            names = takes[id(metric)]
            return kwargs if names is None else {k: v for k, v in kwargs.items() if k in names}

        return given


class Step:
    """A batch on its way into the metrics of one statistic: measured and merged, not written yet."""

    def __init__(self, group: Sequence[Metric], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.measured = group[0].measured(args, kwargs)
        self.batch = self.measured.detached()
        states: list[list[Metric]] = []  # by the metrics that hold each
        for metric in group:
            alike = next((holders for holders in states if metric.is_like(holders[0])), None)
            if alike is None:
                states.append([metric])
            else:
                alike.append(metric)
        afters = [(holders, holders[0].after(self.batch, holders)) for holders in states]
        self.after = [(metric, after) for holders, after in afters for metric in holders]

    def take(self, shown: bool = False) -> None:
        for metric, after in self.after:
            metric.take(after, self.batch, shown)


class Derivations:
    """What the metrics of one statistic derive from a state, each derivation made once."""

    def __init__(self) -> None:
        self.known: list[tuple[Any, State, dict[str, Any]]] = []

    def __call__(self, metric: Metric, state: State) -> dict[str, Any]:
        function = type(metric).derive
        for known, of, derived in self.known:
            if known is function and (of is state or all(of[name] is field for name, field in state.items())):
                return derived
        derived = metric.derived(state)
        self.known.append((function, state, derived))
        return derived


def _values(steps: Sequence[Step]) -> Iterator[tuple[int, Any]]:
    """Each metric's value of the batch: of all processes' batches, in one exchange, for those that synchronise steps."""
    merged = exchanged({metric: step.batch for step in steps for metric, _ in step.after if metric.dist_sync_on_step}, on_step=True)
    for step in steps:
        derive = Derivations()
        for metric, _ in step.after:
            shown = merged.get(metric, step.measured) if metric.dist_sync_on_step else step.measured
            yield id(metric), metric.read(derive(metric, shown.state), shown.double)
