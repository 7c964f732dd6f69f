"""Metrics of torchmetrics in our trainer: recognised without importing it, so that a user may change the trainer first.

They synchronise by themselves, in their own ``compute``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn

from epochal import metric as ours
from epochal.collection import MetricCollection
from epochal.metric import Metric

_COUNT, _CACHE, _LAST = "_update_count", "_computed", "_forward_cache"  # where torchmetrics keeps them
_TOKEN = "_epochal_foreign"  # what their values carry, as ours do
_METRICS: WeakValueDictionary[int, nn.Module] = WeakValueDictionary()


def is_foreign(value: object) -> bool:
    return not isinstance(value, Metric) and any(
        c.__name__ == "Metric" and c.__module__.startswith("torchmetrics.") for c in type(value).__mro__
    )


def is_metric(value: object) -> bool:
    return isinstance(value, Metric) or (isinstance(value, nn.Module) and is_foreign(value))


def remember(metric: Any) -> None:
    """From now on, what the metric's ``forward`` returns remembers it, as with one of ours."""
    if is_foreign(metric) and id(metric) not in _METRICS:
        _METRICS[id(metric)] = metric
        metric.register_forward_hook(_mark)


def _mark(metric: nn.Module, _: Any, output: Any) -> None:
    if _METRICS.get(id(metric)) is metric:  # a copy has the hook, but was not met yet
        _mark_leaves(output, (id(metric),))


def _mark_leaves(value: Any, path: tuple[Any, ...]) -> None:
    if isinstance(value, Tensor):
        setattr(value, _TOKEN, path)
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _mark_leaves(item, (*path, key))


def metric_of(value: object) -> tuple[Any, tuple[Any, ...]] | None:
    """The metric that returned ``value``, ours or theirs, and the keys that lead to it; None for a plain number."""
    found = ours.metric_of(value)
    if found is not None or not _METRICS:
        return found
    token = getattr(value, _TOKEN, None)
    metric = _METRICS.get(token[0]) if token else None
    return None if metric is None or token is None else (metric, token[1:])


def owner_of(value: object) -> tuple[Any, tuple[Any, ...]] | None:
    """:func:`metric_of`, also for a dict or a list that one metric returned."""
    if not isinstance(value, Mapping | list | tuple):
        return metric_of(value)
    found = {part and (part[0], part[1][:-1]) for part in map(owner_of, value.values() if isinstance(value, Mapping) else value)}
    return found.pop() if len(found) == 1 else None


def is_whole(value: object) -> bool:
    """Whether this is all of what one metric returned."""
    found = owner_of(value)
    return found is not None and not found[1]


def results_of(collection: Any) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The names of a collection's results, as it gives them: the metric of each, and the keys that lead to it."""
    known = {name: _shown(metric) for name, metric in collection.items(keep_base=True)}
    twin = (
        collection
        if isinstance(collection, MetricCollection)
        else MetricCollection({}, prefix=collection.prefix, postfix=collection.postfix)
    )
    named = twin.flattened({name: _paths(value, (name,)) for name, value in known.items()})
    return {name: (collection[path[0]], path[1:]) for name, path in _leaves(named)}


def _shown(metric: Any) -> Any:
    """A result, to look at its form; None where there is none yet."""
    try:
        return batch_value(metric)
    except Exception:  # one batch may be too little for the metric, and need not be enough
        return None


def _paths(value: Any, path: tuple[Any, ...]) -> Any:
    return {key: _paths(item, (*path, key)) for key, item in value.items()} if isinstance(value, Mapping) else path


def _leaves(named: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Of a dict of dicts, the inner names behind the outer."""
    for name, item in named.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{before}{name}_")
        else:
            yield before + str(name), item


def is_collection(value: object) -> bool:
    return isinstance(value, nn.ModuleDict) and any(c.__name__ == "MetricCollection" for c in type(value).__mro__)


def leaves(metric: Any) -> list[Any]:
    if isinstance(metric, Metric):
        return list(ours.leaves(metric))
    return [module for module in metric.modules() if is_metric(module)]


def batch_value(metric: Any) -> Any:
    """The value of the last batch."""
    return metric.batch_value() if isinstance(metric, Metric) else getattr(metric, _LAST, None)


def snapshot(metric: Any) -> Any:
    if isinstance(metric, Metric):
        return metric.snapshot()
    state = {name: _copied(value) for name, value in metric.metric_state.items()}
    return {**state, _COUNT: metric.update_count}


def restore(metric: Any, kept: Any) -> None:
    if isinstance(metric, Metric):
        metric.restore(kept)
        return
    for name, value in kept.items():
        setattr(metric, name, _copied(value))
    setattr(metric, _CACHE, None)


def joined(metric: Any, parts: list[Any]) -> Any:
    """The states of several loaders as one, by torchmetrics' own merge."""
    twin = copy.deepcopy(metric)
    restore(twin, parts[0])
    for part in parts[1:]:
        if part[_COUNT]:
            other = copy.deepcopy(metric)
            restore(other, part)
            count = twin.update_count + other.update_count
            if twin.update_count:
                twin.merge_state(other)
            else:
                restore(twin, part)
            setattr(twin, _COUNT, count)
    return snapshot(twin)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return list(value) if isinstance(value, list) else value
