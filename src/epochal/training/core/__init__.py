"""Lightning's path to modules and datamodules: ``from epochal.training.core import LightningModule``."""

from epochal.training.datamodule import LightningDataModule
from epochal.training.module import LightningModule

__all__ = ["LightningDataModule", "LightningModule"]
