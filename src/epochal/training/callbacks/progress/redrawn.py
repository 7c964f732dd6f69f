# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""Redrawn: when a bar is drawn. How, its subclasses say."""

from __future__ import annotations

import sys
import time
from typing import Any

from epochal import check
from epochal.training.callbacks.progress.base import ProgressBar, formatted

TRAIN, SANITY, VALIDATE, TEST, PREDICT = "train", "sanity_check", "validate", "test", "predict"


class Redrawn(ProgressBar):
    """A line for training, and one below for the validation in it, drawn at the end of a batch when the clock says so.

    Where nothing can be drawn twice, in a log file, a line tells of each of the first epochs and then at most one every ten
    seconds, and of the last. Other processes than the first show nothing.
    """

    INTERVAL = 0.1  # seconds between two drawings
    FIRST, APART = 100, 10.0  # epochs with a line of their own; seconds between two lines of later ones

    def __init__(self, leave: bool = False) -> None:
        self.leave = leave
        self._lines: dict[str, Any] = {}  # by stage
        self._here = True  # whether this process draws
        self._done = 0  # batches of the epoch
        self._next = 0.0  # when the next drawing is due
        self._finished = True  # whether the latest epoch has its last drawing or line
        self._epoch, self._started, self._told = 0, 0.0, (0, 0.0)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_lines": {}}

    # --- what subclasses say ---------------------------------------------------------------------------------------------
    # All of it: this class draws nothing by itself, and is not public. ``tqdm_bar.py`` and ``rich_bar.py`` define each.

    def _redraws(self) -> bool:
        """Whether the output is one where something can be drawn again: a terminal, a notebook."""
        raise NotImplementedError

    def _open(self, stage: str) -> Any:
        """A new line, below those that are open."""
        raise NotImplementedError

    def _begin(self, line: Any, name: str, part: str, total: int | None) -> None:
        """Set a line to 0 of so many batches, None where nobody knows; ``part``: which epoch or loader it is."""
        raise NotImplementedError

    def _draw(self, line: Any, done: int, metrics: dict[str, Any] | None) -> None:
        """Set a line to so many batches, and to metrics if there are new ones."""
        raise NotImplementedError

    def _close(self, line: Any, leave: bool) -> None:
        """End a line; ``leave`` it where it is."""
        raise NotImplementedError

    # --- lines -----------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._here = trainer.is_global_zero
        self._told = (0, 0.0)

    @property
    def _shown(self) -> bool:
        return self._on and self._here

    def line(self, stage: str) -> Any:
        """The line of a stage that runs."""
        if stage not in self._lines:
            raise RuntimeError(check.message(type(self).__name__, f"the bar of {stage!r} was asked for", "there is none now"))
        return self._lines[stage]

    def disable(self) -> None:
        super().disable()
        self._close_all()

    def _close_all(self) -> None:
        for stage in reversed(list(self._lines)):
            line = self._lines.pop(stage)
            self._close(line, leave=not self._lines)

    def _is_due(self, batch_idx: int) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.INTERVAL
        return True

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close_all()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._close_all()

    # --- training --------------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._finish_epoch(trainer, pl_module)
        self._done, self._epoch, self._started, self._finished = 0, trainer.current_epoch, time.monotonic(), False
        if self.leave and TRAIN in self._lines:
            self._close(self._lines.pop(TRAIN), leave=True)
        if self._shown and self._redraws():
            total, last = _known(self.total_train_batches), trainer.max_epochs
            part = f"Epoch {self._epoch}" if last in (None, -1) else f"Epoch {self._epoch}/{last - 1}"
            if TRAIN not in self._lines:
                self._lines[TRAIN] = self._open(TRAIN)
            self._begin(self._lines[TRAIN], "", part, total)
        self._next = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._done = batch_idx + 1
        if TRAIN in self._lines and self._is_due(batch_idx):
            self._draw(self._lines[TRAIN], self._done, self.get_metrics(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if TRAIN in self._lines:
            self._draw(self._lines[TRAIN], self._done, self.get_metrics(trainer, pl_module))

    def _finish_epoch(self, trainer: Any, pl_module: Any, is_last: bool = False) -> None:
        """When all of an epoch is over: what its last hooks logged is shown, too."""
        if self._finished:
            return
        if TRAIN in self._lines:
            self._draw(self._lines[TRAIN], self._done, self.get_metrics(trainer, pl_module))
        elif self._shown and not self._redraws():
            lines, when = self._told
            now = time.monotonic()
            if not (is_last or lines < self.FIRST or now - when >= self.APART):
                return
            self._told = lines + 1, now
            values = ", ".join(f"{key}={value}" for key, value in formatted(self.get_metrics(trainer, pl_module)).items())
            print(f"Epoch {self._epoch}: {self._done} batches in {now - self._started:.1f} s  {values}".rstrip(), flush=True)  # noqa: T201
        self._finished = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._finish_epoch(trainer, pl_module, is_last=True)
        self._close_all()

    # --- evaluation ------------------------------------------------------------------------------------------------------

    def _begin_stage(self, stage: str) -> None:
        self.reset_dataloader_idx_tracker()
        if TRAIN in self._lines:
            self._draw(self._lines[TRAIN], self._done, None)  # which stands still for a while

    def _begin_batch(self, stage: str, name: str, batches: list[float], dataloader_idx: int) -> None:
        if not self.has_dataloader_changed(dataloader_idx) or not (self._shown and (self._lines or self._redraws())):
            return
        part = f"DataLoader {dataloader_idx}" if len(batches) > 1 else ""
        if stage not in self._lines:
            self._lines[stage] = self._open(stage)
        self._begin(self._lines[stage], name, part, _known(batches[dataloader_idx]))
        self._next = 0.0

    def _end_batch(self, stage: str, batch_idx: int, batches: list[float]) -> None:
        if stage in self._lines and (batch_idx + 1 == self._current(batches) or self._is_due(batch_idx)):
            self._draw(self._lines[stage], batch_idx + 1, None)

    def _end_stage(self, stage: str) -> None:
        if stage in self._lines:
            self._close(self._lines.pop(stage), leave=stage != SANITY and TRAIN not in self._lines)

    @property
    def _validation(self) -> str:
        return SANITY if self._trainer.sanity_checking else VALIDATE

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin_stage(self._validation)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        text = self.sanity_check_description if trainer.sanity_checking else self.validation_description
        self._begin_batch(self._validation, text, self._val_batches, dataloader_idx)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end_batch(self._validation, batch_idx, self._val_batches)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._end_stage(self._validation)
        if TRAIN in self._lines:
            self._draw(self._lines[TRAIN], self._done, self.get_metrics(trainer, pl_module))

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin_stage(TEST)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._begin_batch(TEST, self.test_description, trainer.num_test_batches, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end_batch(TEST, batch_idx, trainer.num_test_batches)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._end_stage(TEST)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin_stage(PREDICT)

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._begin_batch(PREDICT, self.predict_description, trainer.num_predict_batches, dataloader_idx)

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end_batch(PREDICT, batch_idx, trainer.num_predict_batches)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._end_stage(PREDICT)


def in_terminal() -> bool:
    """Whether what is printed is seen at once, and can be drawn over."""
    return sys.stdout is not None and sys.stdout.isatty()


def _known(total: float) -> int | None:
    return None if total == float("inf") else int(total)
