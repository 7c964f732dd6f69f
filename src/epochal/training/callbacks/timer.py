# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""Timer: how long the parts of a run take, and an end when its time is up."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from epochal import check
from epochal.training.callbacks.callback import Callback
from epochal.training.settings import duration_of

STAGES = ("train", "sanity_check", "validate", "test", "predict")


class Timer(Callback):
    """Measures training, validation and tests, and ends a run ``duration`` after its training began.

    ``duration``: "DD:HH:MM:SS", a timedelta, or a dict of its arguments; None only measures. ``interval``: the run can end after
    each "step" or "epoch". Validation in between is part of the training. A run that goes on from a checkpoint has what is left of
    its time. On several processes it ends when the time of one is up. ``Trainer(max_time=...)`` is ``Timer(duration=...)``.
    """

    def __init__(
        self, duration: str | timedelta | dict[str, int] | None = None, interval: str = "step", verbose: bool = True
    ) -> None:
        interval = str(getattr(interval, "value", interval))
        check.choice(self, "interval", interval, ("step", "epoch"))
        found = duration_of("duration", duration, "Timer")
        self.duration = None if found is None else found.total_seconds()
        self.interval, self.verbose = interval, verbose
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._before = 0.0  # seconds of training until the checkpoint

    # --- what users read ---------------------------------------------------------------------------------------------------

    def start_time(self, stage: str = "train") -> float | None:
        """When a stage ("train", "validate", "test", ...) began, by the monotonic clock; None before."""
        return self._began.get(_name(stage))

    def end_time(self, stage: str = "train") -> float | None:
        """When it ended; None before."""
        return self._ended.get(_name(stage))

    def time_elapsed(self, stage: str = "train") -> float:
        """Its seconds so far; of training with those before the checkpoint."""
        stage = _name(stage)
        before = self._before if stage == "train" else 0.0
        if stage not in self._began:
            return before
        return self._ended.get(stage, time.monotonic()) - self._began[stage] + before

    def time_remaining(self, stage: str = "train") -> float | None:
        """Seconds of ``duration`` that are left; None without one."""
        return None if self.duration is None else self.duration - self.time_elapsed(stage)

    def state_dict(self) -> dict[str, Any]:
        """The seconds of each stage."""
        return {"time_elapsed": {stage: self.time_elapsed(stage) for stage in STAGES}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Training goes on from there."""
        self._began, self._ended = {}, {}
        self._before = state_dict["time_elapsed"].get("train", 0.0)

    # --- hooks -------------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """After the checkpoint was read, if there is one: its time may be up already."""
        if trainer.ckpt_path is None:
            self._began, self._ended, self._before = {}, {}, 0.0
        self._end_in_time(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("train")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._end("train")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("validate")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._end("validate")

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin("test")

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._end("test")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.interval == "step":
            self._end_in_time(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.interval == "epoch":
            self._end_in_time(trainer)

    def _begin(self, stage: str) -> None:
        self._began[stage] = time.monotonic()
        self._ended.pop(stage, None)

    def _end(self, stage: str) -> None:
        self._ended[stage] = time.monotonic()

    def _end_in_time(self, trainer: Any) -> None:
        """The Trainer shares the stop among the ranks."""
        if self.duration is None or trainer.should_stop or self.time_elapsed() < self.duration:
            return
        trainer.should_stop = True
        if self.verbose:
            trainer.print(f"The time of the run is up: {timedelta(seconds=int(self.time_elapsed()))} of training.")


def _name(stage: Any) -> str:
    """Also of a member of an enumeration."""
    name = str(getattr(stage, "value", stage))
    check.choice("Timer", "stage", name, STAGES)
    return name
