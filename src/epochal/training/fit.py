"""The training loop, to be read from top to bottom.

``Fit.run`` -> ``Fit.epoch`` -> a step of ``steps.py`` -> the module's ``training_step``.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from torch import Tensor

from epochal import check
from epochal.training import data, resume
from epochal.training.batches import BatchSizes
from epochal.training.combined import batches_of, members
from epochal.training.evaluate import Evaluation, data_base, legacy_end
from epochal.training.hooks import LATE, overridden
from epochal.training.module import LightningModule
from epochal.training.position import Position
from epochal.training.profilers import timed_batches
from epochal.training.schedules import Schedules
from epochal.training.steps import Steps

if TYPE_CHECKING:
    from epochal.training.trainer import Trainer


class Fit:
    """One call of ``fit``."""

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self.trainer, self.module, self.book = trainer, module, trainer.logbook
        self.validation: Evaluation | None = None
        self.position = Position(trainer.current_epoch, trainer.world_size)
        self.resumed = trainer.resumption.position
        self.among_ranks = trainer.world_size > 1
        self.outputs: list[Any] = []
        self._listen()
        self.steps = trainer.steps = Steps(trainer, module)
        self.schedules = Schedules(trainer, module, self.steps)

    def load(self, anew: bool = False) -> None:
        """The training data: at the beginning, and again every ``reload_dataloaders_every_n_epochs``."""
        trainer = self.trainer
        self.loader = trainer.training_loader(anew)
        self.sizes = BatchSizes.of(self.loader)
        owner = trainer.sources.owner() if trainer.sources is not None else self.module
        self.move = data.mover(owner, data_base(owner), trainer.device)
        self.limit: float = trainer.num_training_batches
        if not self.limit and trainer.limit_train_batches != 0:
            _warn("Trainer.fit", "the training loader has no batch", "one at least is needed to train", "Is the data set empty?")

    def load_validation(self) -> None:
        """The same for the validation data, if there are any."""
        before, self.validation = self.validation, self.trainer.new_validation(self.module)
        if self.validation is not None and before is not None:
            self.validation.batches = before.batches  # their rows go on

    def _listen(self) -> None:
        hook = self.trainer.listeners.hook
        self.on_train_start, self.on_train_end = hook("on_train_start", "train"), hook("on_train_end")
        self.on_epoch_start = hook("on_train_epoch_start", "train")
        self.on_epoch_end = hook("on_train_epoch_end", "train")
        self.keeps_outputs = legacy_end(self.trainer.listeners, "training_epoch_end", self.on_epoch_end, lambda: self.outputs)
        self.after_batch, self.after_validation, self.after_epoch = (self.trainer.listeners.late(name) for name in LATE)
        self.on_batch_start, self.on_batch_end = hook("on_train_batch_start", "train"), hook("on_train_batch_end", "train")

    def _validation_interval(self) -> float:
        """After how many training batches validation runs."""
        every, total = self.trainer.val_check_interval, self.limit
        if not isinstance(every, int | float):
            return math.inf  # the clock decides
        if isinstance(every, float) and every == 1.0:
            return total
        if isinstance(every, float):
            if math.isinf(total):
                check.fail("Trainer", "val_check_interval is a fraction", "the loader has no length", "Pass a number of batches.")
            return max(1, int(total * every))
        if self.trainer.check_val_every_n_epoch is not None and every > total and self.validation is not None:
            came = f"val_check_interval is {every}"
            fix = "Pass check_val_every_n_epoch=None to count over epochs, or limit_val_batches=0 to leave validation out."
            check.fail("Trainer", came, f"an epoch has {int(total)} batches", fix)
        return every

    # --- the loop ----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All epochs."""
        trainer = self.trainer
        checks = trainer.num_sanity_val_steps != 0 and trainer.validates(self.module) and self.resumed is None
        if checks:
            self.sanity_check()
        self.load()
        if not checks:
            self.load_validation()
        self.validated_at, self.overdue = time.monotonic(), False
        self.on_train_start()
        trainer.share_stop()
        trainer.resumption.begin()
        if self.resumed is not None and not self.resumed.broken_off:
            self.resumed = None
        try:
            while not self._finished() and self.limit:
                self.epoch()
                trainer.current_epoch += 1
                trainer.logbook.epoch = trainer.current_epoch
        except Exception:
            if trainer.signals.came and self._awaits_data():  # a signal reached the workers of the loader, too
                trainer.share_stop()
                trainer.interrupt()
            raise
        self.on_train_end()
        trainer.steps = None

    def sanity_check(self) -> None:
        """A few batches of validation, so that its errors come before the training; nothing of it is kept."""
        trainer = self.trainer
        trainer.sanity_checking, self.book.silent, trainer.stage = True, True, "sanity_check"
        trainer.listeners.hook("on_sanity_check_start", module=False)()
        self.load_validation()
        if self.validation is not None:
            self.validation.run(trainer.num_sanity_val_batches)
        trainer.listeners.hook("on_sanity_check_end", module=False)()
        trainer.sanity_checking, self.book.silent, trainer.stage = False, False, "train"

    def epoch(self) -> None:
        """All batches of an epoch, with the validations that fall into it."""
        trainer, book, move, position = self.trainer, self.book, self.move, self.position
        on_batch_start, on_batch_end, scope = self.on_batch_start, self.on_batch_end, self.steps.scope
        if self._reload_due():
            self.load(anew=True)
        self.validate_every = self._validation_interval()
        for loader in members(self.loader):
            data.set_epoch(loader, trainer.current_epoch)
        position.begin(trainer.current_epoch)
        book.begin_stage("train", fresh=False)
        self.on_epoch_start()
        step, accumulate = self.steps.of_epoch(), trainer.accumulate_grad_batches  # which a callback may have changed
        book.parking.begin_steps()
        self.outputs = []
        self.validated = False  # in this epoch
        batches, sizes = self.batches()
        self.began = trainer.global_step, trainer.batches_done
        for batch_idx, batch, is_last in batches:
            trainer.is_last_batch = is_last
            if move is not None:
                batch = move(batch, 0)
            book.begin_batch(batch, batch_idx, sizes)
            if on_batch_start and trainer.on_any_rank(on_batch_start(batch, batch_idx) == -1):
                break
            book.scope = scope
            position.within = "step"
            outputs = step(batch, batch_idx)
            book.scope = None
            stepped = accumulate == 1 or self.steps.stepping(batch_idx)
            if trainer.has_schedulers:
                self.schedules.after_batch(batch_idx, stepped, is_last)
            position.batch, position.within = batch_idx + 1, "end" if stepped else "part"
            if on_batch_end or self.keeps_outputs or self.after_batch:
                outputs = _shown(outputs)
            if on_batch_end:
                on_batch_end(outputs, batch, batch_idx)
            if self.keeps_outputs:
                self.outputs.append(_detached(outputs))
            self.end_batch(batch_idx, is_last, stepped)
            if self.after_batch:
                self.after_batch(outputs, batch, batch_idx)
            if trainer.signals.due:
                trainer.interrupt()
            if trainer.should_stop_now():
                position.whole = is_last
                break
        book.scope = None
        self.end_epoch()

    def batches(self) -> tuple[Iterator[tuple[int, Any, bool]], BatchSizes | None]:
        """The batches of an epoch, with their index and whether they are the last; of one that was broken off, those left."""
        resumed, self.resumed = self.resumed, None
        if resumed is None:
            self.position.order = resume.order_of(members(self.loader))
            return _with_last(self._timed(iter(batches_of(self.loader))), self.limit), self.sizes
        iterator = resumed.again(self.loader, self.limit, self.trainer.share)
        first, is_last = resumed.batch, resumed.batch == self.limit
        self.position.go_on(resumed)
        self.trainer.resumption.take_up_epoch()
        self.trainer.is_last_batch = is_last
        if resumed.within == "validation":
            self.overdue = True  # it was, if it is the time that decides
            self.validate_batch(first - 1, is_last, stepped=True)
        elif resumed.within in ("end", "part"):
            self.end_batch(first - 1, is_last, resumed.within == "end")
        self.position.within = ""
        sizes = BatchSizes.of(self.loader, first) if resumed.left_out else self.sizes
        return _with_last(self._timed(iterator), self.limit, first), sizes

    def _timed(self, iterator: Iterator[Any]) -> Iterator[Any]:
        return iter(timed_batches(self.trainer.profiler, "train_next", iterator))

    def end_batch(self, batch_idx: int, is_last: bool, stepped: bool) -> None:
        """After the hooks of a batch: its rows, and a validation that is due."""
        trainer, book, every = self.trainer, self.book, self.trainer.log_every_n_steps
        self.overdue = trainer.validate_after is not None and self._since_validation() >= trainer.validate_after
        if self.among_ranks:
            self.agree()
        if stepped:
            trainer.batches_done += 1
            if (every and trainer.batches_done % every == 0) or trainer.should_stop or trainer.fast_dev_run:
                book.step_rows("train")
            book.step += 1
        if self.validation is not None or trainer.has_schedulers:
            self.validate_batch(batch_idx, is_last, stepped)
        self.position.within = ""

    def validate_batch(self, batch_idx: int, is_last: bool, stepped: bool) -> None:
        """A validation that is due, and who waits for its values."""
        due = self._validation_due(batch_idx, is_last)
        if due:
            assert self.validation is not None
            self.position.begin_validation(self.validation.batches, self.book.history.latest)
            self.validate()
        if stepped and self.trainer.has_schedulers:
            self.schedules.plateaus_of_batch(batch_idx)
        self.position.within = ""
        if due:
            self.after_validation()

    def agree(self) -> None:
        """After a batch among several processes: whether one is to stop or time is up, and what ``sync_dist`` merges."""
        merges, self.overdue = self.trainer.share_facts(bool(self.book.unmerged), self.overdue)
        if merges:
            self.book.merge_steps()

    def end_epoch(self) -> None:
        """The two exchanges with the hooks between them, then those who watch the values."""
        trainer, book = self.trainer, self.book
        idle = self.began[0] == trainer.global_step and self.began[1] != trainer.batches_done
        if idle and self.module.automatic_optimization and trainer.optimizers:
            _warn("training_step", "it returned None for each batch of an epoch", "a loss is needed to train", "Return the loss.")
        book.close_steps("train", fresh=False)
        self.on_epoch_end()
        book.close_hooks("train", trainer.row_step)
        self.schedules.plateaus_of_epoch()
        book.end_stage(fresh=False)
        book.tell("save")
        self.position.end()
        self.after_epoch()
        trainer.share_stop()
        if trainer.signals.due:
            trainer.interrupt()

    def validate(self) -> None:
        """Validation in the midst of training, whose metrics it leaves as they are."""
        self.book.parking.end_steps()
        self.trainer.stage = "validate"
        if overridden(self.module, "on_validation_model_zero_grad", LightningModule):
            self.module.on_validation_model_zero_grad()
        if self._reload_due() and not self.validated:
            self.load_validation()
        self.validated = True
        assert self.validation is not None
        self.validation.run(self.trainer.val_limits)
        self.validated_at = time.monotonic()
        self.trainer.stage = "train"
        self.book.parking.begin_steps()
        self.trainer.share_stop()

    def _awaits_data(self) -> bool:
        """Whether all that was begun is whole: of an evaluation other processes may be at the end already."""
        within = self.position.within
        return not within or (within == "validation" and not self.among_ranks)

    def accumulates(self) -> bool:
        """Whether the latest batch has left gradients for a step to come."""
        done = self.position.batch
        return bool(done) and not self.position.ended and self.steps.accumulates(done - 1)

    # --- when --------------------------------------------------------------------------------------------------------------------

    def _reload_due(self) -> bool:
        every, epoch = self.trainer.reload_dataloaders_every_n_epochs, self.trainer.current_epoch
        return bool(every) and epoch > 0 and epoch % every == 0

    def _since_validation(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.validated_at)

    def _validation_due(self, batch_idx: int, is_last: bool) -> bool:
        trainer = self.trainer
        if self.validation is None:
            return False
        per_epoch = trainer.check_val_every_n_epoch
        if trainer.validate_after is not None:
            return self.overdue and not (per_epoch and (trainer.current_epoch + 1) % per_epoch)
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


