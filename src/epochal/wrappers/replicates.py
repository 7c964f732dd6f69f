"""Many replicates of one metric, each of which has its own weights for the rows of a batch.

What a replicate's statistic costs follows from what the metric declares, never from the data:

    Weighted    every field a sum, a maximum or a minimum: the statistic of each row is measured once, in one pass, and the sums of
                all replicates are one product of matrices, weights by rows
    Joint       fields of fixed shape that merge in the metric's own way: measured for each replicate, kept as one state
    Copies      all else (lists, the classic way, metrics inside of it): a metric for each replicate

In each of them a replicate has what a metric would have that was updated with the rows, each as often as its weight says.

Of a metric that looks for faults (:meth:`Metric.verify`) one replicate more is kept, the data as they came: a fault in a row that
no other happened to draw is found in it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from epochal import check
from epochal.metric import OPTIONS, Metric, State, all_or_none, cleaned, exchanged, held, leaves, synced
from epochal.numeric import wide
from epochal.results import cast as cast_result
from epochal.states import Slot

Call = tuple[Sequence[Any], Mapping[str, Any]]
MERGES = ("sum", "max", "min")
ELEMENTS = 1 << 22  # of the statistics of single rows that are held at a time


def replicates(metric: Metric, number: int) -> Weighted | Copies:
    """New replicates of a metric, in the least of the ways above that is exact for it; they have its options."""
    slots, cls = metric.slots.values(), type(metric)
    own_verbs = metric.statistic() is None or cls.merge_ranks is not Metric.merge_ranks
    if own_verbs or leaves(metric)[1:] or metric.order_matters or metric.random or not all(map(_is_fixed, slots)):
        return Copies(metric, number)
    if cls.merge is not Metric.merge:
        return Joint(metric, number)
    return (Weighted if all(slot.reduction in MERGES for slot in slots) else Copies)(metric, number)


def looks_for_faults(metric: Metric) -> bool:
    return any(type(leaf).verify is not Metric.verify for leaf in leaves(metric))


def and_once(weights: Tensor) -> Tensor:
    """The weights, and those of a replicate more that takes each row once."""
    return torch.cat([weights, weights.new_ones(1, weights.shape[1])])


def _is_fixed(slot: Slot) -> bool:
    return isinstance(slot.default, Tensor) and not slot.default.is_complex()


# --- the rows of a batch -------------------------------------------------------------------------------------------------


def has_rows(value: Any) -> bool:
    return value.ndim > 0 if isinstance(value, Tensor) else isinstance(value, list | tuple | dict)


def lengths(value: Any) -> set[int]:
    """Of an argument that has rows: of a dictionary's entries, or its own."""
    if isinstance(value, dict):
        return {length for entry in value.values() for length in lengths(entry)}
    return {len(value)} if has_rows(value) else set()


def picked(value: Any, index: Tensor) -> Any:
    """The rows of an argument; one without rows as it is."""
    if isinstance(value, dict):
        return {key: picked(entry, index) for key, entry in value.items()}
    if not has_rows(value):
        return value
    return value[index.to(value.device)] if isinstance(value, Tensor) else type(value)(value[i] for i in index.tolist())


def resampled(weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Call | None]:
    """The arguments of each replicate, rows as often as its weights say; None where it has no row. Waits for the device."""
    rows = torch.arange(weights.shape[1], device=weights.device).repeat(weights.shape[0])
    for index in torch.split(rows.repeat_interleave(weights.reshape(-1)), weights.sum(1).tolist()):
        drawn = [picked(value, index) for value in args], {name: picked(value, index) for name, value in kwargs.items()}
        yield drawn if index.numel() else None


