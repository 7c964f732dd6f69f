"""Lightning's path to what modules use beside it: ``from epochal.training.utilities import rank_zero_only``."""

from lightning_fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn  # type: ignore[attr-defined]

from epochal.training.combined import CombinedLoader
from epochal.training.rank_zero import rank_zero_only

__all__ = ["CombinedLoader", "rank_zero_info", "rank_zero_only", "rank_zero_warn"]
