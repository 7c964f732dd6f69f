"""Where users import from, when ``pytorch_lightning`` or ``lightning.pytorch`` becomes ``epochal.training``."""

from __future__ import annotations

import importlib

import pytest

import epochal.training as pl


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
