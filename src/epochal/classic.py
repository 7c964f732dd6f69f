"""The classic way: a class that overrides ``update`` and ``compute`` and mutates its states gets the same verbs as others.

Its ``update`` may fail midway, so the state is copied before; its ``forward`` runs it on a clean twin, for the batch's value, and
on the metric itself, or merges what the twin holds where ``full_state_update = False`` says that this is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

from epochal import check
from epochal.results import has_double, mapped
from epochal.stateful import Stateful, all_or_none, leaves

if TYPE_CHECKING:
    from epochal.metric import Metric

Module = TypeVar("Module", bound=nn.Module)


def updates(update: Callable[..., None]) -> Callable[..., None]:
    """A class's own ``update``, all of it or nothing, counted."""

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


def computes(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A class's own ``compute``, over all processes, verified and kept."""

    @functools.wraps(compute)
    def computed(self: Metric) -> Any:
        return self._computed(compute)

    return computed


def cleaned(module: Module) -> Module:
    """A twin whose metrics hold nothing and think of no other processes; all else in it is the module's own."""
    if not any(isinstance(inner, Stateful) for inner in module.modules()):
        return module
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = {name: child and cleaned(child) for name, child in module._modules.items()}
    if isinstance(twin, Stateful):
        twin._held, twin._parked = False, None
        twin.reset()
        twin.sync_on_compute = False
    return twin


def forward(self: Metric, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The value of a batch, which is added; where either raises, nothing is."""
    batch = cleaned(self)
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
