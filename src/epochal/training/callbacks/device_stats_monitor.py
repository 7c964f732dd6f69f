# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""DeviceStatsMonitor: how full and how busy the device is, in the loggers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from epochal import check
from epochal.extras import library
from epochal.training.callbacks.callback import Callback


class DeviceStatsMonitor(Callback):
    """Logs statistics of the first rank's device before and after the steps whose rows are due by ``log_every_n_steps``.

    Of a GPU ``torch.cuda.memory_stats``; of the CPU, by psutil (``pip install epochal[stats]``), ``cpu_percent`` (busy since the
    last look), ``cpu_vm_percent`` and ``cpu_swap_percent`` (full). ``cpu_stats``: None for these where the run is on the CPU, True
    always, False never. ``filter_keys``: only statistics of these names. Keys are
    ``DeviceStatsMonitor.on_train_batch_start/cpu_percent`` and the like.
    """

    def __init__(self, cpu_stats: bool | None = None, filter_keys: Collection[str] | None = None) -> None:
        self.cpu_stats, self.filter_keys = cpu_stats, filter_keys
        self._psutil: Any = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """What is to be looked at, and where it goes."""
        if not trainer.loggers and not trainer.fast_dev_run:
            check.fail(self, "the Trainer has no logger", "statistics go there", "Leave logger=False out.")
        if self.cpu_stats or (self.cpu_stats is None and trainer.device.type == "cpu"):
            self._psutil = library(self, "stats", "psutil", "it looks at the CPU")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._post(trainer, "on_train_batch_start", trainer.batches_done + 1, trainer.batches_done)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._post(trainer, "on_train_batch_end", trainer.batches_done + 1, trainer.batches_done)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._post(trainer, "on_validation_batch_start", batch_idx + 1, trainer.row_step)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._post(trainer, "on_validation_batch_end", batch_idx + 1, trainer.row_step)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._post(trainer, "on_test_batch_start", batch_idx + 1, trainer.row_step)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._post(trainer, "on_test_batch_end", batch_idx + 1, trainer.row_step)

    def _post(self, trainer: Any, hook: str, count: int, step: int) -> None:
        every = trainer.log_every_n_steps
        if every and count % every == 0 and trainer.is_global_zero:
            found, keys = self._stats(trainer), self.filter_keys
            kept = {name: value for name, value in found.items() if keys is None or name in keys}
            trainer.logbook.post({f"{type(self).__qualname__}.{hook}/{name}": value for name, value in kept.items()}, step)

    def _stats(self, trainer: Any) -> dict[str, float]:
        found: dict[str, float] = {}
        if trainer.device.type == "cuda":
            found.update({name: float(value) for name, value in torch.cuda.memory_stats(trainer.device).items()})
        if self._psutil is not None:
            found["cpu_percent"] = self._psutil.cpu_percent()
            found["cpu_vm_percent"] = self._psutil.virtual_memory().percent
            found["cpu_swap_percent"] = self._psutil.swap_memory().percent
        return found
