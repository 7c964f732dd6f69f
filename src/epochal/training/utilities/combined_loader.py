"""Where Lightning has :class:`~epochal.training.CombinedLoader`."""

from epochal.training.combined import CombinedLoader

__all__ = ["CombinedLoader"]
