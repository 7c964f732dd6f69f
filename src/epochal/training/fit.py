"""The training loop, to be read from top to bottom.

``Fit.run`` -> ``Fit.epoch`` -> the module's ``training_step``. A step takes the short way (:meth:`Fit.plain_step`) where nobody
listens between the loss and the optimizer and the strategy needs no wrapper, else the way with every hook (:meth:`Fit.full_step`).
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from epochal import check, dist
from epochal.training import data, optimizers
from epochal.training.batches import BatchSizes
from epochal.training.evaluate import Evaluation, data_base, legacy_end
from epochal.training.hooks import Hook, overridden, step_call
from epochal.training.module import LightningModule

if TYPE_CHECKING:
    from epochal.training.trainer import Trainer

BETWEEN = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")  # hooks inside a step
OWN = ("backward", "optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping")  # parts of it that a module may replace


class Fit:
    """One call of ``fit``."""

    def __init__(self, trainer: Trainer, module: LightningModule, loader: Any, source: Any, validation: Evaluation | None) -> None:
        self.trainer, self.module, self.book = trainer, module, trainer.logbook
        self.validation = validation
        self.loader = data.for_training(loader, trainer.share, trainer.use_distributed_sampler)
        self.sizes = BatchSizes.of(self.loader)
        self.move = data.mover(source, data_base(source), trainer.device)
        trainer.num_training_batches = data.limited(data.length(self.loader), trainer.limit_train_batches, "limit_train_batches")
        self.limit: float = trainer.num_training_batches
        if not self.limit and trainer.limit_train_batches != 0:
            _warn("Trainer.fit", "the training loader has no batch", "one at least is needed to train", "Is the data set empty?")
        self.validate_every = self._validation_interval()
        self.among_ranks = trainer.world_size > 1
        self.outputs: list[Any] = []
        self._listen()
        self._choose_step()

    def _listen(self) -> None:
        hook = self.trainer.listeners.hook
        self.on_train_start, self.on_train_end = hook("on_train_start", "train"), hook("on_train_end")
        self.on_epoch_start = hook("on_train_epoch_start", "train")
        calm = [callback for callback in self.trainer.callbacks if not getattr(callback, "monitors", False)]
        watchful = [callback for callback in self.trainer.callbacks if callback not in calm]
        self.on_epoch_end = hook("on_train_epoch_end", "train", callbacks=False)
        self.keeps_outputs = legacy_end(self.trainer.listeners, "training_epoch_end", self.on_epoch_end, lambda: self.outputs)
        self.on_epoch_end.calls[:0] = self.trainer.listeners.of_callbacks("on_train_epoch_end", calm)
        self.after_epoch = Hook(
            self.book, "on_train_epoch_end", self.trainer.listeners.of_callbacks("on_train_epoch_end", watchful)
        )
        self.on_batch_start, self.on_batch_end = hook("on_train_batch_start", "train"), hook("on_train_batch_end", "train")
        self.on_zero_grad, self.on_before_backward, self.on_after_backward, self.on_before_step = (
            hook(name, "train") for name in BETWEEN
        )
        self.scope = hook("training_step", "train", callbacks=False, module=False).scope
        self.step_end = hook("training_step_end", "train", callbacks=False)
        old: Any = getattr(self.module, "training_step_end", None)
        self.step_end.calls = [old] if old is not None else []

    def _choose_step(self) -> None:
        trainer, module = self.trainer, self.module
        self.own = {name: getattr(module, name) for name in OWN if overridden(module, name, LightningModule)}
        self.training_step = step_call(trainer.training_call(), module.training_step, several=False)
        if not module.automatic_optimization:
            if self.among_ranks:  # gradients are exchanged by the wrapper, within which no backward may run
                came = f"automatic_optimization is False on {trainer.world_size} processes"
                fix = "Pass devices=1, or leave the steps to the loop."
                raise NotImplementedError(check.message("Trainer.fit", came, "it is built for one process so far", fix))
            self.step: Callable[[Any, int], Any] = self.manual_step
            return
        found = trainer.optimizers
        if len(found) > 1:
            check.fail(
                "Trainer.fit",
                f"configure_optimizers returned {len(found)} optimizers",
                "automatic optimization takes one",
                "Set self.automatic_optimization = False and step them in training_step.",
            )
        self.optimizer = found[0] if found else None
        self.closure_needed = self.optimizer is not None and optimizers.needs_closure(trainer.raw_optimizers[0])
        listened = any([self.on_zero_grad, self.on_before_backward, self.on_after_backward, self.on_before_step])
        special = listened or self.own or self.closure_needed or trainer.gradient_clip_val is not None
        plain = trainer.is_plain and not special and trainer.accumulate_grad_batches == 1 and found
        self.step = self.plain_step if plain else self.full_step

    def _validation_interval(self) -> float:
        """After how many training batches validation runs."""
        every, total = self.trainer.val_check_interval, self.limit
        if every is None or (isinstance(every, float) and every == 1.0):
            return total
        if isinstance(every, float):
            if math.isinf(total):
                check.fail("Trainer", "val_check_interval is a fraction", "the loader has no length", "Pass a number of batches.")
            return max(1, int(total * every))
        return every

    # --- the loop ----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All epochs."""
        trainer = self.trainer
        self.on_train_start()
        trainer.share_stop()
        while not self._finished() and self.limit:
            self.epoch()
            trainer.current_epoch += 1
            trainer.logbook.epoch = trainer.current_epoch
        self.on_train_end()

    def epoch(self) -> None:
        """All batches of an epoch, with the validations that fall into it."""
        trainer, book, step, move = self.trainer, self.book, self.step, self.move
        on_batch_start, on_batch_end, step_end = self.on_batch_start, self.on_batch_end, self.step_end
        every, accumulate = trainer.log_every_n_steps, trainer.accumulate_grad_batches
        data.set_epoch(self.loader, trainer.current_epoch)
        book.begin_stage("train", fresh=False)
        self.on_epoch_start()
        book.parking.begin_steps()
        self.outputs, self.began = [], (trainer.global_step, trainer.batches_done)
        for batch_idx, batch, is_last in _with_last(self.loader, self.limit):
            trainer.is_last_batch = is_last
            if move is not None:
                batch = move(batch, 0)
            book.begin_batch(batch, batch_idx, self.sizes)
            if on_batch_start and trainer.on_any_rank(on_batch_start(batch, batch_idx) == -1):
                break
            book.scope = self.scope
            outputs = step(batch, batch_idx)
            if step_end and self.step == self.manual_step:
                outputs = step_end(outputs)
            stepped = accumulate == 1 or self.stepping(batch_idx)
            if trainer.has_schedulers:
                self.step_schedulers(stepped, is_last)
            if on_batch_end:
                on_batch_end(outputs, batch, batch_idx)
            if self.keeps_outputs:
                self.outputs.append(_detached(outputs))
            if self.among_ranks:
                self.agree()
            if stepped:
                trainer.batches_done += 1
                if (every and trainer.batches_done % every == 0) or trainer.should_stop or trainer.fast_dev_run:
                    book.step_rows("train")
                book.step += 1
            if self._validation_due(batch_idx, is_last):
                self.validate()
            if trainer.should_stop_now():
                break
        book.scope = None
        self.end_epoch()

    def agree(self) -> None:
        """After a batch among several processes: whether one asked to stop, and the step values that are merged (``sync_dist``)."""
        self.trainer.should_stop, merges = dist.any_rank(self.trainer.should_stop, bool(self.book.unmerged))
        if merges:
            self.book.merge_steps()

    def end_epoch(self) -> None:
        """The two exchanges with the hooks between them, then those who watch the values."""
        trainer, book = self.trainer, self.book
        idle = self.began[0] == trainer.global_step and self.began[1] != trainer.batches_done
        if idle and self.module.automatic_optimization and self.optimizer is not None:
            _warn("training_step", "it returned None for each batch of an epoch", "a loss is needed to train", "Return the loss.")
        book.close_steps("train", fresh=False)
        self.on_epoch_end()
        book.close_hooks("train", trainer.row_step)
        self.after_epoch()
        self.step_plateaus()
        book.end_stage(fresh=False)
        book.tell("save")
        trainer.share_stop()

    def validate(self) -> None:
        """Validation in the midst of training, whose metrics it leaves as they are."""
        assert self.validation is not None
        self.book.parking.end_steps()
        self.trainer.stage = "validate"
        self.validation.run(self.trainer.val_limits)
        self.trainer.stage = "train"
        self.book.parking.begin_steps()
        self.trainer.share_stop()

    # --- one step ------------------------------------------------------------------------------------------------------------

    def plain_step(self, batch: Any, batch_idx: int) -> Any:
        """The short way."""
        outputs = self.training_step(batch, batch_idx, 0)
        if self.step_end:
            outputs = self.step_end(outputs)
        loss = outputs if type(outputs) is Tensor and outputs.requires_grad else self.loss_of(outputs)
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
        """The way with accumulation, clipping, precision, strategies, and every hook."""
        trainer, optimizer = self.trainer, self.optimizer
        stepping = self.stepping(batch_idx)
        outputs: Any = None

        def closure() -> Any:
            nonlocal outputs
            outputs, loss = self._forward_and_backward(batch, batch_idx)
            if loss is not None and optimizer is not None and stepping:
                self._before_step(optimizer)
            return loss

        if optimizer is None or not stepping:
            with trainer.unsynchronised(enabled=not stepping):
                closure()
            return outputs
        if "optimizer_step" in self.own:
            self.own["optimizer_step"](trainer.current_epoch, batch_idx, optimizer, closure)
        elif self.closure_needed:
            optimizer.step(closure)
        elif closure() is not None:
            optimizer.step()
        trainer.global_step += 1
        return outputs

    def manual_step(self, batch: Any, batch_idx: int) -> Any:
        """``training_step`` does it all, and ``global_step`` counts the optimizers' steps."""
        return self.training_step(batch, batch_idx, 0)

    def _forward_and_backward(self, batch: Any, batch_idx: int) -> tuple[Any, Tensor | None]:
        trainer, optimizer, book = self.trainer, self.optimizer, self.book
        book.scope = self.scope
        outputs = self.training_step(batch, batch_idx, 0)
        if self.step_end:
            outputs = self.step_end(outputs)
        loss = self.loss_of(outputs)
        if loss is None:
            return outputs, None
        accumulate = trainer.accumulate_grad_batches
        if accumulate > 1:
            loss = loss / accumulate
        if optimizer is not None and batch_idx % accumulate == 0:
            self.on_zero_grad(optimizer)
            if "optimizer_zero_grad" in self.own:
                self.own["optimizer_zero_grad"](trainer.current_epoch, batch_idx, optimizer)
            else:
                optimizer.zero_grad()
        self.on_before_backward(loss)
        self.own.get("backward", trainer.backward)(loss)
        self.on_after_backward()
        return outputs, loss

    def _before_step(self, optimizer: Any) -> None:
        self.on_before_step(optimizer)
        value, algorithm = self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm
        if "configure_gradient_clipping" in self.own:
            self.own["configure_gradient_clipping"](optimizer, value, algorithm)
        else:
            self.trainer.clip_gradients(optimizer, value, algorithm)

    def stepping(self, batch_idx: int) -> bool:
        """Whether this batch ends in an optimizer step."""
        return (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch

    def loss_of(self, outputs: Any) -> Tensor | None:
        """The loss in what ``training_step`` returned."""
        loss = outputs["loss"] if isinstance(outputs, dict) and "loss" in outputs else outputs
        if loss is None:
            if dist.available():
                check.fail("training_step", "it returned None", "each rank needs a loss, or the others wait", "Return loss * 0.")
            return None
        if not isinstance(loss, Tensor):
            raise TypeError(
                check.message(
                    "training_step", f"it returned a {type(loss).__name__}", "a Tensor, a dict with 'loss' or None is needed"
                )
            )
        if not loss.requires_grad and self.optimizer is not None:
            check.fail(
                "training_step", "the loss has no graph", "it is needed for backward", "Was it detached, or made by .item()?"
            )
        return loss

    # --- schedulers ------------------------------------------------------------------------------------------------------------

    def step_schedulers(self, stepped: bool, is_last: bool) -> None:
        """Those that step with batches, and at the last one those of the epoch."""
        if not self.module.automatic_optimization:
            return
        trainer = self.trainer
        for config in trainer.lr_scheduler_configs:
            by_step = config.interval == "step" and stepped and (trainer.batches_done + 1) % config.frequency == 0
            by_epoch = config.interval == "epoch" and is_last and (trainer.current_epoch + 1) % config.frequency == 0
            if by_step or (by_epoch and not config.reduce_on_plateau):
                self._step_scheduler(config)

    def step_plateaus(self) -> None:
        """Those that wait for the epoch's values."""
        for config in self.trainer.lr_scheduler_configs:
            due = (self.trainer.current_epoch + 1) % config.frequency == 0
            if config.reduce_on_plateau and config.interval == "epoch" and due and self.module.automatic_optimization:
                self._step_scheduler(config)

    def _step_scheduler(self, config: optimizers.SchedulerConfig) -> None:
        value = None
        if config.monitor is not None and config.reduce_on_plateau:
            known = self.trainer.callback_metrics
            if config.monitor not in known:
                text = check.message(
                    "ReduceLROnPlateau",
                    f"it monitors {config.monitor!r}",
                    f"logged so far are {sorted(known)}",
                    "Log it, or rename it.",
                )
                if config.strict:
                    raise ValueError(text)
                warnings.warn(text, RuntimeWarning, stacklevel=2)
                return
            value = known[config.monitor]
        self.module.lr_scheduler_step(config.scheduler, value)

    # --- when --------------------------------------------------------------------------------------------------------------------

    def _validation_due(self, batch_idx: int, is_last: bool) -> bool:
        trainer = self.trainer
        if self.validation is None:
            return False
        per_epoch = trainer.check_val_every_n_epoch
        if per_epoch is None:
            return (self.total_batches_done(batch_idx)) % self.validate_every == 0
        if (trainer.current_epoch + 1) % per_epoch:
            return False
        if self.validate_every >= self.limit or math.isinf(self.validate_every):
            return is_last
        return (batch_idx + 1) % self.validate_every == 0

    def total_batches_done(self, batch_idx: int) -> float:
        """Training batches of all epochs."""
        return self.trainer.current_epoch * (0 if math.isinf(self.limit) else self.limit) + batch_idx + 1

    def _finished(self) -> bool:
        trainer = self.trainer
        by_epochs = trainer.max_epochs not in (None, -1) and trainer.current_epoch >= (trainer.max_epochs or 0)
        by_steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        return by_epochs or by_steps or trainer.should_stop_now()


def _with_last(loader: Any, limit: float) -> Any:
    """Batches with their index and whether they are the last; one is fetched ahead only where nobody knows how many come."""
    if not math.isinf(limit):
        last = int(limit) - 1
        for batch_idx, batch in enumerate(itertools.islice(loader, int(limit))):
            yield batch_idx, batch, batch_idx == last
        return
    iterator = iter(loader)
    ahead = next(iterator, _END)
    batch_idx = 0
    while ahead is not _END:
        batch, ahead = ahead, next(iterator, _END)
        yield batch_idx, batch, ahead is _END
        batch_idx += 1


def _warn(who: str, came: str, needed: str, fix: str) -> None:
    warnings.warn(check.message(who, came, needed, fix), stacklevel=2)


_END = object()


def _detached(outputs: Any) -> Any:
    """What the hooks of old get: without its graph."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {key: _detached(value) for key, value in outputs.items()}
    return outputs
