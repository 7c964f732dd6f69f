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
state that is only looked at cost a reference each.

What happens to fields whatever they mean (snapshots, devices, copies, files) is in :mod:`epochal.stateful`. A class that overrides
``update`` and ``compute`` and mutates its states has the same verbs, by :mod:`epochal.classic`.

The file is longer than others: the verbs, their steps and the processes are one class, and what several metrics do at once
(:func:`exchanged`) reads what is private to it.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, NoReturn, TypedDict
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

from epochal import check, classic, dist
from epochal.classic import cleaned
from epochal.fixed import fixed
from epochal.integrations.torchmetrics import recognised_as
from epochal.operators import Operators
from epochal.plot import values
from epochal.results import cast, copied, has_double, mark
from epochal.stateful import Stateful, all_or_none, held, leaves, park, random_id, unpark
from epochal.states import (
    Blocks,
    Rest,
    Snapshot,
    State,
    combine,
    full,
    is_addable,
    is_held_by,
    same_versions,
    separate,
    size,
    version,
)

__all__ = [
    "OPTIONS",
    "WEIGHT",
    "Metric",
    "MetricOptions",
    "State",
    "all_or_none",
    "cleaned",
    "exchanged",
    "fixed",
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


class Metric(Operators, Stateful):
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
    compute_on_cpu: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
    sync_on_compute: bool
    compute_with_cache: bool
    max_bytes: int | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        options = {**OPTIONS, **kwargs}
        for name, value in kwargs.items():
            if isinstance(OPTIONS.get(name), bool):
                check.choice(self, name, value, (True, False))
            elif name in FUNCTIONS and not (value is None or callable(value)):
                raise TypeError(check.message(self, f"{name} is {value!r}", "a function is needed"))
        if len(options) > len(OPTIONS):
            known = [p for p in inspect.signature(type(self)).parameters if p != "kwargs"]
            check.unknown_arguments(self, {k: v for k, v in kwargs.items() if k not in OPTIONS}, {*known, *OPTIONS})
        self.__dict__.update(options)

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

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the state. An update that raises leaves the state as it was."""
        batch = self.measured(args, kwargs).detached()
        self.take(self.after(batch, (self,)), batch)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the state, and return the value of this batch alone, measured once."""
        if self._classic:
            return classic.forward(self, args, kwargs)
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
            batch = classic.cleaned(self)
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
            batch = classic.cleaned(self)
            batch.update(*args, **kwargs)
            return self._remember(batch.compute())
        return None

    @property
    def _forward_cache(self) -> Any:
        """Where Lightning's ``self.log`` looks for a step's value: what ``forward`` returned for it; None after ``update``."""
        return self.batch_value() if any(leaf._shown for leaf in leaves(self)) else None

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
            if not isinstance(incoming_state, Mapping):
                kind = type(incoming_state).__name__
                raise TypeError(
                    check.message(self, f"merge_state got a {kind}", f"a {type(self).__name__} or a state of one is needed")
                )
            if set(incoming_state) != set(self._slots):
                check.fail(self, f"merge_state got the fields {sorted(incoming_state)}", f"{sorted(self._slots)} are needed")
            other = Snapshot(dict(incoming_state), 1)
        self._accept(other)

    def _accept(self, other: Snapshot) -> None:
        after = self.after(other)
        self.verify(after.state)
        self.take(after, None)

    def reset(self) -> None:
        """Back to the identity: as if nothing had been updated. A state that was merged by :meth:`sync` is gone, too."""
        if self._parked is not None:
            self.unsync()
        super().reset()

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
            token = self.__dict__["_token"] = random_id()
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
            cls.update = classic.updates(cls.__dict__["update"])  # type: ignore[method-assign]
            cls._classic = True
        if "compute" in cls.__dict__:
            cls.compute = classic.computes(cls.__dict__["compute"])  # type: ignore[method-assign]
            cls._classic = True

    def _input_format(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """For ``update`` as documents of old show it: predictions and targets as labels of one shape."""
        from epochal.classification.inferred import as_labels  # which is built on this module

        return as_labels(self, preds, target)

    # --- the life around it ------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        arguments = frozenset(inspect.signature(type(self)).parameters)
        return ", ".join(f"{k}={v}" for k, v in sorted(self.__dict__.items()) if not k.startswith("_") and k in arguments)

    plot = values
    _plot = values  # what the ``plot`` of a class that was written for torchmetrics calls


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
FUNCTIONS = ("dist_sync_fn", "distributed_available_fn")  # the options that are called
_METRICS: WeakValueDictionary[int, Metric] = WeakValueDictionary()


def metric_of(value: object) -> tuple[Metric, tuple[Any, ...]] | None:
    """The metric that returned ``value`` from ``forward`` or ``compute``, and the keys that lead to it in a dict or list.

    None for a plain number: what was computed from a value (``v.item()``, ``100 * v``, ``v.detach()``) has lost the link.
    """
    token = getattr(value, "_epochal", None)
    metric = _METRICS.get(token[0]) if token else None
    return None if metric is None or token is None else (metric, token[1:])


def keywords(metrics: Iterable[Metric]) -> Collection[str] | None:
    """The names of the arguments that any of these takes, in their order; None: one of them may take any."""
    taken = [metric.keywords() for metric in metrics]
    return None if any(names is None for names in taken) else dict.fromkeys(name for names in taken for name in names or ())


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


def _rows(field: Any) -> Tensor:
    if isinstance(field, Tensor):  # as it was measured, with its graph
        return field if field.ndim else field.reshape(1)
    return (field if isinstance(field, Blocks) else Blocks(field)).joined()


recognised_as(Metric)
