"""Where users import from, when ``pytorch_lightning`` or ``lightning.pytorch`` becomes ``epochal.training``."""

from __future__ import annotations

import importlib

import pytest

import epochal.training as pl
from tests.training.toys import Model, loader, trainer


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("core", "LightningModule"),
        ("core", "LightningDataModule"),
        ("core.lightning", "LightningModule"),
        ("core.module", "LightningModule"),
        ("core.datamodule", "LightningDataModule"),
        ("trainer", "Trainer"),
        ("trainer.trainer", "Trainer"),
        ("utilities", "rank_zero_only"),
        ("utilities", "CombinedLoader"),
        ("utilities.rank_zero", "rank_zero_only"),
        ("utilities.combined_loader", "CombinedLoader"),
        ("callbacks.progress", "TQDMProgressBar"),
        ("callbacks.progress.base", "ProgressBarBase"),
        ("callbacks.model_checkpoint", "ModelCheckpoint"),
    ],
)
def test_a_path_leads_to_the_one_object(path, name):
    found = getattr(importlib.import_module(f"epochal.training.{path}"), name)
    room = pl.callbacks if path.startswith("callbacks") else pl
    assert found is getattr(room, {"ProgressBarBase": "ProgressBar"}.get(name, name))


def test_the_types_of_hooks_are_there():
    from epochal.training.utilities.types import EVAL_DATALOADERS, STEP_OUTPUT, TRAIN_DATALOADERS, OptimizerLRScheduler

    class Typed(Model):
        def training_step(self, batch: list, batch_idx: int) -> STEP_OUTPUT:
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self) -> OptimizerLRScheduler:
            return super().configure_optimizers()

        def train_dataloader(self) -> TRAIN_DATALOADERS:
            return loader()

        def val_dataloader(self) -> EVAL_DATALOADERS:
            return None

    run = trainer()
    run.fit(Typed())
    assert run.global_step == 7
