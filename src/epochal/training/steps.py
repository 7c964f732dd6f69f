"""How a batch trains: chosen once per epoch, called once per batch.

The short way (:meth:`Steps.plain_step`) where nobody listens between the loss and the optimizer and the strategy needs no wrapper,
else the way with every hook (:meth:`Steps.full_step`), once for each optimizer; or :meth:`Steps.manual_step`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric.strategies.dp import DataParallelStrategy
from torch import Tensor

from epochal import check, dist
from epochal.training import optimizers
from epochal.training.hooks import indexed, keeping, overridden, step_call
from epochal.training.module import LightningModule
from epochal.training.profilers import timed

if TYPE_CHECKING:
    from epochal.training.trainer import Trainer

BETWEEN = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")  # hooks inside a step
OWN = {  # parts of it that a module may replace, and how many arguments they have today
    "backward": 1,
    "optimizer_step": 4,
    "optimizer_zero_grad": 3,
    "configure_gradient_clipping": 3,
}


class Steps:
    """The steps of one run."""

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self.trainer, self.module, self.book = trainer, module, trainer.logbook
        self.one_of_many = len(trainer.optimizers) > 1 and module.automatic_optimization
        self.turn = 0  # the optimizer that steps now
        self.before = -1  # the steps before the latest batch, with manual optimization
        self._listen()
        self._read_turns()
        self.long_way: Callable[[Any, int], Any] = self._choose()

    def _listen(self) -> None:
        hook, module = self.trainer.listeners.hook, self.module
        self.on_zero_grad, self.on_before_backward, self.on_after_backward, self.on_before_step = (
            hook(name, "train") for name in BETWEEN
        )
        self.scope = hook("training_step", "train", callbacks=False, module=False).scope
        self.step_end = hook("training_step_end", "train", callbacks=False)
        old: Any = getattr(module, "training_step_end", None)
        self.step_end.calls = [keeping(old)] if old is not None else []
        owned = [name for name in OWN if self.trainer.profiler is not None or self._is_own(name)]
        self.own = {n: self._scoped(self._measured(indexed(getattr(module, n), now=OWN[n]), n), n) for n in owned}
        if overridden(module, "on_before_optimizer_step", LightningModule):
            ours = indexed(module.on_before_optimizer_step)
            self.on_before_step.calls[-1] = lambda optimizer: ours(self.turn, optimizer)

    def _is_own(self, name: str) -> bool:
        """Whether the module has replaced a part of the step, or what that part calls."""
        inner = name == "configure_gradient_clipping" and overridden(self.module, "clip_gradients", LightningModule)
        return inner or overridden(self.module, name, LightningModule)

    def _scoped(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """A part of the step that logs under its own name."""
        book, scope = self.book, self.trainer.listeners.hook(name, "train", callbacks=False, module=False).scope

        def within(*args: Any) -> Any:
            before, book.scope = book.scope, scope
            result = call(*args)
            book.scope = before
            return result

        return within

    def _measured(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        return timed(self.trainer.profiler, f"[LightningModule]{type(self.module).__name__}", call, name)

    def _read_turns(self) -> None:
        """Which optimizers step on which batches: all of them, or each for its ``frequency`` of batches in turn."""
        trainer, written = self.trainer, self.module.training_step
        takes_index = "optimizer_idx" in inspect.signature(written).parameters
        if self.one_of_many and not takes_index:
            check.fail(
                "Trainer.fit",
                f"configure_optimizers returned {len(trainer.optimizers)} optimizers",
                "training_step does not say which of them a loss is for",
                "Take optimizer_idx in training_step, or set self.automatic_optimization = False and step them there.",
            )
        called = self._measured(trainer.training_call(), "training_step")
        self.cycle = [index for index, count in enumerate(trainer.optimizer_frequencies) for _ in range(count)]
        self.everyone = range(max(1, len(trainer.optimizers)))
        if takes_index:
            with_index = indexed(called, written)
            self.training_step: Callable[[Any, int, int], Any] = lambda batch, batch_idx, _: with_index(self.turn, batch, batch_idx)
        else:
            self.training_step = step_call(called, written, several=False)

    def of_epoch(self) -> Callable[[Any, int], Any]:
        """The way of an epoch, as it accumulates."""
        accumulates = self.trainer.accumulate_grad_batches > 1
        if self.cycle and accumulates:
            fix = "Use one of the two."
            check.fail("Trainer", "gradients are to be accumulated", "optimizers of a frequency take turns", fix)
        return self.plain_step if self.is_plain and not accumulates else self.long_way

    def _choose(self) -> Callable[[Any, int], Any]:
        """The way with all that this run needs; ``is_plain``: the short one does it, too."""
        self.is_plain = False
        trainer, module = self.trainer, self.module
        if not module.automatic_optimization:
            _refuse_flags_of_automatic(trainer)
            self._watch_optimizers()
            return self.manual_step
        found = trainer.optimizers
        if not found:
            _warn(
                "configure_optimizers", "it returned no optimizer", "one is needed to train", "Steps run, and nothing is learned."
            )
        self.closure_needed = [optimizers.needs_closure(optimizer) for optimizer in trainer.raw_optimizers]
        if self.one_of_many:
            return self.step_of_each
        self.optimizer = found[0] if found else None
        listened = any([self.on_zero_grad, self.on_before_backward, self.on_after_backward, self.on_before_step])
        special = (
            listened or self.own or any(self.closure_needed) or trainer.gradient_clip_val is not None or trainer.detect_anomaly
        )
        self.is_plain = trainer.is_plain and not special and self.optimizer is not None
        return self.full_step

    def turns(self, batch_idx: int) -> Sequence[int]:
        """The optimizers that a batch trains."""
        return self.cycle[batch_idx % len(self.cycle) :][:1] if self.cycle else self.everyone

    def stepping(self, batch_idx: int) -> bool:
        """Whether this batch ends in an optimizer step."""
        return (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch

    def accumulates(self, batch_idx: int) -> bool:
        """Whether this batch, the latest, has left gradients for a step to come."""
        if not self.module.automatic_optimization:
            return self.before == self.trainer.global_step
        return self.trainer.accumulate_grad_batches > 1 and not self.stepping(batch_idx)

    # --- three ways ------------------------------------------------------------------------------------------------------

    def plain_step(self, batch: Any, batch_idx: int) -> Any:
        """The short way."""
        outputs = self.training_step(batch, batch_idx, 0)
        if self.step_end:
            outputs = self.step_end(outputs)
        loss = outputs if type(outputs) is Tensor and outputs.requires_grad and not outputs.ndim else self.loss_of(outputs)
        if loss is None:
            return None
        optimizer = self.optimizer
        assert optimizer is not None
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # so it is in torch
        optimizer.step()
        self.trainer.global_step += 1
        return outputs

    def full_step(self, batch: Any, batch_idx: int) -> Any:
        """The way with accumulation, clipping, precision, strategies, and every hook, for the optimizer whose turn it is."""
        trainer = self.trainer
        optimizer = trainer.optimizers[self.turn] if trainer.optimizers else None
        stepping = self.stepping(batch_idx)
        outputs: Any = None
        loss: Tensor | None = None

        def closure() -> Any:
            nonlocal outputs, loss
            scope = self.book.scope  # of an optimizer_step of the module's own, which goes on
            outputs, loss = self._forward_and_backward(optimizer, batch, batch_idx)
            if loss is not None and optimizer is not None and stepping:
                self._before_step(optimizer)
            self.book.scope = scope
            return loss

        if optimizer is None or not stepping:
            with trainer.unsynchronised(enabled=not stepping and not self.one_of_many):
                closure()
            return outputs
        if "optimizer_step" in self.own:
            self.own["optimizer_step"](self.turn, trainer.current_epoch, batch_idx, optimizer, closure)
        elif self.closure_needed[self.turn]:
            optimizer.step(closure)
        elif closure() is not None:
            optimizer.step()
        if loss is not None:
            trainer.global_step += 1
        return outputs

    def step_of_each(self, batch: Any, batch_idx: int) -> Any:
        """:meth:`full_step` for several optimizers, with gradients for each one's parameters alone. Returns what all did."""
        outputs = []
        for turn in self.turns(batch_idx):
            self.turn = turn
            with self.module.toggled_optimizer(self.trainer.optimizers[turn]):
                outputs.append(self.full_step(batch, batch_idx))
        return outputs[0] if self.cycle else outputs

    def manual_step(self, batch: Any, batch_idx: int) -> Any:
        """``training_step`` does it all, and ``global_step`` counts the optimizers' steps."""
        self.before = self.trainer.global_step
        outputs = self.training_step(batch, batch_idx, 0)
        return self.step_end(outputs) if self.step_end else outputs

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """``self.manual_backward`` in the midst of a manual step, whose log goes on after it."""
        book, scope = self.book, self.book.scope
        self.on_before_backward(loss)
        if "backward" in self.own:
            self.own["backward"](self.turn, loss)
        else:
            self.trainer.backward(loss, *args, **kwargs)
        self.trainer.average_gradients()
        self.on_after_backward()
        book.scope = scope

    def _watch_optimizers(self) -> None:
        """Steps that the module takes by itself are counted, and announced."""

        def before(optimizer: Any, *_: Any) -> None:
            book, scope = self.book, self.book.scope
            self.on_before_step(optimizer)
            book.scope = scope

        def after(*_: Any) -> None:
            self.trainer.global_step += 1

        for optimizer in self.trainer.raw_optimizers:
            self.trainer.step_handles.append(optimizer.register_step_post_hook(after))
            if self.on_before_step:
                self.trainer.step_handles.append(optimizer.register_step_pre_hook(before))

    # --- the parts of a full step --------------------------------------------------------------------------------------------

    def _forward_and_backward(self, optimizer: Any, batch: Any, batch_idx: int) -> tuple[Any, Tensor | None]:
        trainer, book, own = self.trainer, self.book, self.own
        book.scope = self.scope
        outputs = self.training_step(batch, batch_idx, 0)
        if self.step_end:
            outputs = self.step_end(outputs)
        loss = self.loss_of(outputs)
        if loss is None:
            return outputs, None
        if trainer.detect_anomaly:
            self._refuse_anomaly(loss, batch_idx)
        accumulate = trainer.accumulate_grad_batches
        if accumulate > 1:
            loss = loss / accumulate
        if optimizer is not None and batch_idx % accumulate == 0:
            self.on_zero_grad(optimizer)
            if "optimizer_zero_grad" in own:
                own["optimizer_zero_grad"](self.turn, trainer.current_epoch, batch_idx, optimizer)
            else:
                optimizer.zero_grad()
        self.on_before_backward(loss)
        if "backward" in own:
            own["backward"](self.turn, loss, optimizer)
        elif loss.requires_grad:
            trainer.backward(loss)
        if self.one_of_many:
            trainer.average_gradients()
        self.on_after_backward()
        return outputs, loss

    def _before_step(self, optimizer: Any) -> None:
        self.on_before_step(optimizer)
        value, algorithm = self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm
        if "configure_gradient_clipping" in self.own:
            self.own["configure_gradient_clipping"](self.turn, optimizer, value, algorithm)
        else:
            self.trainer.clip_gradients(optimizer, value, algorithm)

    # --- the loss ----------------------------------------------------------------------------------------------------------

    def loss_of(self, outputs: Any) -> Tensor | None:
        """The loss in what ``training_step`` returned."""
        loss = outputs["loss"] if isinstance(outputs, dict) and "loss" in outputs else outputs
        if loss is None:
            if dist.available():
                check.fail("training_step", "it returned None", "each rank needs a loss, or the others wait", "Return loss * 0.")
            return None
        if not isinstance(loss, Tensor):
            kind = type(loss).__name__
            text = check.message("training_step", f"it returned a {kind}", "a Tensor, a dict with 'loss' or None is needed")
            raise TypeError(text)
        if not loss.requires_grad and self.trainer.optimizers:
            check.fail(
                "training_step", "the loss has no graph", "it is needed for backward", "Was it detached, or made by .item()?"
            )
        if loss.numel() != 1:
            if isinstance(self.trainer.strategy, DataParallelStrategy):  # one of each device
                return loss.mean()
            check.fail("training_step", f"the loss is of shape {tuple(loss.shape)}", "one number is needed", "Return loss.mean().")
        return loss

    def _refuse_anomaly(self, loss: Tensor, batch_idx: int) -> None:
        if not bool(torch.isfinite(loss).all()):
            came = f"the loss is {loss.tolist()} in batch {batch_idx} of epoch {self.trainer.current_epoch}"
            fix = "Look for NaN in the batch and for divisions and logarithms of zero, lower the learning rate, or clip gradients."
            raise ValueError(check.message("training_step", came, "detect_anomaly asks for a finite one", fix))


def _refuse_flags_of_automatic(trainer: Trainer) -> None:
    """Clipping and accumulation are the loop's work, which manual optimization has taken over."""
    for name, off, fix in (
        ("gradient_clip_val", None, "call self.clip_gradients in training_step"),
        ("accumulate_grad_batches", 1, "step the optimizers on every so many batches"),
    ):
        value = getattr(trainer, name)
        if value != off:
            check.fail("Trainer.fit", f"{name} is {value!r}", "optimization is manual", f"Leave {name} out, and {fix}.")


def _warn(who: str, came: str, needed: str, fix: str) -> None:
    warnings.warn(check.message(who, came, needed, fix), stacklevel=2)
