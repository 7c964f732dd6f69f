# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""GradientAccumulationScheduler: how many batches make a step, by epoch."""

from __future__ import annotations

from typing import Any

from epochal import check
from epochal.training.callbacks.callback import Callback


class GradientAccumulationScheduler(Callback):
    """How many batches make a step, by epoch.

    ``scheduling={4: 2, 8: 4}``: from epoch 4 on two batches, from epoch 8 on four, one before. Epochs count from 0.
    """

    def __init__(self, scheduling: dict[int, int]) -> None:
        if not isinstance(scheduling, dict) or not scheduling:
            raise TypeError(check.message(self, f"scheduling is {scheduling!r}", "a dict {epoch: batches} is needed"))
        for epoch, batches in scheduling.items():
            check.whole(self, f"an epoch of {scheduling}", epoch, 0)
            check.whole(self, f"scheduling[{epoch}]", batches, 1)
        self.scheduling = {0: 1, **scheduling}
        self.epochs = sorted(self.scheduling)
        self._latest = 1

    def going_to_accumulate_grad_batches(self) -> bool:
        """Whether any epoch accumulates."""
        return any(batches > 1 for batches in self.scheduling.values())

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """How many batches make a step in an epoch."""
        return self.scheduling[max(begin for begin in self.epochs if begin <= epoch)]

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Nothing else may say how many."""
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            fix = "Step the optimizers on every so many batches."
            check.fail(self, "optimization is manual", "the loop accumulates only what it steps itself", fix)
        if trainer.accumulate_grad_batches not in (1, self._latest):
            came = f"accumulate_grad_batches={trainer.accumulate_grad_batches} came, too"
            check.fail(self, came, "one of them says how many batches make a step", "Leave accumulate_grad_batches out.")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.accumulate_grad_batches = self._latest = self.get_accumulate_grad_batches(trainer.current_epoch)
