"""Metric: a statistic of the data that merges, and a reading of it.

    measure(*batch) -> State      pure: the statistic of this batch alone
    merge(a, b) -> State          pure: field by field as declared by add_state, unless fields merge jointly
    value(**state) -> result      pure: the formula, its parameters named after the states

Everything else is derived from these three, once, in this file:

    update    state = merge(state, measure(*batch))
    forward   the same, and returns value(**measure(*batch))
    compute   value(**the states of all processes, merged)
    of        value(**measure(*batch)), touching nothing
    reset     state = the identity

No state that anybody else holds is changed in place: a failed update, a snapshot, two metrics that share a statistic and a merged
state that is only looked at cost a reference each. The classic way, a class that overrides ``update`` and ``compute`` and mutates
its states, is kept: the part "The classic way" below gives it the same verbs.

The file is longer than others: the algebra, the classic way and the life around them (devices, copies, checkpoints, processes)
are all that may touch a metric's private fields.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import typing
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, NoReturn, Protocol, TypedDict
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self

from epochal import check, dist, loading
from epochal.integrations.torchmetrics import recognised_as
from epochal.operators import Operators
from epochal.plot import values
from epochal.results import cast, copied, has_double, mapped, mark
from epochal.states import (
    REDUCTIONS,
    Blocks,
    Loaded,
    Reduction,
    Rest,
    Slot,
    Snapshot,
    State,
    combine,
    extent,
    full,
    is_addable,
    is_held_by,
    place,
    real_tensors,
    same_versions,
    separate,
    size,
    version,
)

__all__ = [
    "Metric",
    "MetricOptions",
    "State",
    "all_or_none",
    "cleaned",
    "exchanged",
    "held",
    "keywords",
    "leaves",
    "metric_of",
    "synced",
]


class MetricOptions(TypedDict, total=False):
    """The keyword arguments that every metric takes."""

    compute_on_cpu: bool  # keep list states on the CPU
    dist_sync_on_step: bool  # let ``forward`` return the value over all processes
    process_group: Any  # the processes to merge over; default: all
    dist_sync_fn: Callable[..., Any] | None  # a gather of the user's own
    distributed_available_fn: Callable[[], bool] | None  # whether there is anybody to merge with
    sync_on_compute: bool  # False: ``compute`` reads this process alone
    compute_with_cache: bool  # False: ``compute`` reads the state anew each time
    max_bytes: int | None  # what the lists may hold on this process; an update that would exceed it raises a MemoryError


class Metric(Operators, nn.Module):
    """Base of all metrics; see the module's docstring for the algebra.

    A metric of your own declares its states with :meth:`add_state` and defines :meth:`measure` and :meth:`value`::

        class Mean(Metric):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
                self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

            def measure(self, x):
                return {"total": x.double().sum(), "count": x.numel()}

            def value(self, total, count):
                return total / count
    """

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None
    full_state_update: bool | None = None
    order_matters: ClassVar[bool] = False  # not a homomorphism: a window, the last value
    random: ClassVar[bool] = False
    lasts: ClassVar[bool] = False  # over epochs: the trainer does not begin it anew, logged or not
    uncompiled: str = ""  # why torch.compile cannot take update and forward as they are, where no state is a list
    refuses: bool = True  # whether nothing is left to verify where a look at values is free: measure itself raises an IndexError
    plot_title: str | None = None  # in pictures; None: the name of the class
    plot_legend_name: str | None = None  # what the entries of a vector are: "Class", "Label"
    plot_labels: Sequence[str] | None = None  # their names
    plot_lower_bound: float | None = None
    plot_upper_bound: float | None = None
    _classic: ClassVar[bool] = False
    _version = 2  # of the state's schema; kept by ``state_dict`` in its metadata (a plain module, of any library, has 1)

    compute_on_cpu: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
    sync_on_compute: bool
    compute_with_cache: bool
    max_bytes: int | None
    _slots: dict[str, Slot]
    _device: torch.device
    _dtype: torch.dtype | None
    _double: bool  # whether float64 input was among the data
    _updates: int
    _traced: Tensor  # 0-d: the updates made in compiled code, where a Python int that grows would recompile each step
    _batch: Snapshot | tuple[Any, Any] | None  # the last batch: its statistic, or its arguments where only those are known
    _shown: bool  # whether its value was returned by ``forward``
    _cache: tuple[Any, Any] | None  # the versions of the state that a value was computed from, and the value
    _held: bool  # whether the state is for now another one than the local
    _loaded: Loaded | None  # the part of the state that came from a file, perhaps on other ranks, too
    _token: int | None
    _weighs: bool  # whether a field is a mean, which merges by the numbers of updates
    _joins: bool  # whether a field is a list to concatenate
    _large: tuple[str, ...]  # the fields that are large sums
    _parked: Parked | None  # the local states of this metric and those in it, between ``sync`` and ``unsync``

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        options = {**OPTIONS, **kwargs}
        if len(options) > len(OPTIONS):
            known = [p for p in inspect.signature(type(self)).parameters if p != "kwargs"]
            check.unknown_arguments(self, {k: v for k, v in kwargs.items() if k not in OPTIONS}, {*known, *OPTIONS})
        self.__dict__.update(options)
        self.__dict__.update(
            _slots={},
            _device=check.CPU,
            _dtype=None,
            _double=False,
            _updates=0,
            _traced=ZERO,
            _batch=None,
            _shown=False,
            _cache=None,
            _held=False,
            _loaded=None,
            _token=None,
            _weighs=False,
            _joins=False,
            _large=(),
            _parked=None,
        )

    # --- what a metric defines -------------------------------------------------------------------------------------------

    def measure(self, *args: Any, **kwargs: Any) -> State:
        """The statistic of this batch alone. Pure; reads the configuration, never the state or a value of the data."""
        raise NotImplementedError(check.message(self, "measure is not defined", "a metric defines measure and value"))

    def merge(self, a: State, b: State) -> State:
        """The statistic of both: associative and commutative, with the default state as its identity."""
        return {
            name: slot.pairwise(a[name], b[name])
            if slot.pairwise
            else combine(slot, (a[name], b[name]), (a.get(WEIGHT, 1), b.get(WEIGHT, 1)))
            for name, slot in self._slots.items()
        }

    def merge_ranks(self, states: Sequence[State]) -> State:
        """Merge over processes, in the order of ranks; the same as over time unless a metric says otherwise."""
        if type(self).merge is not Metric.merge:
            return functools.reduce(self.merge, states)
        weights = [state.get(WEIGHT, 1) for state in states]
        return {name: combine(slot, [state[name] for state in states], weights) for name, slot in self._slots.items()}

    def unmerge(self, whole: State, part: State) -> State:
        """What was merged with ``part`` to ``whole``: a loaded state that several processes hold counts on one of them alone.

        Field by field; of a list, ``part`` knows the length. A metric that overrides :meth:`merge` defines it too, or is loaded on
        one process only.
        """
        weights = whole.get(WEIGHT, 1), part.get(WEIGHT, 0)
        try:
            if type(self).merge is not Metric.merge:
                raise LookupError("its merge is its own")
            return {k: separate(slot, whole[k], part[k], weights) for k, slot in self._slots.items() if k in whole}
        except LookupError as field:
            check.fail(
                self,
                f"one file was loaded on several processes and all were updated, and its part cannot be taken out again ({field})",
                "a state that counts once is needed",
                "Load it on one process, reset the others; or define unmerge(whole, part).",
            )

    def derive(self, *_: Any, **state: Any) -> dict[str, Any]:
        """What :meth:`value` reads, where that is more than the fields: quantities that several metrics of a statistic share.

        Depends on the state and on what :meth:`measured_by` names, so that a collection derives it once.
        """
        return state

    def value(self, *_: Any, **state: Any) -> Any:
        """The reading of a statistic, its formula. Pure; parameters are named after the states, or what is derived from them."""
        raise NotImplementedError(check.message(self, "value is not defined", "a metric defines measure and value"))

    def verify(self, state: State) -> None:
        """Raise where the statistic counted bad values (NaN, labels out of range)."""

    def diagnose(self, *args: Any, **kwargs: Any) -> None:
        """Raise a more precise error for a batch that :meth:`verify` refused: here the data may be looked at."""

    def measured_by(self) -> Hashable:
        """The part of the configuration that :meth:`measure` reads: equal means the same statistic. None: never shared."""
        return None

    def keywords(self) -> Collection[str] | None:
        """The names of the arguments that ``update`` takes, in their order; None: it may take any."""
        cls = type(self)
        names: Collection[str] | None = check.arguments(cls.measure if cls.update is Metric.update else cls.update)
        return names

    # --- states ----------------------------------------------------------------------------------------------------------

    def add_state(self, name: str, default: Tensor | list[Any], dist_reduce_fx: Reduction = None, persistent: bool = False) -> None:
        """Declare a field of the state.

        ``default``: the identity of the merge: a tensor, or an empty list for "cat". ``dist_reduce_fx``: "sum", "mean" (weighted by
        the number of updates), "max", "min", "cat", None (stacked by rank) or a function of the stacked tensors. ``persistent``:
        kept by ``state_dict``. Float sums of a metric that defines ``measure`` are kept in float64.
        """
        if not name.isidentifier():
            check.fail(self, f"state name is {name!r}", "a Python identifier is needed")
        if not (isinstance(default, Tensor) or (isinstance(default, list) and not default)):
            check.fail(self, f"default of state {name!r} is {default!r}", "a tensor or an empty list is needed")
        if dist_reduce_fx is not None and not callable(dist_reduce_fx):
            check.choice(self, f"dist_reduce_fx of state {name!r}", dist_reduce_fx, REDUCTIONS)
        if isinstance(default, Tensor):
            default = default.detach()
            if dist_reduce_fx == "cat":
                default = Blocks([default] if default.numel() else [])
            elif dist_reduce_fx in ("sum", "mean") and default.is_floating_point() and not self._classic:
                default = default.double()
            if default is not None and isinstance(default, Tensor):
                self.__dict__["_device"] = default.device
        elif dist_reduce_fx == "cat":
            default = Blocks()
        slot = Slot(name, default, dist_reduce_fx, persistent)
        self._slots[name] = slot
        self.__dict__.update(_weighs=self._weighs or dist_reduce_fx == "mean", _joins=self._joins or dist_reduce_fx == "cat")
        self.__dict__["_large"] = tuple(field for field, slot in self._slots.items() if slot.is_large_sum and not self._classic)
        self._put(name, self._own(slot))

    def _own(self, slot: Slot) -> Any:
        """The identity of a field; a copy of it where the class may change it in place."""
        identity = slot.identity()
        if self._classic and isinstance(identity, Tensor):
            with real_tensors():
                return identity.clone()
        return identity

    def _put(self, name: str, field: Any) -> None:
        object.__setattr__(self, name, field)  # nn.Module would look for parameters, buffers and modules first

    def _state(self) -> State:
        return {name: getattr(self, name) for name in self._slots}

    def _adopt(self, state: State) -> None:
        for name in self._slots:
            object.__setattr__(self, name, state[name])

    @property
    def slots(self) -> Mapping[str, Slot]:
        """What :meth:`add_state` declared, by the name of the field."""
        return self._slots

    @property
    def metric_state(self) -> dict[str, Any]:
        """The fields of the state, by name."""
        return self._state()

    def snapshot(self) -> Snapshot:
        """The state as it is now; later updates do not change it."""
        state = self._state()
        if self._classic:
            with real_tensors():
                state = {k: v.clone() if isinstance(v, Tensor) else copy.copy(v) for k, v in state.items()}
        return Snapshot(state, self.update_count, self._double, self._loaded)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, also one that was merged or came from another process."""
        self._adopt(snapshot.state)
        self.__dict__.update(_updates=snapshot.updates, _traced=ZERO, _double=snapshot.double, _loaded=snapshot.loaded, _batch=None)

    def reset(self) -> None:
        """Back to the identity: as if nothing had been updated. A state that was merged by :meth:`sync` is gone, too."""
        if self._parked is not None:
            self.unsync()
        for slot in self._slots.values():
            object.__setattr__(self, slot.name, self._own(slot))
        for inner in leaves(self)[1:]:  # whose states its update changes, as the twin for one batch has them new
            inner.reset()
        self._updates, self._traced, self._double, self._loaded, self._batch, self._cache = 0, ZERO, False, None, None, None

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge what another metric of the same class, or a state of one, has accumulated into this one."""
        if isinstance(incoming_state, Metric):
            if type(incoming_state) is not type(self) or incoming_state.measured_by() != self.measured_by():
                check.fail(
                    self,
                    f"merge_state got {type(incoming_state).__name__} measured by {incoming_state.measured_by()}",
                    f"{type(self).__name__} measured by {self.measured_by()} is needed",
                    "Merge metrics that were built with the same arguments.",
                )
            other = incoming_state.snapshot()
        else:
            if set(incoming_state) != set(self._slots):
                check.fail(self, f"merge_state got the fields {sorted(incoming_state)}", f"{sorted(self._slots)} are needed")
            other = Snapshot(dict(incoming_state), 1)
        self._accept(other)

    def _accept(self, other: Snapshot) -> None:
        after = self.after(other)
        self.verify(after.state)
        self.take(after, None)

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the state. An update that raises leaves the state as it was."""
        batch = self.measured(args, kwargs).detached()
        self.take(self.after(batch, (self,)), batch)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state, and return the value of this batch alone, measured once."""
        if self._classic:
            return self._classic_forward(args, kwargs)
        measured = self.measured(args, kwargs)
        batch = measured.detached()
        after = self.after(batch, (self,))
        shown = exchanged({self: batch}, on_step=True).get(self, measured) if self.dist_sync_on_step else measured
        value = self.read(self.derived(shown.state), shown.double)
        self.take(after, batch, shown=True)
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """:meth:`forward`, without the ceremony of ``nn.Module`` where no hook asks for it: it costs as much as a small metric."""
        if self._forward_hooks or self._forward_pre_hooks or self._compiled_call_impl is not None:
            return super().__call__(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def of(self, *args: Any, **kwargs: Any) -> Any:
        """The value of these data alone; the state is neither read nor changed."""
        if self._classic:
            batch = self._clean()
            batch.update(*args, **kwargs)
            return batch.compute()
        measured = self.measured(args, kwargs)
        return self._cast(self.value(**self.derived(measured.state)), measured.double)

    def compute(self) -> Any:
        """The value of all data, over all processes. The local state stays as it is.

        In one process it is cached until the state changes in any way. Over several, every call exchanges the states and every
        rank has to make it: a rank cannot know whether the others have new data. Inside ``rank_zero_only`` code and with
        ``sync_on_compute=False``, the value of this process alone: nothing waits.
        """
        return self.computed(Metric.derived)

    def peek(self) -> Any:
        """The value of the state as it is here: not verified, not merged over processes, not kept; so no wait for a device."""
        if self._classic:
            with dist.alone():
                return self.compute()
        return self._cast(self.value(**self.derived(self._state())), self._double)

    def batch_value(self) -> Any:
        """The value of the last updated batch alone, or None if there is none: what a step logs.

        Measured now where only ``update`` ran.
        """
        if isinstance(self._batch, Snapshot):
            return self.read(self.derived(self._batch.state), self._batch.double)
        if self._batch is not None:
            args, kwargs = self._batch
            batch = self._clean()
            batch.update(*args, **kwargs)
            return self._remember(batch.compute())
        return None

    @property
    def _forward_cache(self) -> Any:
        """Where Lightning's ``self.log`` looks for a step's value: what ``forward`` returned for it; None after ``update``."""
        return self.batch_value() if any(leaf._shown for leaf in leaves(self)) else None

    def fields(self, state: State) -> State:
        """The state as :meth:`derive` and :meth:`value` take it: lists to concatenate are one tensor, few counts a table."""
        if not self._joins and not self._large and WEIGHT not in state:
            return state
        return {k: _rows(v) if self._slots[k].reduction == "cat" else full(v) for k, v in state.items() if k != WEIGHT}

    # --- the steps of the verbs: of one metric above, of several at once in sharing.py -------------------------------------

    def statistic(self) -> Hashable:
        """A key of what ``update`` adds: equal for metrics that share their statistic. None where the verbs are the class's own."""
        cls = type(self)
        if self._classic or cls.update is not Metric.update or cls.forward is not Metric.forward:
            return None
        config = self.measured_by()
        own = id(self) if config is None else None
        fields = tuple((name, slot.reduction) for name, slot in self._slots.items())
        return cls.measure, cls.merge, cls.verify, config, own, fields, self._device

    def measured(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Snapshot:
        """The statistic of a batch, checked; its fields keep their graph."""
        try:
            state = self.measure(*args, **kwargs)
        except TypeError:
            check.call(self, self.measure, args, kwargs)
            raise
        except IndexError:
            self.diagnose(*args, **kwargs)
            raise
        if not self.refuses and check.reads_values(self._device):
            try:
                self.verify(state)
            except ValueError:
                self.diagnose(*args, **kwargs)
                raise
        return Snapshot(state, 1, has_double(args, kwargs))

    def after(self, batch: Snapshot, takers: Sequence[Metric] = ()) -> Snapshot:
        """The state with a batch merged in. Pure.

        ``takers``: the metrics that hold this state, all of which will :meth:`take` the next. Large sums that nobody else holds
        are then left to be added to in place, once they are taken.
        """
        rest = self._rest(batch, takers) if self._large and takers and not is_dynamo_compiling() else None
        mine, state = self._state(), {**batch.state, **dict.fromkeys(rest.parts, 0)} if rest else batch.state
        if self.max_bytes is not None:
            self._limit(mine, state)
        if self.compute_on_cpu:
            state = {name: self.placed(name, field) for name, field in state.items()}
        if self._weighs:
            mine, state = {**mine, WEIGHT: self._updates + self._traced}, {**state, WEIGHT: batch.updates}
        updates: Any = (self._traced if is_dynamo_compiling() else self._updates) + batch.updates
        return Snapshot(self.merge(mine, state), updates, self._double or batch.double, rest=rest)

    def _rest(self, batch: Snapshot, takers: Sequence[Metric]) -> Rest | None:
        """What of a batch can be added in place."""
        if type(self).merge is not Metric.merge:
            return None
        for metric in takers:
            metric._cache = None  # which holds the state that it was computed from
        parts = {}
        for name in self._large:
            same = all(getattr(metric, name) is getattr(self, name) for metric in takers)
            if same and is_addable(getattr(self, name), batch.state[name]) and is_held_by(len(takers), self.__dict__, name):
                parts[name] = batch.state[name]
        return Rest(parts, len(takers)) if parts else None

    def take(self, after: Snapshot, batch: Snapshot | None, shown: bool = False) -> None:
        """The one place where new data enter the state; ``batch`` is what :meth:`batch_value` reads, ``shown`` by ``forward``."""
        put = object.__setattr__
        if self._held:
            self._refuse()
        if after.rest is not None:
            after.settle()
        for name in self._slots:
            put(self, name, after.state[name])
        if after.double:
            put(self, "_double", True)
        put(self, "_batch", batch)
        put(self, "_shown", shown)
        if is_dynamo_compiling():
            put(self, "_traced", after.updates)
        else:
            put(self, "_updates", after.updates)

    def _limit(self, *states: State) -> None:
        """Raise where the lists of these states together are larger than ``max_bytes``."""
        lists = [name for name, slot in self._slots.items() if slot.is_list]
        total = sum(size(state[name]) for state in states for name in lists)
        if self.max_bytes is not None and total > self.max_bytes:
            came = f"{', '.join(lists)} would hold {total:,} bytes with this batch"
            fix = "Compute and reset more often, take a metric whose state does not grow, or raise the limit."
            raise MemoryError(check.message(self, came, f"max_bytes is {self.max_bytes:,}", fix))

    def placed(self, name: str, field: Any) -> Any:
        """A field where it belongs: on the metric's device, lists on the CPU if they are to be computed there."""
        return place(field, check.CPU if self.compute_on_cpu and self._slots[name].is_list else self._device)

    def is_like(self, other: Metric) -> bool:
        """Whether both, of one statistic, hold the same fields, or both none yet: then :meth:`after` is the same for both.

        In compiled code, which cannot ask whether a field is as it was declared, only the same fields.
        """
        compiling = is_dynamo_compiling()
        for name, slot in self._slots.items():
            mine, its = getattr(self, name), getattr(other, name)
            if mine is not its and (compiling or not (slot.is_identity(mine) and other._slots[name].is_identity(its))):
                return False
        if self._traced is not other._traced and (compiling or int(self._traced) != int(other._traced)):
            return False
        return self._double == other._double and (compiling or self._updates == other._updates)

    def derived(self, state: State) -> dict[str, Any]:
        """What :meth:`value` reads of a state."""
        return self.derive(**self.fields(state))

    def read(self, derived: Mapping[str, Any], double: bool) -> Any:
        """The value, cast; it remembers its metric."""
        return self._remember(self._cast(self.value(**derived), double))

    def computed(self, derived: Callable[[Metric, State], Mapping[str, Any]]) -> Any:
        """What ``compute`` returns, where somebody else may know already what is derived from the state."""
        return self._computed(lambda metric: metric._cast(metric.value(**derived(metric, metric._state())), metric._double))

    def is_computed(self) -> bool:
        """Whether ``compute`` returns what it returned before: the state has not changed since."""
        return not self._syncs() and self._cached(tuple(self._versions()))

    def _cached(self, key: tuple[Any, ...]) -> bool:
        return self._cache is not None and self.compute_with_cache and same_versions(self._cache[0], key)

    def _computed(self, read: Callable[[Any], Any]) -> Any:
        key, syncs = tuple(self._versions()), self._syncs()
        if not syncs and self._cached(key):  # among processes no rank can know that the others have nothing new
            return self._remember(copied(self._cache and self._cache[1]))
        with synced([self]) if syncs else nullcontext():
            if not self._held and not syncs and not self.update_called:
                warnings.warn(
                    f"{type(self).__name__}: compute was called before update; the value is that of no data.", stacklevel=4
                )
            for leaf in leaves(self):
                leaf.verify(leaf._state())
            own = self._state()
            if self._classic:  # its compute may change what it reads, also in place
                self._adopt(self.snapshot().state)
            try:
                value = read(self)
            finally:
                self._adopt(own)
        if not syncs:
            self._cache = (key, value)
        return self._remember(copied(value))

    def _versions(self) -> Iterator[Any]:
        """What the state is now, by identity and version: changes with any change of it."""
        for leaf in leaves(self):
            yield leaf._held
            yield leaf._dtype
            for name in leaf._slots:
                field = getattr(leaf, name)
                yield list(field) if isinstance(field, list) else field
                if leaf._classic or not isinstance(field, Blocks):  # rows are only added, perhaps by a metric that shares a block
                    yield version(field)

    # --- results ---------------------------------------------------------------------------------------------------------

    def _cast(self, value: Any, double: bool) -> Any:
        """Cast once: float32, or float64 for float64 input, or what ``set_dtype`` says; aliases no state."""
        dtype = self._dtype or (torch.float64 if double else torch.float32)
        return cast(value, dtype)

    def _remember(self, value: Any) -> Any:
        """A value remembers its metric, so that logging the value is logging the metric (:func:`metric_of`)."""
        if is_dynamo_compiling():
            return value
        token = self._token
        if token is None:
            token = self.__dict__["_token"] = _random_id()
            _METRICS[token] = self
        if isinstance(value, Tensor):
            value._epochal = (token,)  # type: ignore[attr-defined]  # mark, without a call
        else:
            mark(value, (token,))
        return value

    # --- processes -------------------------------------------------------------------------------------------------------

    def _syncs(self, on_step: bool = False) -> bool:
        available = self.distributed_available_fn or dist.available
        return bool((self.sync_on_compute or on_step) and not self._held and available() and not dist.is_alone())

    def _refuse(self) -> NoReturn:
        """What is added to a merged state, or in a replica, would be lost with it."""
        if "_is_replica" in self.__dict__:
            fix = "Return what the metric needs, and update it in training_step_end, which gets what all devices returned."
            came = "an update came in a replica of nn.DataParallel (strategy dp)"
            raise RuntimeError(check.message(self, came, "replicas are thrown away after each step", fix))
        raise RuntimeError(check.message(self, "an update came", "the state is merged over processes", "Call unsync() first."))

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> None:
        """Put the state of all processes in the place of the local one, until :meth:`unsync`.

        Nothing happens where there are no others to merge with, inside of ``rank_zero_only`` code, or for ``should_sync=False``.
        """
        available = distributed_available or self.distributed_available_fn or dist.available
        if not should_sync or dist.is_alone() or not available():
            return
        states = {leaf: leaf.snapshot() for leaf in leaves(self)}
        if any(leaf._held for leaf in states):
            raise RuntimeError(check.message(self, "sync was called", "the state is merged already", "Call unsync() first."))
        self._parked = park(exchanged(states, dist_sync_fn, process_group, always=True))

    def unsync(self, should_unsync: bool = True) -> None:
        """Put the local state back."""
        if not should_unsync:
            return
        if self._parked is None:
            raise RuntimeError(check.message(self, "unsync was called", "the state is the local one", "Call sync() first."))
        unpark(self._parked)
        self._parked = None

    @contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> Iterator[None]:
        """The merged state inside, the local one after, also after an exception."""
        self.sync(dist_sync_fn, process_group, should_sync, distributed_available)
        try:
            yield
        finally:
            self.unsync(should_unsync and self._parked is not None)

    # --- the classic way: a class that overrides update and compute -------------------------------------------------------

    def __init_subclass__(cls, composite: bool = False, **kwargs: Any) -> None:
        """``composite``: the state is that of the metrics in it, and the verbs are as the class defines them, all or none."""
        super().__init_subclass__(**kwargs)
        cls.refuses = cls.verify is Metric.verify
        if composite:
            return
        if "update" in cls.__dict__:
            cls.update = _classic_update(cls.__dict__["update"])  # type: ignore[method-assign]
            cls._classic = True
        if "compute" in cls.__dict__:
            cls.compute = _classic_compute(cls.__dict__["compute"])  # type: ignore[method-assign]
            cls._classic = True

    def _classic_forward(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        batch = self._clean()
        batch.update(*args, **kwargs)
        for leaf in leaves(batch):
            leaf.sync_on_compute = self.dist_sync_on_step
        value = batch.compute()  # first: where it raises, nothing is added
        if self.full_state_update is False:
            self._accept(batch.snapshot())
            self._batch = batch._batch
        else:
            self.update(*args, **kwargs)
        self._shown = True
        return self._remember(value)

    def _input_format(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """For ``update`` as documents of old show it: predictions and targets as labels of one shape."""
        from epochal.classification.inferred import as_labels  # which is built on this module

        return as_labels(self, preds, target)

    def _clean(self) -> Self:
        """A twin with the same configuration, the identity for a state, and no thought for other processes."""
        return typing.cast(Self, cleaned(self))

    # --- the life around it ------------------------------------------------------------------------------------------------

    @property
    def update_count(self) -> int:
        """How many batches the state holds."""
        return self._updates + (0 if self._traced is ZERO else int(self._traced))

    @property
    def update_called(self) -> bool:
        """Whether any batch has been added since the last reset."""
        return any(leaf.update_count > 0 for leaf in leaves(self))

    @property
    def device(self) -> torch.device:
        """Where the state is."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of float results; change it with :meth:`set_dtype`."""
        return self._dtype or torch.float32

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """The dtype of float results. States keep theirs: counts and sums stay exact."""
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric._dtype = getattr(torch, dst_type.removeprefix("torch.")) if isinstance(dst_type, str) else dst_type
        return self

    def type(self, dst_type: str | torch.dtype) -> Self:  # noqa: ARG002  # the contract of nn.Module
        """No effect: a state keeps its dtype; see :meth:`set_dtype`."""
        return self

    def half(self) -> Self:
        """No effect: a state keeps its dtype; see :meth:`set_dtype`."""
        return self

    float = double = bfloat16 = half

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow the device of ``fn``, never its dtype: casting would destroy counts. What comes from "meta" is reset."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        try:
            device = fn(torch.empty(0, device=self._device)).device
        except NotImplementedError:  # out of "meta"
            device = fn(torch.empty(0)).device
        if device == self._device:
            return self
        if device.type != "meta":
            for name, slot in self._slots.items():
                self._slots[name] = Slot(name, place(slot.default, device), slot.reduction, slot.persistent)
        state = None if self._device.type == "meta" else self._state()
        self._device, self._batch, self._cache = device, None, None
        if state is None:
            self.reset()
        else:
            self._adopt({name: self.placed(name, field) for name, field in state.items()})
        return self

    def _replicate_for_data_parallel(self) -> Self:
        """What ``nn.DataParallel`` makes for each device at each step: it may be read, and takes no data."""
        replica: Self = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]  # so it is in torch
        replica._held = True
        return replica

    def clone(self) -> Self:
        """An independent copy, state included."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_batch": None, "_cache": None, "_token": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        shared = {id(v): v for v in (self.process_group, self.dist_sync_fn, self.distributed_available_fn)}
        memo.update(shared)  # the memo itself: metrics that hold one state do so in their copies, too
        twin.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        return twin

    def persistent(self, mode: bool = False) -> None:
        """Whether ``state_dict`` holds the states."""
        for leaf in leaves(self):
            for name, slot in leaf._slots.items():
                leaf._slots[name] = Slot(name, slot.default, slot.reduction, mode)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        kept = [name for name, slot in self._slots.items() if slot.persistent]
        for name in kept:
            field = getattr(self, name)
            destination[prefix + name] = list(field) if isinstance(field, list) else field.clone()
        about = getattr(destination, "_metadata", {}).get(prefix[:-1])
        if about is not None and kept:
            fields = {name: self._slots[name].declared for name in kept}
            about.update(updates=self.update_count, double=self._double, fields=fields, snapshot=_random_id())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take the persistent states of a file in the place of the own ones; where it raises, these are as they were.

        A file that every process loads counts once when their states are merged, and what each adds to it counts too.
        """
        with all_or_none([self]):
            return super().load_state_dict(state_dict, strict, assign)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        wanted = {prefix + name: slot for name, slot in self._slots.items() if slot.persistent}
        found = {slot.name: state_dict.pop(key) for key, slot in wanted.items() if key in state_dict}
        super()._load_from_state_dict(  # to which the fields would be unexpected
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        state_dict.update({prefix + name: field for name, field in found.items()})
        missing_keys.extend(key for key, slot in wanted.items() if strict and slot.name not in found)
        if not found:
            return
        try:
            loading.check_schema(self, self._version, local_metadata)
            with real_tensors():
                fields = {k: loading.loadable(self, self._slots[k], v, exact=not self._classic) for k, v in found.items()}
                state = {name: self.placed(name, field) for name, field in fields.items()}
        except ValueError as error:
            error_msgs.append(str(error))
            return
        self._adopt({**self._state(), **state})
        self._updates, self._traced = local_metadata.get("updates", 1), ZERO
        self._double = local_metadata.get("double", False)
        self._batch = self._cache = self._loaded = None
        if "snapshot" in local_metadata:
            part = {name: state.get(name, slot.identity()) for name, slot in self._slots.items()}
            part = {k: extent(v) if self._slots[k].is_list else v.clone() if self._classic else v for k, v in part.items()}
            self._loaded = Loaded(local_metadata["snapshot"], self._updates, part)

    def extra_repr(self) -> str:
        arguments = frozenset(inspect.signature(type(self)).parameters)
        return ", ".join(f"{k}={v}" for k, v in sorted(self.__dict__.items()) if not k.startswith("_") and k in arguments)

    plot = values
    _plot = values  # what the ``plot`` of a class that was written for torchmetrics calls


ZERO = torch.tensor(0)
WEIGHT = "_updates"  # beside the fields of a state: how many updates it holds, the weight of a "mean"
OPTIONS: dict[str, Any] = {
    "compute_on_cpu": False,
    "dist_sync_on_step": False,
    "process_group": None,
    "dist_sync_fn": None,
    "distributed_available_fn": None,
    "sync_on_compute": True,
    "compute_with_cache": True,
    "max_bytes": None,
}
Parked = list[tuple[Metric, dict[str, Any]]]
_METRICS: WeakValueDictionary[int, Metric] = WeakValueDictionary()


class ReadsTensor(Protocol):
    """A metric whose value is a tensor, as far as a function needs it."""

    def of(self, *args: Any, **kwargs: Any) -> Tensor:
        """The value of a batch."""


@functools.lru_cache(maxsize=512, typed=True)
def _fixed(cls: Any, *args: Hashable, **kwargs: Hashable) -> Any:
    return cls(*args, **kwargs)


def fixed(cls: type[Metric], *args: Hashable, **kwargs: Hashable) -> ReadsTensor:
    """A metric for :meth:`Metric.of`, which changes nothing: functions build one for each configuration, not for each call."""
    if is_dynamo_compiling():
        return typing.cast(ReadsTensor, getattr(_Known, _known(cls, *args, **kwargs)))
    return typing.cast(ReadsTensor, _fixed(typing.cast(Any, cls), *args, **kwargs))


class _Known:
    """The metrics that functions in compiled code read, each an attribute: there a module can be found, but not be built."""


@check.constant_result
def _known(cls: Any, *args: Hashable, **kwargs: Hashable) -> str:
    metric = _fixed(cls, *args, **kwargs)
    name = f"_{id(metric)}"  # which it keeps: it is never let go
    setattr(_Known, name, metric)
    return name


def metric_of(value: object) -> tuple[Metric, tuple[Any, ...]] | None:
    """The metric that returned ``value`` from ``forward`` or ``compute``, and the keys that lead to it in a dict or list.

    None for a plain number: what was computed from a value (``v.item()``, ``100 * v``, ``v.detach()``) has lost the link.
    """
    token = getattr(value, "_epochal", None)
    metric = _METRICS.get(token[0]) if token else None
    return None if metric is None or token is None else (metric, token[1:])


def leaves(root: nn.Module) -> list[Metric]:
    """The metrics in ``root``, itself included."""
    if isinstance(root, Metric) and not root._modules:
        return [root]
    return [module for module in root.modules() if isinstance(module, Metric)]


def park(snapshots: Mapping[Metric, Snapshot]) -> Parked:
    """Let these metrics hold these states, and read them as they are; returns their own for :func:`unpark`."""
    names = ("_updates", "_traced", "_double", "_loaded", "_held")
    parked = [(metric, {name: metric.__dict__[name] for name in (*metric._slots, *names)}) for metric in snapshots]
    for metric, snapshot in snapshots.items():
        metric._adopt(snapshot.state)
        facts = {"_updates": snapshot.updates, "_double": snapshot.double, "_loaded": snapshot.loaded}
        metric.__dict__.update(facts, _traced=ZERO, _held=True)
    return parked


def unpark(parked: Parked) -> None:
    """Give the metrics their own states back."""
    for metric, own in parked:
        metric.__dict__.update(own)


def keywords(metrics: Iterable[Metric]) -> Collection[str] | None:
    """The names of the arguments that any of these takes, in their order; None: one of them may take any."""
    taken = [metric.keywords() for metric in metrics]
    return None if any(names is None for names in taken) else dict.fromkeys(name for names in taken for name in names or ())


@contextmanager
def held(snapshots: Mapping[Metric, Snapshot]) -> Iterator[None]:
    """Inside, these metrics hold these states, and ``compute`` reads them as they are; after it, their own again."""
    parked = park(snapshots)
    try:
        yield
    finally:
        unpark(parked)


@contextmanager
def synced(metrics: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, the metrics hold the states of all processes: one exchange for all of them, as :func:`exchanged` says.

    One that does not synchronise (``sync_on_compute=False``) is held as it is.
    """
    states = {leaf: leaf.snapshot() for metric in metrics for leaf in leaves(metric)}
    merged = exchanged(states)
    if not merged:
        yield
        return
    with held({**states, **merged}):
        yield


def exchanged(
    states: Mapping[Metric, Snapshot],
    gather: Callable[..., Any] | None = None,
    group: Any = None,
    *,
    on_step: bool = False,
    always: bool = False,
) -> dict[Metric, Snapshot]:
    """The states of all processes, for those metrics that synchronise: at ``compute``, ``on_step``, or ``always``.

    One exchange for all, and one more for each ``process_group`` or ``dist_sync_fn`` that metrics have of their own, unless
    ``group`` or ``gather`` is given for all. No state is written: where one exchange fails, none has happened.
    """
    ways: dict[Any, list[Metric]] = {}
    for metric in states:
        if always or metric._syncs(on_step):
            way = group or metric.process_group, gather or metric.dist_sync_fn
            ways.setdefault((None if dist.is_world(way[0]) else way[0], way[1]), []).append(metric)
    merged: dict[Metric, Snapshot] = {}
    for way, members in ways.items():
        sent = [(metric, states[metric].dense() if metric._large else states[metric]) for metric in members]
        merged.update(zip(members, dist.exchange(sent, *way), strict=True))
    return merged


@contextmanager
def all_or_none(metrics: Iterable[nn.Module]) -> Iterator[None]:
    """If the block raises, the metrics, and those in them, are as they were before it; in compiled code it is not looked at."""
    if is_dynamo_compiling():
        yield
        return
    kept = []
    for leaf in {id(leaf): leaf for metric in metrics for leaf in leaves(metric)}.values():
        state = leaf._state()
        if leaf._classic:  # it may change its fields in place
            state = {k: (v, copy.copy(v)) if isinstance(v, list) else copied(v) for k, v in state.items()}
        kept.append((leaf, leaf.__dict__.copy(), state))
    try:
        yield
    except BaseException:
        for leaf, own, state in kept:
            for name, field in state.items():
                if isinstance(field, tuple):  # a list: the same object again, with what it held
                    own[name], content = field
                    own[name][:] = content
                else:
                    own[name] = field
            leaf.__dict__.update(own)
        raise


def _classic_update(update: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(update)
    def guarded(self: Metric, *args: Any, **kwargs: Any) -> None:
        if is_dynamo_compiling():
            update(self, *args, **kwargs)
            self._traced = self._traced + 1
            return
        if self._held:
            self._refuse()
        count = self._updates
        try:
            with all_or_none([self]):
                update(self, *args, **kwargs)
                if self.max_bytes is not None:
                    self._limit(self._state())
        except TypeError:
            check.call(self, functools.partial(update, self), args, kwargs)
            raise
        if self.compute_on_cpu:
            self._adopt({name: self.placed(name, field) for name, field in self._state().items()})
        self._updates, self._double = count + 1, self._double or has_double(args, kwargs)
        self._batch, self._shown = (mapped(Tensor.detach, args), mapped(Tensor.detach, kwargs)), False

    return guarded


def _classic_compute(compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compute)
    def computed(self: Metric) -> Any:
        return self._computed(compute)

    return computed


def cleaned(module: nn.Module) -> nn.Module:
    """A twin whose metrics hold nothing and think of no other processes; all else in it is the module's own."""
    if not any(isinstance(inner, Metric) for inner in module.modules()):
        return module
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = {name: child and cleaned(child) for name, child in module._modules.items()}
    if isinstance(twin, Metric):
        twin._held, twin._parked = False, None
        twin.reset()
        twin.sync_on_compute = False
    return twin


def _random_id() -> int:
    return int.from_bytes(os.urandom(7), "little")


def _rows(field: Any) -> Tensor:
    if isinstance(field, Tensor):  # as it was measured, with its graph
        return field if field.ndim else field.reshape(1)
    return (field if isinstance(field, Blocks) else Blocks(field)).joined()


recognised_as(Metric)
