"""What users read from a Trainer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from epochal.training.callbacks.early_stopping import EarlyStopping
from epochal.training.callbacks.model_checkpoint import ModelCheckpoint
from epochal.training.callbacks.progress.base import ProgressBar
from epochal.training.history import History
from epochal.training.hooks import overridden
from epochal.training.module import LightningModule
from epochal.training.signals import Signals
from epochal.training.states import RunningStage, TrainerFn, TrainerState, TrainerStatus

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from epochal.training.fit import Fit
    from epochal.training.logbook import Book
    from epochal.training.sources import Sources


class Facts:
    """Read-only views of a run, under Lightning's names."""

    fabric: Fabric
    logbook: Book
    loggers: list[Any]
    callbacks: list[Any]
    val_limits: list[float]
    limits_of: dict[str, list[float]]
    num_sanity_val_steps: float
    limit_val_batches: int | float
    sources: Sources | None
    default_root_dir: str
    stage: str
    fn: TrainerFn | None
    status: TrainerStatus
    _module: LightningModule | None
    _datamodule: Any
    signals: Signals
    loop: Fit | None
    check_val_every_n_epoch: int | None
    validate_after: timedelta | None
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
    def precision_plugin(self) -> Any:
        return self.fabric.strategy.precision

    @property
    def precision(self) -> str:
        """As it was asked for: "32-true", "bf16-mixed", ..."""
        return str(self.precision_plugin.precision)

    @property
    def scaler(self) -> Any:
        """What scales the losses of "16-mixed"."""
        return getattr(self.precision_plugin, "scaler", None)

    @property
    def device_ids(self) -> list[int]:
        """Of this machine's devices, those of the run."""
        devices = getattr(self.fabric.strategy, "parallel_devices", None) or [self.device]
        return [index if device.index is None else device.index for index, device in enumerate(devices)]

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
    def num_sanity_val_batches(self) -> list[float]:
        """How many batches of each loader the sanity check takes."""
        steps = self.num_sanity_val_steps
        return [limit if steps == -1 else min(limit, steps) for limit in self.val_limits]

    @property
    def num_test_batches(self) -> list[float]:
        return self.limits_of.get("test", [])

    @property
    def num_predict_batches(self) -> list[float]:
        return self.limits_of.get("predict", [])

    @property
    def train_dataloader(self) -> Any:
        """The loaders of the run as they were handed out; None before."""
        return self._held("fit")

    @property
    def val_dataloaders(self) -> Any:
        return self._held("validate")

    @property
    def test_dataloaders(self) -> Any:
        return self._held("test")

    @property
    def predict_dataloaders(self) -> Any:
        return self._held("predict")

    def _held(self, stage: str) -> Any:
        return self.sources.held.get(stage) if self.sources is not None else None

    @property
    def enable_validation(self) -> bool:
        """Whether a fit of the module validates."""
        return self._module is not None and self.sources is not None and self.validates(self._module)

    def validates(self, module: LightningModule) -> bool:
        """Whether a fit has a validation, as far as can be known before its data are asked for."""
        step = overridden(module, "validation_step", LightningModule)
        return self.limit_val_batches != 0 and step and self.sources is not None and self.sources.hands_out("validate")

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any] | None:
        """What a DistributedSampler of one's own takes; None on one process."""
        return {"num_replicas": self.world_size, "rank": self.global_rank} if self.world_size > 1 else None

    @property
    def progress_bar_callback(self) -> Any:
        return next((callback for callback in self.callbacks if isinstance(callback, ProgressBar)), None)

    @property
    def checkpoint_callbacks(self) -> list[ModelCheckpoint]:
        return [callback for callback in self.callbacks if isinstance(callback, ModelCheckpoint)]

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        """The first of them."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[EarlyStopping]:
        return [callback for callback in self.callbacks if isinstance(callback, EarlyStopping)]

    @property
    def early_stopping_callback(self) -> EarlyStopping | None:
        """The first of them."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def takes_up_an_epoch(self) -> bool:
        """Whether this epoch was broken off and goes on: asked in hooks at its beginning, which have run before the checkpoint."""
        return self.loop is not None and self.loop.resumed is not None

    @property
    def validates_once_an_epoch(self) -> bool:
        """Whether an epoch's end comes after its one validation, or there is none."""
        fit = self.loop
        if fit is None or fit.validation is None:
            return True
        return self.validate_after is None and self.check_val_every_n_epoch == 1 and fit.validate_every >= fit.limit

    @property
    def awaits_validation(self) -> bool:
        """Whether a validation is to come that may log a key for the first time."""
        fit = self.loop
        return fit is not None and fit.validation is not None and not any(fit.validation.batches)

    @property
    def received_sigterm(self) -> bool:
        return self.signals.terminated

    @property
    def state(self) -> TrainerState:
        """What was asked for, how it stands, and what goes on; between runs, of the last."""
        return TrainerState(self.status, self.fn, RunningStage(self.stage) if self.stage else None)

    @property
    def fitting(self) -> bool:
        """Whether ``fit`` runs: also while it validates."""
        return self.fn == "fit" and self.status == "running"

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
        return self.status == "interrupted"

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank 0, above the progress bar."""
        if not self.is_global_zero:
            return
        bar = self.progress_bar_callback
        if bar is not None:
            bar.print(*args, **kwargs)
        else:
            print(*args, **kwargs)  # noqa: T201  # it is asked for
