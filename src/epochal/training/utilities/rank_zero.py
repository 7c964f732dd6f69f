"""Where Lightning has :func:`~epochal.training.rank_zero_only`, and Fabric's messages of rank 0."""

from lightning_utilities.core.rank_zero import rank_zero_debug, rank_zero_deprecation, rank_zero_info, rank_zero_warn

from epochal.training.rank_zero import rank_zero_only

__all__ = ["rank_zero_debug", "rank_zero_deprecation", "rank_zero_info", "rank_zero_only", "rank_zero_warn"]
