"""``self.log``: what a module, the modules in it and a loop of one's own have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from typing_extensions import Self

from epochal import check
from epochal.training import foreign
from epochal.training.callers import method_of

if TYPE_CHECKING:
    from epochal.training.logbook import Book


class Logging:
    """``log`` and ``log_dict``, into the book of the run."""

    if TYPE_CHECKING:  # torch.jit reads what stands in the class
        _logbook: Book | Deaf | None

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[..., Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool | None = None,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log a number, a metric, or what a metric returned, under a key.

        The epoch's value of a key is computed from all of the epoch's data, on all ranks, by the metric that the key belongs to; a
        plain number is reduced by ``reduce_fx``, a mean weighted by ``batch_size``. ``on_step`` and ``on_epoch`` default by hook
        (docs/logging.md); both give ``{name}_step`` and ``{name}_epoch``. ``sync_dist`` is for plain numbers: None merges epoch
        values over ranks, True those of training steps as well (an exchange for each step that logs one), False neither.
        ``sync_dist_group``: all ranks, or an error. ``rank_zero_only``: the key exists on rank 0 alone. ``enable_graph`` has no
        effect: what is logged is detached.
        """
        book: Book | None = self.__dict__.get("_logbook")
        if book is None:
            self._warn_unattached()
            return
        book.record(
            name,
            value,
            (
                prog_bar,
                logger,
                on_step,
                on_epoch,
                reduce_fx,
                enable_graph,
                sync_dist,
                sync_dist_group,
                add_dataloader_idx,
                metric_attribute,
                rank_zero_only,
            ),
            batch_size,
        )

    def log_dict(
        self,
        dictionary: Mapping[str, Any],
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[..., Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool | None = None,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """:meth:`log` for each key of a dictionary or a MetricCollection."""
        book: Book | None = self.__dict__.get("_logbook")
        if book is None:
            self._warn_unattached()
            return
        if not hasattr(dictionary, "items"):
            raise TypeError(
                check.message("self.log_dict", f"value is a {type(dictionary).__name__}", "a dict or a MetricCollection is needed")
            )
        book.record_all(
            dictionary,
            (
                prog_bar,
                logger,
                on_step,
                on_epoch,
                reduce_fx,
                enable_graph,
                sync_dist,
                sync_dist_group,
                add_dataloader_idx,
                None,
                rank_zero_only,
            ),
            batch_size,
        )

    def _warn_unattached(self) -> None:
        if method_of(self) == "__init__":
            name = f"{self._speaker()}.__init__"
            raise RuntimeError(check.message(name, "self.log was called in it", "values belong to a run", "Log in a step hook."))
        if not self.__dict__.get("_warned"):
            self.__dict__["_warned"] = True
            warnings.warn(f"{self._speaker()}: self.log was called without a Trainer; nothing is logged.", stacklevel=3)

    def _speaker(self) -> str:
        return type(self).__name__


class Borrowed(Logging):
    """``log`` and ``log_dict`` for a module that has none: they are its own while a run lasts, and never copied with it."""

    def __init__(self, book: Any = None, owner: str = "a copy of a module") -> None:
        self._logbook, self._owner = book, owner

    def _speaker(self) -> str:
        return self._owner

    def __deepcopy__(self, _: Any) -> Self:
        return type(self)(owner=self._owner)

    def __reduce__(self) -> Any:
        return type(self), (None, self._owner)


class OfReplica:
    """The logbook of a module's replica: each would log its part of the batch as if it were all."""

    def record(self, name: str, *_: Any) -> None:
        fix = "Return what is to be logged, and log it in training_step_end, which gets what all devices returned."
        came = "it was called in a replica of nn.DataParallel (strategy dp)"
        raise RuntimeError(check.message(f"self.log({name!r})", came, "replicas know a part of the batch", fix))

    def record_all(self, dictionary: Mapping[str, Any], *_: Any) -> None:
        self.record(next(iter(dictionary), ""))


class Deaf:
    """The logbook of a step whose results nobody wants."""

    def record(self, *_: Any) -> None: ...
    def record_all(self, *_: Any) -> None: ...


VERBS = ("log", "log_dict")


def lend(root: nn.Module, book: Book | Deaf | None) -> None:
    """Let each module in ``root`` log into ``book``, also one of a class that has no ``log``."""
    for module in root.modules():
        if isinstance(module, Logging):
            module.__dict__["_logbook"] = book
        elif book is not None and _may_borrow(module):
            lent = Borrowed(book, type(module).__name__)
            module.__dict__.update(log=lent.log, log_dict=lent.log_dict, _replicate_for_data_parallel=partial(_replica, module))


def take_back(root: nn.Module) -> None:
    """The run is over: what was borrowed is gone, so that a module is saved as it came."""
    for module in root.modules():
        for verb in VERBS:
            if _is_borrowed(module.__dict__.get(verb)):
                del module.__dict__[verb]
                module.__dict__.pop("_replicate_for_data_parallel", None)


def _replica(module: nn.Module) -> nn.Module:
    """What torch makes of a module for another device; it borrows nothing."""
    of_class: Any = type(module)._replicate_for_data_parallel  # noqa: SLF001  # which torch calls for each device
    replica: nn.Module = of_class(module)
    lent = Borrowed(OfReplica(), type(module).__name__)
    replica.__dict__.update(log=lent.log, log_dict=lent.log_dict)
    return replica


def _is_borrowed(method: Any) -> bool:
    return isinstance(getattr(method, "__self__", None), Borrowed)


def _may_borrow(module: nn.Module) -> bool:
    """Whether it is a user's: a class of torch never logs, a metric is what is logged, and a name of the user's own stays."""
    if type(module).__module__.startswith("torch.") or isinstance(module, torch.jit.ScriptModule | nn.ModuleDict):
        return False
    found = [getattr(module, verb, None) for verb in VERBS]
    return all(own is None or _is_borrowed(own) for own in found) and not foreign.is_metric(module)
