"""Where Lightning 2.x has LightningModule."""

from epochal.training.module import LightningModule

__all__ = ["LightningModule"]
