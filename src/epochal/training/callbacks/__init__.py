"""Callbacks."""

from epochal.training.callbacks.callback import Callback
from epochal.training.callbacks.progress import ProgressBar, TQDMProgressBar

__all__ = ["Callback", "ProgressBar", "TQDMProgressBar"]
