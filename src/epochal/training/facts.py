"""What users read from a Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from epochal.training.callbacks.progress import ProgressBar
from epochal.training.history import History

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from epochal.training.logbook import Logbook
    from epochal.training.module import LightningModule


class Facts:
    """Read-only views of a run, under Lightning's names."""

    fabric: Fabric
    logbook: Logbook
    loggers: list[Any]
    callbacks: list[Any]
    val_limits: list[float]
    default_root_dir: str
    stage: str
    state: str
    _module: LightningModule | None
    _datamodule: Any
    _wrapped: Any

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """All logged keys, as tensors; what callbacks monitor."""
        return self.logbook.callback_metrics

    @property
    def logged_metrics(self) -> dict[str, Any]:
        """What goes to the loggers."""
        return self.logbook.logged_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What the progress bar shows."""
        return self.logbook.progress_bar_metrics

    @property
    def history(self) -> History:
        """Every logger row so far, as columns: ``trainer.history["val_loss"]``."""
        return self.logbook.history

    @property
    def lightning_module(self) -> LightningModule | None:
        return self._module

    @property
    def datamodule(self) -> Any:
        return self._datamodule

    @property
    def model(self) -> Any:
        """The module in its strategy's wrapper."""
        return self._wrapped if self._wrapped is not None else self._module

    @property
    def logger(self) -> Any:
        return self.loggers[0] if self.loggers else None

    @property
    def log_dir(self) -> str | None:
        """Where the first logger writes."""
        if not self.loggers:
            return self.default_root_dir
        found = getattr(self.logger, "log_dir", None) or getattr(self.logger, "save_dir", None)
        return None if found is None else str(found)

    @property
    def device(self) -> torch.device:
        return self.fabric.device

    @property
    def strategy(self) -> Any:
        return self.fabric.strategy

    @property
    def accelerator(self) -> Any:
        return self.fabric.accelerator

    @property
    def world_size(self) -> int:
        return int(self.fabric.world_size)

    @property
    def global_rank(self) -> int:
        return int(self.fabric.global_rank)

    @property
    def local_rank(self) -> int:
        return int(self.fabric.local_rank)

    @property
    def node_rank(self) -> int:
        return int(self.fabric.node_rank)

    @property
    def num_devices(self) -> int:
        return self.world_size // self.num_nodes

    @property
    def num_nodes(self) -> int:
        return int(getattr(self.fabric.strategy, "num_nodes", 1))

    @property
    def is_global_zero(self) -> bool:
        return self.global_rank == 0

    @property
    def num_val_batches(self) -> list[float]:
        return self.val_limits

    @property
    def progress_bar_callback(self) -> Any:
        return next((callback for callback in self.callbacks if isinstance(callback, ProgressBar)), None)

    @property
    def training(self) -> bool:
        return self.stage == "train"

    @property
    def validating(self) -> bool:
        return self.stage == "validate"

    @property
    def testing(self) -> bool:
        return self.stage == "test"

    @property
    def predicting(self) -> bool:
        return self.stage == "predict"

    @property
    def evaluating(self) -> bool:
        return self.stage in ("validate", "test")

    @property
    def interrupted(self) -> bool:
        return self.state == "interrupted"

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank 0, above the progress bar."""
        if not self.is_global_zero:
            return
        bar = self.progress_bar_callback
        if bar is not None:
            bar.print(*args, **kwargs)
        else:
            print(*args, **kwargs)  # noqa: T201  # it is asked for
