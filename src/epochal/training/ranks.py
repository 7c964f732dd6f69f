"""What the ranks hold, as one: a table of keys and the states of metrics, a union by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from epochal import dist
from epochal.metric import Metric
from epochal.states import Snapshot
from epochal.training.entries import Scalars
from epochal.training.parking import Parking, Place, identity

Table = dict[tuple[str, int | None, str], tuple[tuple[Any, ...], Any]]  # by hook, loader and name: what was declared, and folded


class Ranks:
    """One exchange for the keys and metrics of a stage, whichever of them a rank has."""

    def __init__(self, parking: Parking) -> None:
        self.parking = parking
        self._scalars = Scalars()
        self._known: dict[str, list[Place]] = {}  # the metrics that ranks have agreed to exchange, by stage

    def merge_keys(self, table: Table) -> Table:
        """The keys of all ranks, merged."""
        (merged,) = dist.exchange([(self._scalars, Snapshot({"table": table, "touched": set()}, 1))])
        found: Table = merged.state["table"]
        return found

    def merge(self, stage: str, table: Table, parts: Mapping[Place, Any]) -> tuple[Table, dict[Place, Any]]:
        """The keys and states of all ranks, merged, the same on each."""
        if not dist.available():
            return table, dict(parts)
        known = self._known.setdefault(stage, [])
        mine = Snapshot({"table": table, "touched": set(parts)}, 1)
        (merged, *states) = dist.exchange([(self._scalars, mine), *self._states(known, parts)])
        out = self._by_place(known, parts, states)
        newcomers = sorted(merged.state["touched"] - set(known))
        if newcomers:  # found out above, on all ranks alike: in the next epochs they take part in the one exchange
            out.update(self._by_place(newcomers, parts, dist.exchange(self._states(newcomers, parts))))
            known.extend(newcomers)
        return merged.state["table"], {place: out[place] for place in out if place in merged.state["touched"]}

    def _states(self, places: Iterable[Place], parts: Mapping[Place, Any]) -> list[tuple[Metric, Snapshot]]:
        metrics = self.parking.metrics
        return [
            (metrics[name], parts.get((loader, name)) or identity(metrics[name]))
            for loader, name in places
            if isinstance(metrics.get(name), Metric) and metrics[name].sync_on_compute
        ]

    def _by_place(self, places: list[Place], parts: Mapping[Place, Any], states: list[Snapshot]) -> dict[Place, Any]:
        """The merged states by their places; one that does not synchronise, or does so by itself, stays as it is."""
        rest = iter(states)
        out: dict[Place, Any] = {}
        for loader, name in places:
            metric = self.parking.metrics.get(name)
            if isinstance(metric, Metric) and metric.sync_on_compute:
                out[loader, name] = next(rest)
            elif metric is not None:
                out[loader, name] = parts.get((loader, name)) or identity(metric)
        return out