def _with_last(iterator: Iterator[Any], limit: float, first: int = 0) -> Iterator[tuple[int, Any, bool]]:
    """Batches with their index and whether they are the last; one is fetched ahead only where nobody knows how many come."""
    if not math.isinf(limit):
        last = int(limit) - 1
        for batch_idx, batch in enumerate(itertools.islice(iterator, int(limit) - first), first):
            yield batch_idx, batch, batch_idx == last
        return
    ahead = next(iterator, _END)
    batch_idx = first
    while ahead is not _END:
        batch, ahead = ahead, next(iterator, _END)
        yield batch_idx, batch, ahead is _END
        batch_idx += 1


def _warn(who: str, came: str, needed: str, fix: str) -> None:
    warnings.warn(check.message(who, came, needed, fix), stacklevel=2)


_END = object()


def _shown(outputs: Any) -> Any:
    """What ``training_step`` returned, as hooks get it: a dictionary, its loss without a graph."""
    if isinstance(outputs, Tensor):
        return {"loss": outputs.detach()}
    if isinstance(outputs, list):  # of several optimizers
        return [_shown(each) for each in outputs]
    if isinstance(outputs, dict) and isinstance(outputs.get("loss"), Tensor):
        return {**outputs, "loss": outputs["loss"].detach()}
    return {} if outputs is None else outputs


def _detached(outputs: Any) -> Any:
    """What the hooks of old get: without its graph."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {key: _detached(value) for key, value in outputs.items()}
    return outputs
