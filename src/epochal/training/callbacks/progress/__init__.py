"""Progress bars, under their names of today and of old."""

from epochal.training.callbacks.progress.base import ProgressBar, ProgressBarBase
from epochal.training.callbacks.progress.tqdm_bar import Tqdm, TQDMProgressBar

__all__ = ["ProgressBar", "ProgressBarBase", "TQDMProgressBar", "Tqdm"]
