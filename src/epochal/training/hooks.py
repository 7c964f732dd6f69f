"""The hooks of a run: where logging is possible, what its defaults are there, and who listens.

A :class:`Hook` holds the bound methods of those who overrode it (callbacks first, the module last), looked up once per run: in a
step an empty hook costs one test, and no hook is called through a string.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from epochal import check
from epochal.training.logbook import Book, Scope
from epochal.training.profilers import timed


class Rule(NamedTuple):
    """What ``self.log`` does in a hook: its defaults, and whether only the epoch can be logged there."""

    on_step: bool
    on_epoch: bool
    epoch_only: bool = False


_STEP, _EVALUATION, _EPOCH = Rule(True, False), Rule(False, True), Rule(False, True, epoch_only=True)
_IN_TRAINING_STEP = (
    "training_step training_step_end on_train_batch_start on_train_batch_end on_before_backward backward on_after_backward "
    "on_before_optimizer_step optimizer_step configure_gradient_clipping on_before_zero_grad optimizer_zero_grad"
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(_IN_TRAINING_STEP.split(), _STEP),
    **dict.fromkeys(["on_train_start", "on_train_epoch_start", "on_train_epoch_end", "training_epoch_end"], _EPOCH),
    **{
        name.format(stage): rule
        for stage in ("validation", "test")
        for name, rule in {
            "{}_step": _EVALUATION,
            "{}_step_end": _EVALUATION,
            "on_{}_batch_start": _EVALUATION,
            "on_{}_batch_end": _EVALUATION,
            "on_{}_start": _EPOCH,
            "on_{}_epoch_start": _EPOCH,
            "on_{}_epoch_end": _EPOCH,
            "{}_epoch_end": _EPOCH,
        }.items()
    },
}


LATE = ("on_train_batch_end", "on_validation_end", "on_train_epoch_end")  # for callbacks that monitor: after all else


class Hook:
    """One hook: its name, what a call of it logs into, and the methods to call in order."""

    __slots__ = ("book", "calls", "name", "scope")

    def __init__(self, book: Book, name: str, calls: list[Callable[..., Any]], scope: Scope | None = None) -> None:
        self.book, self.name, self.calls = book, name, calls
        self.scope = scope or Scope(name, "", None)

    def __bool__(self) -> bool:
        return bool(self.calls)

    def __call__(self, *args: Any) -> Any:
        """Call all in order; the module's answer, which is the last, counts."""
        result = None
        self.book.scope = self.scope
        for call in self.calls:
            result = call(*args)
        self.book.scope = None
        return result


@dataclass
class Listeners:
    """Who may listen to the hooks of a run, and the classes whose defaults do nothing."""

    trainer: Any
    module: Any
    callbacks: list[Any]
    module_base: type
    callback_base: type
    book: Book

    def hook(self, name: str, stage: str = "", callbacks: bool = True, module: bool = True) -> Hook:
        """The hook of this name, its log kept under ``stage``: "train", "validate", "test"; none can be kept under ""."""
        calls: list[Callable[..., Any]] = []
        if callbacks:
            calls = self.of_callbacks(name, [c for c in self.callbacks if name not in LATE or not getattr(c, "monitors", False)])
        if module and overridden(self.module, name, self.module_base):
            calls.append(self.of_module(name))
        scope = self.book.open_scope(name, stage, RULES[name]) if stage and name in RULES else None
        return Hook(self.book, name, calls, scope)

    def of_module(self, name: str) -> Callable[..., Any]:
        return timed(self.trainer.profiler, f"[LightningModule]{type(self.module).__name__}", getattr(self.module, name), name)

    def late(self, name: str) -> Hook:
        """The same hook for the callbacks that monitor, which cannot log."""
        return Hook(self.book, name, self.of_callbacks(name, [c for c in self.callbacks if getattr(c, "monitors", False)]))

    def of_callbacks(self, name: str, callbacks: Iterable[Any]) -> list[Callable[..., Any]]:
        profiler = self.trainer.profiler
        return [
            timed(
                profiler,
                f"[Callback]{type(callback).__name__}",
                functools.partial(getattr(callback, name), self.trainer, self.module),
                name,
            )
            for callback in callbacks
            if overridden(callback, name, self.callback_base)
        ]


def overridden(owner: Any, name: str, base: type) -> bool:
    """Whether a class, or an object itself, defines ``name`` anew, over the one of ``base`` that does nothing."""
    mine = getattr(owner, name, None)
    if mine is None:
        return False
    return getattr(mine, "__func__", mine) is not getattr(base, name, None)


GONE = {  # hooks of old that nothing calls, and what does their work
    "on_epoch_start": "on_train_epoch_start",
    "on_epoch_end": "on_train_epoch_end",
    "on_batch_start": "on_train_batch_start",
    "on_batch_end": "on_train_batch_end",
    "on_pretrain_routine_start": "on_fit_start",
    "on_pretrain_routine_end": "on_fit_start",
    "on_keyboard_interrupt": "on_exception",
    "on_init_start": "setup",
    "on_init_end": "setup",
    "tbptt_split_batch": "a loop over the parts in training_step",
    "get_progress_bar_dict": "get_metrics of a progress bar",
}


def warn_of_gone(owners: Iterable[object]) -> None:
    """Say which methods look like hooks and are never called: nothing is silently ignored."""
    for owner in owners:
        for name in GONE:
            if callable(getattr(owner, name, None)):
                came = f"{name} is defined"
                text = check.message(type(owner).__name__, came, "no hook of this name is called", f"Use {GONE[name]}.")
                warnings.warn(text, stacklevel=4)


def takes(function: Callable[..., Any]) -> tuple[int, set[str], bool]:
    """How many positional arguments a hook needs, the names of all, and whether it takes any number."""
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return len([p for p in positional if p.default is p.empty]), names, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def step_call(step: Callable[..., Any], signature: Callable[..., Any], several: bool) -> Callable[[Any, int, int], Any]:
    """A step as ``call(batch, batch_idx, dataloader_idx)``, whichever of these its author wrote down; ``several`` loaders."""
    needed, names, anything = takes(signature)
    if "hiddens" in names:
        fix = "Split the batch in training_step, with automatic_optimization = False."
        check.fail("training_step", "it takes hiddens", "truncated backpropagation is not the loop's work", fix)
    if "dataloader_idx" in names or needed >= 3 or (anything and several):
        return step
    if "batch_idx" in names or needed == 2 or anything:
        return lambda batch, batch_idx, _: step(batch, batch_idx)
    return lambda batch, _, __: step(batch)


def keeping(step_end: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The end of a step, of Lightning 1.x: where it returns nothing, what the step returned stays."""

    def ended(output: Any) -> Any:
        found = step_end(output)
        return output if found is None else found

    return ended


def indexed(call: Callable[..., Any], written: Callable[..., Any] | None = None, now: int | None = None) -> Callable[..., Any]:
    """``call(optimizer_idx, *args)``: the index goes where its author wrote ``optimizer_idx``, as in Lightning 1.x, or nowhere.

    ``written``: what the author wrote, where ``call`` wraps it. ``now``: how many arguments there are today, if there were more.
    Flags of old that follow (``on_tpu``, ...) are False.
    """
    names = list(inspect.signature(written or call).parameters)
    if "optimizer_idx" not in names:
        return lambda _, *args: call(*args[:now])

    def called(index: int, *args: Any) -> Any:
        rest = iter(args)
        return call(*[index if name == "optimizer_idx" else next(rest, False) for name in names])

    return called
