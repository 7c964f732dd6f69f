"""Where Lightning 1.x has LightningModule."""

from epochal.training.module import LightningModule

__all__ = ["LightningModule"]
