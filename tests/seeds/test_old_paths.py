"""Where users import from, when ``torchmetrics`` becomes ``epochal``, and ``lightning.pytorch`` ``epochal.training``."""

from __future__ import annotations

import importlib
import pkgutil
import warnings

import pytest
import torchmetrics

import epochal
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
        ("utilities.distributed", "rank_zero_only"),
        ("callbacks.base", "Callback"),
        ("callbacks.progress.tqdm_progress", "TQDMProgressBar"),
        ("callbacks.progress.rich_progress", "RichProgressBar"),
        ("callbacks.progress.progress_bar", "ProgressBar"),
        ("loggers.csv_logs", "CSVLogger"),
        ("profilers.simple", "SimpleProfiler"),
        ("callbacks.progress", "TQDMProgressBar"),
        ("callbacks.progress.base", "ProgressBarBase"),
        ("callbacks.model_checkpoint", "ModelCheckpoint"),
    ],
)
def test_a_path_leads_to_the_one_object(path, name):
    found = getattr(importlib.import_module(f"epochal.training.{path}"), name)
    room = getattr(pl, path.split(".")[0]) if path.startswith(("callbacks", "loggers", "profilers")) else pl
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


def torchmetrics_paths() -> list[tuple[str, str]]:
    """A module of torchmetrics, and what it defines that is in Epochal."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info in pkgutil.walk_packages(torchmetrics.__path__, "torchmetrics."):
            path = info.name.removeprefix("torchmetrics.")
            if info.ispkg or path.startswith("utilities") or "._" in info.name:
                continue
            try:
                module = importlib.import_module(info.name)
                room = importlib.import_module(f"epochal.{path}".rpartition(".")[0])
            except ImportError:  # of a room that is not here, or a library
                continue
            defined = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == info.name)
            found += [(path, name) for name in defined if name[0] != "_" and hasattr(room, name)]
    return [pair for pair in found if pair != ("metric", "CompositionalMetric")]


def test_each_module_of_torchmetrics_leads_to_the_one_object():
    paths = torchmetrics_paths()
    assert {("image.fid", "FrechetInceptionDistance"), ("functional.text.rouge", "rouge_score")} < set(paths)
    for path, name in paths:
        found = getattr(importlib.import_module(f"epochal.{path}"), name)
        assert found is getattr(importlib.import_module(f"epochal.{path}".rpartition(".")[0]), name), path
    assert importlib.import_module("epochal.collections").MetricCollection is epochal.MetricCollection


def test_what_is_nowhere_is_not_imported():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("epochal.image.lpip")
