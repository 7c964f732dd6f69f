"""Where a run was, so that it goes on as if it had not been broken off: random states, the data's order, what each rank held."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from epochal.metric import Metric
from epochal.states import Blocks, Snapshot, place
from epochal.training import foreign
from epochal.training.entries import fold
from epochal.training.parking import Parking, joined

# --- random states -------------------------------------------------------------------------------------------------------


def random_states() -> dict[str, Any]:
    """Of Python's, numpy's and torch's generators."""
    import numpy

    name, keys, *rest = numpy.random.get_state(legacy=True)
    states = {"python": random.getstate(), "numpy": (name, list(map(int, keys)), *rest), "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """The counterpart of :func:`random_states`."""
    import numpy

    random.setstate(states["python"])
    numpy.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    for device, state in enumerate(states.get("cuda", [])[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), device)


# --- the data's order ----------------------------------------------------------------------------------------------------


def order_of(loaders: list[Any]) -> dict[str, Any]:
    """What an epoch's order is drawn from, before its first batch: all random states, and the loaders' own generators."""
    return {"random": random_states(), "generators": [generator.get_state() for generator in _generators(loaders)]}


def set_order(loaders: list[Any], order: Mapping[str, Any]) -> None:
    """The counterpart of :func:`order_of`."""
    set_random_states(order["random"])
    for generator, state in zip(_generators(loaders), order["generators"], strict=False):
        generator.set_state(state.cpu())


def _generators(loaders: list[Any]) -> list[torch.Generator]:
    holders: list[Any] = []
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        holders += [loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
    found = [getattr(holder, "generator", None) for holder in holders]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def keeps_its_place(loader: Any) -> bool:
    """Whether a loader has a state of its own, as torchdata's StatefulDataLoader."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


# --- metrics -------------------------------------------------------------------------------------------------------------


def merges(metric: Any) -> bool:
    """Whether the trainer merges a metric over the ranks; else each rank keeps its own."""
    return isinstance(metric, Metric) and metric.sync_on_compute


def packed(snapshot: Any) -> dict[str, Any]:
    """A snapshot in plain types, on the CPU."""
    if isinstance(snapshot, Snapshot):
        state = {name: _kept(field) for name, field in snapshot.state.items()}
        return {"state": state, "updates": int(snapshot.updates), "double": bool(snapshot.double)}
    return {"foreign": {name: _kept(field) for name, field in snapshot.items()}}


def unpacked(metric: Any, kept: Mapping[str, Any]) -> Any:
    """The counterpart of :func:`packed`, on the metric's device."""
    if not isinstance(metric, Metric):
        return dict(kept["foreign"])
    empty = metric.snapshot().state
    state = {name: place(field, metric.device) for name, field in kept["state"].items()}
    lists = {name: Blocks(field) for name, field in state.items() if isinstance(empty.get(name), Blocks)}
    return Snapshot({**state, **lists}, kept["updates"], kept["double"])


def _kept(field: Any) -> Any:
    if isinstance(field, list):
        return [_kept(part) for part in field]
    return field.detach().cpu().clone() if isinstance(field, torch.Tensor) else field  # a view would be kept with all its block


def load_metrics(parking: Parking, merged: Mapping[str, Any], apart: Sequence[Mapping[str, Any]], first: bool) -> list[str]:
    """Give the metrics what a checkpoint holds: what was merged to rank 0, ``first``, so that it counts once.

    ``apart``: this rank's own states of the metrics that do not merge, or those of all ranks, for the first. Returns the names of
    the states that found no metric.
    """
    parking.refresh()
    for metric in parking.metrics.values():
        metric.reset()
    states: dict[str, list[Any]] = {name: [kept] for name, kept in merged.items()} if first else {}
    for own in apart:
        for name, kept in own.items():
            states.setdefault(name, []).append(kept)
    parking.awaited.clear()
    for name, parts in states.items():
        metric = parking.metrics.get(name)
        if metric is not None:
            foreign.restore(metric, joined(metric, [unpacked(metric, kept) for kept in parts]))
        elif name.startswith("@") and "state" in parts[0]:
            parking.awaited[name] = _bare(parts[0])
    return [name for name in states if name not in parking.metrics and name not in parking.awaited]


def _bare(kept: Mapping[str, Any]) -> Snapshot:
    state = {name: Blocks(field) if isinstance(field, list) else field for name, field in kept["state"].items()}
    return Snapshot(state, kept["updates"], kept["double"])


# --- ranks ---------------------------------------------------------------------------------------------------------------


def one_of(books: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several ranks logged in an epoch, as one, for a run on another number of them."""
    entries: dict[tuple[Any, ...], dict[str, Any]] = {}
    for book in books:
        for *where, state in book["entries"]:
            key = tuple(where)
            if key not in entries:
                entries[key] = dict(state)
            elif "folded" in state and not state["local"]:
                entries[key]["folded"] = fold(state["kind"], entries[key]["folded"], state["folded"])
    sets = {name: sorted({item for book in books for item in book[name]}) for name in ("touched", "logged")}
    return {**books[0], **sets, "entries": [(*key, state) for key, state in entries.items()]}


def nothing_of(book: Mapping[str, Any]) -> dict[str, Any]:
    """The same views without the epoch's values, which another rank has."""
    return {**book, "entries": []}
