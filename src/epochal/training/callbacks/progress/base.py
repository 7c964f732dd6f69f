# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""ProgressBar: what the bars have in common."""

from __future__ import annotations

from typing import Any

from epochal import check
from epochal.training.callbacks.callback import Callback


class ProgressBar(Callback):
    """Base of the bars. Override :meth:`get_metrics` to choose what they show."""

    _on = True
    _trainer: Any = None  # of the run

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
