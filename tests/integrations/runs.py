"""Runs of the real Lightning, small and quiet, on one process and, in a rank of the pool, on two."""

from __future__ import annotations

import warnings
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from tests.training.toys import CLASSES, rank_environment

QUIET = {
    "logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False,
    "accelerator": "cpu", "num_sanity_val_steps": 0,
}  # fmt: skip


class Model(pl.LightningModule):
    """One layer that does not learn, so that an epoch's predictions are those of the end."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layer = nn.Linear(4, CLASSES)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(**{**QUIET, "max_epochs": 1, **options})


def logged(run: pl.Trainer) -> dict[str, float]:
    return {key: value.item() for key, value in run.callback_metrics.items()}


def fitted(module: pl.LightningModule, *loaders: Any, **options: Any) -> pl.Trainer:
    """After a fit, without the warnings that Lightning has for every small run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = trainer(**options)
        run.fit(module, *loaders)
        return run


def on_ranks(rank: int, size: int, module: type[pl.LightningModule], train: Any, val: Any) -> dict[str, float]:
    with rank_environment(rank, size):
        return logged(fitted(module(), train, val, devices=size, strategy="ddp", max_epochs=2))
