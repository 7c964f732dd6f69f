"""Where Lightning has LightningDataModule."""

from epochal.training.datamodule import LightningDataModule

__all__ = ["LightningDataModule"]
