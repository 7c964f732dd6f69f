"""Where a run is, in Lightning's words: ``trainer.state``. They compare equal to plain strings."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class TrainerStatus(str, Enum):
    """How a run stands."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class TrainerFn(str, Enum):
    """What the Trainer was asked for."""

    FITTING = "fit"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class RunningStage(str, Enum):
    """What goes on: while fitting, any of the first three."""

    TRAINING = "train"
    SANITY_CHECKING = "sanity_check"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class TrainerState(NamedTuple):
    """``stage`` is None between runs."""

    status: TrainerStatus
    fn: TrainerFn | None
    stage: RunningStage | None

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def stopped(self) -> bool:
        return self.status in ("finished", "interrupted")
