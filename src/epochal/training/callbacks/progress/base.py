# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""ProgressBar: what the bars have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epochal import check
from epochal.training.callbacks.callback import Callback


class ProgressBar(Callback):
    """Base of the bars. Override :meth:`get_metrics` to choose what they show."""

    sanity_check_description = "Sanity Checking"
    train_description = "Training"
    validation_description = "Validation"
    test_description = "Testing"
    predict_description = "Predicting"

    _on = True
    _trainer: Any = None  # of the run
    _loader: int | None = None  # that the stage is at

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None}

    @property
    def trainer(self) -> Any:
        """The Trainer of the run."""
        if self._trainer is None:
            raise RuntimeError(
                check.message(type(self).__name__, "trainer was asked for", "the bar is in no run", "Pass it as callbacks=[bar].")
            )
        return self._trainer

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._trainer = trainer

    # --- how many batches there are; infinity where nobody knows ---------------------------------------------------------

    @property
    def total_train_batches(self) -> float:
        """Of an epoch."""
        return self.trainer.num_training_batches  # type: ignore[no-any-return]  # the trainer is anything

    @property
    def total_val_batches(self) -> float:
        """Of all loaders; of those that the sanity check takes, while it runs."""
        return sum(self._val_batches)

    @property
    def total_val_batches_current_dataloader(self) -> float:
        return self._current(self._val_batches)

    @property
    def total_test_batches_current_dataloader(self) -> float:
        return self._current(self.trainer.num_test_batches)

    @property
    def total_predict_batches_current_dataloader(self) -> float:
        return self._current(self.trainer.num_predict_batches)

    @property
    def _val_batches(self) -> list[float]:
        trainer = self.trainer
        batches: list[float] = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        return batches

    def _current(self, batches: list[float]) -> float:
        return batches[self._loader or 0] if batches else 0

    def has_dataloader_changed(self, dataloader_idx: int) -> bool:
        """Whether the stage went on to another loader since the last call."""
        before, self._loader = self._loader, dataloader_idx
        return before != dataloader_idx

    def reset_dataloader_idx_tracker(self) -> None:
        """A stage begins."""
        self._loader = None

    # --- what is shown ---------------------------------------------------------------------------------------------------

    def get_metrics(self, trainer: Any = None, pl_module: Any = None) -> dict[str, Any]:
        """``v_num``, the logger's version, and what was logged with ``prog_bar=True``; of the run's Trainer if none is given."""
        trainer = trainer or self.trainer
        versions = [str(logger.version)[-4:] for logger in trainer.loggers if getattr(logger, "version", None) is not None]
        shown: dict[str, Any] = {"v_num": "_".join(versions)} if versions else {}
        shown.update(trainer.progress_bar_metrics)
        return shown

    def disable(self) -> None:
        """Show nothing."""
        self._on = False

    def enable(self) -> None:
        """Show again."""
        self._on = True

    @property
    def is_enabled(self) -> bool:
        return self._on

    @property
    def is_disabled(self) -> bool:
        return not self._on

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print where the bar is not disturbed."""
        print(*args, **kwargs)  # noqa: T201  # it is asked for


ProgressBarBase = ProgressBar  # its name of old


def formatted(metrics: Mapping[str, Any], form: str = "") -> dict[str, str]:
    """Values as text; numbers in five places, so that what follows them does not jump from step to step."""
    return {key: _text(value.item() if hasattr(value, "item") else value, form) for key, value in metrics.items()}


def _text(value: Any, form: str) -> str:
    if not isinstance(value, float):
        return str(value)
    if form:
        return format(value, form)
    size = abs(value)
    if 0 < size < 1e-3 or size >= 1e5:
        return f"{value:.1e}"
    return f"{value:.{max(0, 4 - len(str(int(size))))}f}" if size < 1e5 else str(value)
