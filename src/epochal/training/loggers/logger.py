"""Logger: whatever has these methods is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Logger:
    """Takes rows of numbers. Subclasses define ``name``, ``version`` and :meth:`log_metrics`."""

    @property
    def name(self) -> str | None:
        """Of the experiment."""
        return None

    @property
    def version(self) -> int | str | None:
        """Of the run."""
        return None

    def follow(self, version: int | str | None) -> None:
        """On the ranks that do not write: take over the version of rank 0."""

    @property
    def group_separator(self) -> str:
        """Between the names of a group in a key."""
        return "/"

    @property
    def save_dir(self) -> str | None:
        return None

    @property
    def root_dir(self) -> str | None:
        """Where the runs of the experiment are."""
        return self.save_dir

    @property
    def log_dir(self) -> str | None:
        """Of this run alone, where it has a folder."""
        return None

    @property
    def experiment(self) -> Any:
        """What it writes with."""
        return None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row."""
        raise NotImplementedError

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """What the run was started with."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """The module that is trained."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """A checkpoint is written: its ModelCheckpoint knows which."""

    def flush(self) -> None:
        """Write the rows that are held."""
        self.save()

    def save(self) -> None:
        """An epoch is over: write what is held."""

    def finalize(self, status: str) -> None:  # noqa: ARG002  # "success" or "failed"
        """The run is over."""
        self.save()
