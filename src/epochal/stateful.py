"""What holds a state: its fields, and what happens to them in a metric's life: snapshots, devices, copies, files.

:class:`Stateful` is the half of :class:`~epochal.metric.Metric` that does not ask what a state means. The functions below it let
metrics hold other states for a while (:func:`held`), or take back what a block of code did to them (:func:`all_or_none`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self

from epochal import check, loading
from epochal.results import copied
from epochal.states import REDUCTIONS, Blocks, Loaded, Reduction, Slot, Snapshot, State, extent, place, real_tensors

if TYPE_CHECKING:
    from epochal.metric import Metric

__all__ = ["ZERO", "Parked", "Stateful", "all_or_none", "held", "leaves", "park", "random_id", "unpark"]

ZERO = torch.tensor(0)


class Stateful(nn.Module):
    """A module with a state that merges; see the module's docstring."""

    _classic: ClassVar[bool] = False  # whether its verbs change the fields in place
    _version = 2  # of the state's schema; kept by ``state_dict`` in its metadata (a plain module, of any library, has 1)

    compute_on_cpu: bool
    sync_on_compute: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
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

    def __init__(self) -> None:
        super().__init__()
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

    # --- the state ---------------------------------------------------------------------------------------------------------

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

    def placed(self, name: str, field: Any) -> Any:
        """A field where it belongs: on the metric's device, lists on the CPU if they are to be computed there."""
        return place(field, check.CPU if self.compute_on_cpu and self._slots[name].is_list else self._device)

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
        """Back to the identity: as if nothing had been updated."""
        for slot in self._slots.values():
            object.__setattr__(self, slot.name, self._own(slot))
        for inner in leaves(self)[1:]:  # whose states its update changes, as the twin for one batch has them new
            inner.reset()
        self._updates, self._traced, self._double, self._loaded, self._batch, self._cache = 0, ZERO, False, None, None, None

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
            if isinstance(metric, Stateful):
                metric._dtype = getattr(torch, dst_type.removeprefix("torch.")) if isinstance(dst_type, str) else dst_type
        return self

    def type(self, dst_type: str | torch.dtype) -> Self:  # noqa: ARG002  # the contract of nn.Module
        """No effect: a state keeps its dtype; see :meth:`set_dtype`."""
        return self

    def half(self) -> Self:
        """No effect: a state keeps its dtype; see :meth:`set_dtype`."""
        return self

    float = double = bfloat16 = half

    # --- where it is, copies of it, files ------------------------------------------------------------------------------------

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
            about.update(updates=self.update_count, double=self._double, fields=fields, snapshot=random_id())

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


# --- other states for a while --------------------------------------------------------------------------------------------------

Parked = list[tuple["Metric", dict[str, Any]]]


def leaves(root: nn.Module) -> list[Metric]:
    """The metrics in ``root``, itself included."""
    if isinstance(root, Stateful) and not root._modules:
        return [cast("Metric", root)]
    return [cast("Metric", module) for module in root.modules() if isinstance(module, Stateful)]


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


@contextmanager
def held(snapshots: Mapping[Metric, Snapshot]) -> Iterator[None]:
    """Inside, these metrics hold these states, and ``compute`` reads them as they are; after it, their own again."""
    parked = park(snapshots)
    try:
        yield
    finally:
        unpark(parked)


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


def random_id() -> int:
    return int.from_bytes(os.urandom(7), "little")