def stacked(values: Sequence[Any]) -> Any:
    """Results of one form as one, along a new first dimension."""
    first = values[0]
    if isinstance(first, dict):
        return {key: stacked([value[key] for value in values]) for key in first}
    if isinstance(first, list | tuple):
        parts = [stacked(each) for each in zip(*values, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    values = [torch.as_tensor(value) for value in values]
    if len({value.shape for value in values}) > 1:
        came = f"the replicates have values of the shapes {sorted({tuple(value.shape) for value in values})[:3]}"
        check.fail("BootStrapper", came, "one shape is needed", "Bootstrap a metric whose value has a fixed shape.")
    return torch.stack(values)


# --- three ways ------------------------------------------------------------------------------------------------------------


class Weighted(Metric):
    """Replicates whose fields are those of the metric with a first dimension more; they merge by the same operations.

    ``update(weights, *args, **kwargs)``: ``weights`` int ``(replicates, N)``, then what the metric takes, of N rows.
    """

    random = True

    def __init__(self, metric: Metric, number: int) -> None:
        super().__init__(**{name: getattr(metric, name) for name in OPTIONS})
        self.higher_is_better = metric.higher_is_better
        self.base_metric, self.number, self.looks = metric, number, looks_for_faults(metric)
        self.__dict__["refuses"] = True  # measure has the metric look at the batch
        for slot in metric.slots.values():
            default = cast(Tensor, slot.default)
            field = default.expand(number + self.looks, *default.shape).clone()
            self.add_state(slot.name, field, slot.reduction, slot.persistent)

    def measured_by(self) -> Any:
        return type(self.base_metric), self.base_metric.measured_by(), self.number

    def keywords(self) -> Collection[str] | None:
        return self.base_metric.keywords()

    def measure(self, weights: Tensor, *args: Any, **kwargs: Any) -> State:
        self.base_metric.measured(args, kwargs)  # its errors are about the batch as it came
        return self.resampled_measure(and_once(weights) if self.looks else weights, args, kwargs)

    def resampled_measure(self, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> State:
        given: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        rows = {name: value for name, value in given.items() if has_rows(value)}
        if not weights.shape[1] or not all(isinstance(value, Tensor) for value in rows.values()):
            return self.one_by_one(weights, args, kwargs)

        numbers: State = {}  # that are the same for each row

        def measure(*row: Tensor) -> dict[str, Tensor]:
            mine = {**given, **dict(zip(rows, row, strict=True))}
            state = self.base_metric.measure(*(mine[i] for i in range(len(args))), **{name: mine[name] for name in kwargs})
            numbers.update((name, field) for name, field in state.items() if not isinstance(field, Tensor))
            return {name: field for name, field in state.items() if name not in numbers}

        total: State | None = None
        size = max(1, ELEMENTS // max(field.numel() for field in self.metric_state.values()) * self.number)
        for start in range(0, weights.shape[1], size):
            some = [value[start : start + size].unsqueeze(1) for value in rows.values()]
            try:
                with self.measuring():
                    each = torch.func.vmap(measure)(*some)
            except RuntimeError:  # code that vmap refuses: it looks at values, or makes shapes of them
                return self.one_by_one(weights, args, kwargs)
            part = self.summed(weights[:, start : start + size], {**each, **numbers})
            total = part if total is None else self.merge(total, part)
        assert total is not None
        return total

    def summed(self, weights: Tensor, rows: State) -> State:
        """The statistic of each replicate from that of each row."""
        out, exact = {}, wide(weights)
        for name, slot in self.slots.items():
            field, default = rows[name], cast(Tensor, slot.default)
            if slot.reduction == "sum" and isinstance(field, int) and field == 0:  # a count of nothing costs nothing
                out[name] = default
                continue
            if not isinstance(field, Tensor):
                field = self.tensor(field).expand(weights.shape[1])
            if slot.reduction == "sum":
                total = product(exact, field.reshape(len(field), default[0].numel())).reshape(default.shape)
                out[name] = total if field.is_floating_point() else total.to(torch.promote_types(field.dtype, default.dtype))
            else:
                drawn = (weights > 0).reshape(*weights.shape, *(1,) * (field.ndim - 1))
                kept = torch.where(drawn, field, default[:, None])
                out[name] = kept.amax(1) if slot.reduction == "max" else kept.amin(1)
        return out

    def one_by_one(self, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> State:
        """The same, measured for each replicate: exact for whatever a metric takes."""
        none = {name: slot.default for name, slot in self.base_metric.slots.items()}
        with self.measuring():
            calls = resampled(weights, args, kwargs)
            states = [none if call is None else self.base_metric.measure(*call[0], **call[1]) for call in calls]
        return self.together(states)

    def measuring(self) -> AbstractContextManager[None]:
        """Inside, the metric measures rows of a batch that it has looked at as a whole, where it may."""
        return check.vetted() if check.reads_values(self.device) else check.deferred()

    def together(self, replicates: Sequence[State]) -> State:
        """As one state; a field whose form follows from the data is in a replicate without any as it was declared."""
        each = {name: [self.tensor(state[name]) for state in replicates] for name in self.slots}
        return {name: torch.stack(torch.broadcast_tensors(*fields)) for name, fields in each.items()}  # type: ignore[no-untyped-call]

    def tensor(self, field: Any) -> Tensor:
        return field if isinstance(field, Tensor) else torch.as_tensor(field, device=self.device)

    def apart(self, state: State) -> Iterator[State]:
        """The state of each replicate."""
        fields = {name: state[name].unbind() for name in self.slots}
        return ({name: field[i] for name, field in fields.items()} for i in range(self.number + self.looks))

    def verify(self, state: State) -> None:
        if self.looks:
            self.base_metric.verify({name: state[name][-1] for name in self.slots})

    def value(self, **state: Tensor) -> Any:
        """Of each replicate."""
        metric = self.base_metric
        values = [metric.value(**metric.derived(replicate)) for replicate in islice(self.apart(state), self.number)]
        return stacked([cast_result(value, torch.float64) for value in values])


class Joint(Weighted):
    """Replicates of a metric whose fields merge jointly: each is measured and merged as the metric does."""

    def resampled_measure(self, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> State:
        return self.one_by_one(weights, args, kwargs)

    def merge(self, a: State, b: State) -> State:
        return self.together([self.base_metric.merge(x, y) for x, y in zip(self.apart(a), self.apart(b), strict=True)])

    def unmerge(self, whole: State, part: State) -> State:
        return self.together([self.base_metric.unmerge(x, y) for x, y in zip(self.apart(whole), self.apart(part), strict=True)])


def product(weights: Tensor, rows: Tensor) -> Tensor:
    """``weights @ rows``, where what weighs nothing adds nothing, be it NaN or infinite."""
    if not rows.is_floating_point() or (check.reads_values(rows.device) and bool(rows.isfinite().all())):
        return weights @ wide(rows)  # exact up to 2**53
    total = weights @ wide(rows).nan_to_num(0.0, 0.0, 0.0)
    for value, found in ((torch.inf, rows == torch.inf), (-torch.inf, rows == -torch.inf), (torch.nan, rows.isnan())):
        total = torch.where(weights @ wide(found) > 0, total + value, total)
    return total


class Copies(Metric, composite=True):
    """Replicates that are metrics; ``update`` as in :class:`Weighted`. They share the weights of a network in them."""

    random = True

    def __init__(self, metric: Metric, number: int) -> None:
        super().__init__(**{name: getattr(metric, name) for name in OPTIONS})
        self.higher_is_better = metric.higher_is_better
        self.number, self.looks = number, looks_for_faults(metric)
        weights = {id(parameter): parameter for parameter in metric.parameters()}
        self.copies = nn.ModuleList(copy.deepcopy(metric, dict(weights)) for _ in range(number + self.looks))
        self.last: list[bool] = []  # which of them had a row of the last batch

    @property
    def metrics(self) -> list[Metric]:
        return cast(list[Metric], list(self.copies))

    def calls(self, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Call | None]:
        return resampled(and_once(weights) if self.looks else weights, args, kwargs)

    def drawn(self, values: Sequence[Any]) -> Any:
        """The values of the replicates as one, without that of the data as they came."""
        return stacked(values[: self.number])

    def keywords(self) -> Collection[str] | None:
        return self.metrics[0].keywords()

    def update(self, weights: Tensor, *args: Any, **kwargs: Any) -> None:
        self._added("update", weights, args, kwargs)

    def forward(self, weights: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.dist_sync_on_step:
            return self.drawn(self._added("forward", weights, args, kwargs))
        values = self._over_ranks(weights, args, kwargs)  # first: where it raises, nothing is added
        self._added("update", weights, args, kwargs)
        return self.drawn(values)

    def _over_ranks(self, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The values of a batch over all processes, in one exchange: which replicates have a row of it differs between ranks."""
        twins = [cleaned(metric) for metric in self.metrics]
        for twin, call in zip(twins, self.calls(weights, args, kwargs), strict=True):
            if call is not None:
                twin.update(*call[0], **call[1])
        batch = {leaf: leaf.snapshot() for twin in twins for leaf in leaves(twin)}
        with held({**batch, **exchanged(batch, on_step=True)}):
            return [twin.compute() for twin in twins]

    def _added(self, verb: str, weights: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        values = []
        with all_or_none([self]):
            self.last = []
            for metric, call in zip(self.metrics, self.calls(weights, args, kwargs), strict=True):
                self.last.append(call is not None)
                if call is not None:
                    values.append(getattr(metric, verb)(*call[0], **call[1]))
                elif verb == "forward":
                    values.append(nothing(metric))
            self._updates += 1
        return values

    def of(self, weights: Tensor, *args: Any, **kwargs: Any) -> Any:
        calls = zip(self.metrics, self.calls(weights, args, kwargs), strict=True)
        return self.drawn([nothing(metric) if call is None else metric.of(*call[0], **call[1]) for metric, call in calls])

    def compute(self) -> Any:
        with synced(metric for metric in self.metrics if not metric.is_computed()):
            return self.drawn([metric.compute() for metric in self.metrics])

    def batch_value(self) -> Any:
        if not self.last:
            return None
        had = zip(self.metrics, self.last, strict=True)
        return self.drawn([metric.batch_value() if rows else nothing(metric) for metric, rows in had])

    def reset(self) -> None:
        super().reset()
        self.last = []

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        its = incoming_state.metrics if isinstance(incoming_state, Copies) else []
        if len(its) != len(self.metrics):
            check.fail(self, f"merge_state got {len(its)} replicates", f"{len(self.metrics)} are needed")
        with all_or_none([self]):
            for mine, other in zip(self.metrics, its, strict=True):
                mine.merge_state(other)
            self._updates += incoming_state.update_count if isinstance(incoming_state, Copies) else 0


def nothing(metric: Metric) -> Any:
    """The value of no data."""
    empty = metric.clone()
    empty.reset()
    for leaf in leaves(empty):
        leaf.sync_on_compute = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return empty.compute()
