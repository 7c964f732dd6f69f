"""One run with our classes and with Lightning's."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import epochal.training as pl
from epochal.training import callbacks
from tests.training.toys import CLASSES

lightning = pytest.importorskip("lightning.pytorch")


def of_both(make):
    """The same run with our classes and with Lightning's, whose warnings are not of interest."""
    ours = make(pl, callbacks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ours, make(lightning, lightning.callbacks)


def quiet(library, **options):
    defaults = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    return library.Trainer(**{**defaults, "accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0, **options})


def net(library, optimizers=None, scores=()):
    """One layer; each validation logs the next score, if there is one for it."""
    left = list(scores)

    class Net(library.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(4, CLASSES), nn.Linear(CLASSES, CLASSES)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.head(self.layer(batch[0])), batch[1])

        def validation_step(self, batch, batch_idx):
            pass

        def on_validation_epoch_end(self):
            if left and not self.trainer.sanity_checking:
                self.log("score", left.pop(0))

        def configure_optimizers(self):
            return optimizers(self) if optimizers else torch.optim.SGD(self.parameters(), 0.1)

    return Net()
