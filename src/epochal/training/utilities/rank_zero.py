"""Where Lightning has :func:`~epochal.training.rank_zero_only` and what prints on rank 0 alone."""

from lightning_fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn  # type: ignore[attr-defined]

from epochal.training.rank_zero import rank_zero_only

__all__ = ["rank_zero_info", "rank_zero_only", "rank_zero_warn"]
