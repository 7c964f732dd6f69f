# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""TQDMProgressBar: redrawn by the clock, not by the batch."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm.auto import tqdm as auto_tqdm
from tqdm.std import tqdm as plain_tqdm

from epochal.training.callbacks.progress.base import ProgressBar


class TQDMProgressBar(ProgressBar):
    """A tqdm bar per epoch, one below for validation; a line per epoch where the output is no terminal."""

    INTERVAL = 0.1  # seconds between two drawings

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:
        self.refresh_rate, self.process_position, self.leave = refresh_rate, process_position, leave
        self._bar: Any = None
        self._inner: Any = None
        self._next = 0.0
        self._on = refresh_rate > 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_bar": None, "_inner": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._terminal = sys.stdout.isatty()
        self._shown = self._on and trainer.is_global_zero

    def _open(self, description: str, total: float, position: int, leave: bool) -> Any:
        if not (self._shown and self._terminal):
            return None
        whole = None if total == float("inf") else int(total)
        where = self.process_position + position
        return auto_tqdm(total=whole, desc=description, position=where, leave=leave, file=sys.stdout, dynamic_ncols=True)

    def _draw(self, bar: Any, done: int, metrics: dict[str, Any] | None = None) -> None:
        if bar is None:
            return
        bar.n = done
        if metrics is not None:
            bar.set_postfix(_formatted(metrics), refresh=False)
        bar.refresh()

    # --- training --------------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._done, self._started = 0, time.monotonic()
        if self._bar is not None:
            self._bar.close()
        self._bar = self._open(f"Epoch {trainer.current_epoch}", trainer.num_training_batches, 0, self.leave)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._done = batch_idx + 1
        if self._bar is None:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.INTERVAL
        self._draw(self._bar, self._done, self.get_metrics(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        metrics = self.get_metrics(trainer, pl_module)
        self._draw(self._bar, self._done, metrics)
        if self._shown and not self._terminal:
            seconds = time.monotonic() - self._started
            values = ", ".join(f"{key}={value}" for key, value in _formatted(metrics).items())
            print(f"Epoch {trainer.current_epoch}: {self._done} batches in {seconds:.1f} s  {values}", flush=True)  # noqa: T201

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._bar is not None:
            self._bar.leave = True  # the last epoch's stays
            self._bar.close()
            self._bar = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        for bar in (self._inner, self._bar):
            if bar is not None:
                bar.close()

    # --- evaluation ------------------------------------------------------------------------------------------------------

    def _begin(self, description: str) -> None:
        self._inner = self._open(description, float("inf"), 0 if self._bar is None else 1, False)
        self._next_inner = 0.0

    def _batch(self, batch_idx: int) -> None:
        if self._inner is None:
            return
        now = time.monotonic()
        if now >= self._next_inner:
            self._next_inner = now + self.INTERVAL
            self._draw(self._inner, batch_idx + 1)

    def _finish(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("Sanity Checking" if trainer.sanity_checking else "Validation")

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(batch_idx)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._finish()
        if self._bar is not None:
            self._draw(self._bar, self._done, self.get_metrics(trainer, pl_module))

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("Testing")

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(batch_idx)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._finish()

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("Predicting")

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batch(batch_idx)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._finish()

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        if self._bar is None and self._inner is None:
            print(*args, sep=sep, **kwargs)  # noqa: T201  # it is asked for
            return
        plain_tqdm.write(sep.join(map(str, args)), **kwargs)


def _formatted(metrics: dict[str, Any]) -> dict[str, str]:
    return {key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in metrics.items()}


Tqdm = TQDMProgressBar  # its name of old
