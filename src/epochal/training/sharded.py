"""Weights and optimizer states in parts on all ranks (fsdp): whole in checkpoints, and all compute together.

All ranks call each function together; what is whole is on the first rank alone. Names are those of the module without any wrapper,
so that a checkpoint's weights load anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning_fabric.strategies.fsdp import FSDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import nn

from epochal import check, dist
from epochal.training import foreign
from epochal.training.log import Deaf, lend

if TYPE_CHECKING:
    from epochal.training.trainer import Trainer

NONE = object()


def is_sharded(strategy: Any) -> bool:
    """Whether each rank has a part of the weights."""
    return isinstance(strategy, FSDPStrategy | ModelParallelStrategy)


def _torch(**options: Any) -> tuple[Any, Any]:
    """What torch has for this, imported where it is needed, and its options for what is whole."""
    from torch.distributed.checkpoint import state_dict

    return state_dict, state_dict.StateDictOptions(full_state_dict=True, **options)


def weights_of(wrapped: nn.Module) -> dict[str, Any]:
    """All weights, on the CPU of the first rank; nothing on the others."""
    torch_has, options = _torch(cpu_offload=True)
    weights: dict[str, Any] = torch_has.get_model_state_dict(wrapped, options=options)
    return weights


def load_weights(wrapped: nn.Module, weights: Mapping[str, Any], strict: bool) -> None:
    """The counterpart of :func:`weights_of`; every rank has read all of them."""
    torch_has, options = _torch(strict=strict)
    torch_has.set_model_state_dict(wrapped, dict(weights), options=options)


def optimizer_state_of(wrapped: nn.Module, optimizer: Any) -> dict[str, Any]:
    """An optimizer's ``state_dict`` by the names of parameters instead of their numbers."""
    torch_has, options = _torch(cpu_offload=True)
    return dict(torch_has.get_optimizer_state_dict(wrapped, optimizer, options=options))


def load_optimizer_state(wrapped: nn.Module, optimizer: Any, state: Mapping[str, Any]) -> None:
    """The counterpart of :func:`optimizer_state_of`, in a run of any strategy."""
    torch_has, options = _torch()
    torch_has.set_optimizer_state_dict(wrapped, optimizer, dict(state), options=options)


def is_by_name(state: Mapping[str, Any]) -> bool:
    """Whether an optimizer's state was written by :func:`optimizer_state_of`."""
    return any(isinstance(name, str) for group in state["param_groups"] for name in group["params"])


def refuse_numbered(state: Mapping[str, Any]) -> None:
    """Which part of a parameter a number means, a rank that has parts cannot know."""
    if not is_by_name(state):
        came = "the checkpoint's optimizers were not those of a sharded run"
        fix = "Load its weights: fit without ckpt_path, after load_from_checkpoint."
        check.fail("Trainer.fit", came, "their states cannot be divided", fix)


def together(trainer: Trainer, batches: Iterable[Any], step: Callable[[Any], Any]) -> Iterator[Any]:
    """A rank's batches of an evaluation; one that has fewer than others takes its last again, as no step computes without it.

    What ``step`` then does is dropped: nothing is logged, and metrics stay as they are.
    """
    batch: Any = NONE
    left = iter(batches)
    while True:
        following = next(left, NONE)
        batch = batch if following is NONE else following
        comes, lacks = dist.any_rank(following is not NONE, batch is NONE)
        if comes and lacks:
            fix = "Take smaller batches, or fewer processes."
            check.fail("Trainer", "a process has no batch of a loader", "weights in parts need one on each", fix)
        if not comes:
            return
        if following is not NONE:
            yield batch
            continue
        with _dropped(trainer):
            step(batch)


@contextmanager
def _dropped(trainer: Trainer) -> Iterator[None]:
    module, book = trainer.lightning_module, trainer.logbook
    assert module is not None
    kept = {name: foreign.snapshot(metric) for name, metric in book.parking.metrics.items()}
    lend(module, Deaf())
    try:
        yield
    finally:
        lend(module, book)
        for name, snapshot in kept.items():
            foreign.restore(book.parking.metrics[name], snapshot)
