"""Callbacks."""

from epochal.training.callbacks.callback import Callback
from epochal.training.callbacks.model_checkpoint import ModelCheckpoint
from epochal.training.callbacks.progress import ProgressBar, TQDMProgressBar

__all__ = ["Callback", "ModelCheckpoint", "ProgressBar", "TQDMProgressBar"]
