"""The callbacks of a Trainer: those that came, those that its flags stand for, and those that the module brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epochal import check
from epochal.training import settings
from epochal.training.callbacks import progress
from epochal.training.callbacks.callback import Callback
from epochal.training.callbacks.model_checkpoint import ModelCheckpoint
from epochal.training.callbacks.model_summary import ModelSummary
from epochal.training.callbacks.progress.base import ProgressBar
from epochal.training.callbacks.progress.redrawn import in_terminal
from epochal.training.callbacks.timer import Timer
from epochal.training.hooks import overridden


def of_flags(flags: Mapping[str, Any]) -> list[Any]:
    """In the order of their list, checkpoints last."""
    chosen = settings.several("callbacks", flags["callbacks"], "on_train_start")
    bars = _of(ProgressBar, chosen)
    if len(bars) > 1 or (bars and flags["enable_progress_bar"] is False):
        came = f"{len(bars)} progress bars came"
        came += " with enable_progress_bar=False" if flags["enable_progress_bar"] is False else ""
        check.fail("Trainer", came, "one at most can be shown")
    if not bars and flags["enable_progress_bar"] is not False:
        chosen.append(progress.RichProgressBar() if in_terminal() else progress.TQDMProgressBar())
    if not _of(ModelSummary, chosen) and flags["enable_model_summary"] is not False:
        chosen.append(ModelSummary())
    if flags["max_time"] is not None:
        if _of(Timer, chosen):
            fix = "Leave max_time out, and pass Timer(duration=max_time)."
            check.fail("Trainer", "a Timer came with max_time", "one of them says when to stop", fix)
        chosen.append(Timer(settings.duration_of("max_time", flags["max_time"])))
    checkpoints = _of(ModelCheckpoint, chosen)
    if checkpoints and flags["enable_checkpointing"] is False:
        check.fail("Trainer", "a ModelCheckpoint came with enable_checkpointing=False", "one of them is to be left out")
    if not checkpoints and flags["enable_checkpointing"] is not False and not flags["fast_dev_run"]:
        chosen.append(ModelCheckpoint())
    return in_order(chosen)


def with_those_of(module: Any, callbacks: list[Any]) -> list[Any]:
    """What ``configure_callbacks`` returns takes the place of callbacks of its class."""
    more = module.configure_callbacks() or []
    more = list(more) if isinstance(more, list | tuple) else [more]
    kinds = {type(callback) for callback in more}
    return in_order([*(callback for callback in callbacks if type(callback) not in kinds), *more])


def in_order(callbacks: list[Any]) -> list[Any]:
    """Checkpoints last, so that they hold what the others know by then; no two under one key."""
    found: dict[str, Any] = {}
    for callback in callbacks:
        key = getattr(callback, "state_key", None)
        if key is None or not overridden(callback, "state_dict", Callback):
            continue
        if key in found:
            fix = "Leave one out, or give its class a state_key that tells them apart."
            check.fail("Trainer", f"two callbacks have the state_key {key!r}", "a checkpoint keeps one state under a key", fix)
        found[key] = callback
    return sorted(callbacks, key=lambda callback: isinstance(callback, ModelCheckpoint))


def _of(kind: type, callbacks: list[Any]) -> list[Any]:
    return [callback for callback in callbacks if isinstance(callback, kind)]
