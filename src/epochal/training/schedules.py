"""When schedulers step: those of a batch with it, those of an epoch at its last batch, plateaus once their value is known."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from epochal import check
from epochal.training.hooks import indexed
from epochal.training.optimizers import SchedulerConfig

if TYPE_CHECKING:
    from epochal.training.module import LightningModule
    from epochal.training.steps import Steps
    from epochal.training.trainer import Trainer


class Schedules:
    """The schedulers of one run, stepped by the loop; with manual optimization by the module alone."""

    def __init__(self, trainer: Trainer, module: LightningModule, steps: Steps) -> None:
        self.trainer, self.steps = trainer, steps
        configs = trainer.lr_scheduler_configs if module.automatic_optimization else []
        self.plain = [config for config in configs if not config.reduce_on_plateau]
        self.plateaus = [config for config in configs if config.reduce_on_plateau]
        self.step_one = indexed(module.lr_scheduler_step)
        self.owners = {id(optimizer): index for index, optimizer in enumerate(trainer.raw_optimizers)}

    def after_batch(self, batch_idx: int, stepped: bool, is_last: bool) -> None:
        """Before ``on_train_batch_end``: those that need no value."""
        for config in self.plain:
            by_step = config.interval == "step" and stepped and self._due(config, self.trainer.batches_done + 1, batch_idx)
            by_epoch = config.interval == "epoch" and is_last and self._due(config, self.trainer.current_epoch + 1)
            if by_step or by_epoch:
                self._step(config, None)

    def plateaus_of_batch(self, batch_idx: int) -> None:
        """After a batch that ended in a step, and the validation that it may have brought."""
        for config in self.plateaus:
            if config.interval == "step" and self._due(config, self.trainer.batches_done, batch_idx):
                self._step_plateau(config)

    def plateaus_of_epoch(self) -> None:
        """After the epoch's values are final."""
        for config in self.plateaus:
            if config.interval == "epoch" and self._due(config, self.trainer.current_epoch + 1):
                self._step_plateau(config)

    def _due(self, config: SchedulerConfig, count: int, batch_idx: int | None = None) -> bool:
        """Every ``frequency`` steps or epochs; on a batch, if its optimizer took part."""
        took_part = batch_idx is None or self._owner(config) in self.steps.turns(batch_idx)
        return took_part and count % config.frequency == 0

    def _owner(self, config: SchedulerConfig) -> int:
        return self.owners.get(id(getattr(config.scheduler, "optimizer", None)), 0)

    def _step_plateau(self, config: SchedulerConfig) -> None:
        known = self.trainer.callback_metrics
        if config.monitor in known:
            self._step(config, known[config.monitor])
            return
        came, needed = f"it monitors {config.monitor!r}", f"logged so far are {sorted(known)}"
        text = check.message("ReduceLROnPlateau", came, needed, "Log it, or rename it.")
        if config.strict:
            raise ValueError(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _step(self, config: SchedulerConfig, value: Any) -> None:
        self.step_one(self._owner(config), config.scheduler, value)
