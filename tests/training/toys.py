"""A small model, imbalanced data with an uneven last batch, and runs of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import epochal.training as pl

CLASSES = 3
QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "accelerator": "cpu",
    "num_sanity_val_steps": 0,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


def dataset(samples: int = 53, seed: int = 0) -> TensorDataset:
    """Labels of which most are 0; features that say a little about them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), samples, True, generator=generator)
    x = torch.randn(samples, 4, generator=generator) + nn.functional.one_hot(y, 4)
    return TensorDataset(x, y)


def loader(samples: int = 53, batch_size: int = 8, seed: int = 0, **options: Any) -> DataLoader:
    return DataLoader(dataset=dataset(samples, seed), batch_size=batch_size, **options)


def labels(module: nn.Module, data: TensorDataset) -> tuple[Any, Any]:
    """What a module predicts for all samples at once, and the truth, as numpy arrays."""
    with torch.no_grad():
        return module.layer(data.tensors[0]).argmax(1).numpy(), data.tensors[1].numpy()


class Model(pl.LightningModule):
    """One layer; steps do nothing but train. ``lr=0`` keeps the weights, so that an epoch's predictions are those of the end."""

    def __init__(self, lr: float = 0.0) -> None:
        super().__init__()
        self.lr = lr
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layer = nn.Linear(4, CLASSES)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(**{**QUIET, "max_epochs": 1, **options})


@contextlib.contextmanager
def rank_environment(rank: int, size: int) -> Iterator[None]:
    """As torchrun sets it, so that the Trainer joins the process group of the test's pool."""
    values = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29999, "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def ddp_trainer(size: int, **options: Any) -> pl.Trainer:
    return trainer(devices=size, strategy="ddp", **options)


class Rows(pl.loggers.Logger):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def of(self, key: str) -> list[tuple[int, float]]:
        return [(step, row[key]) for step, row in self.rows if key in row]
