"""The functions of :mod:`epochal.regression`."""

from epochal.regression.errors import mean_absolute_error, mean_squared_error
from epochal.regression.joint import pearson_corrcoef, r2_score
from epochal.regression.ranked import kendall_rank_corrcoef, spearman_corrcoef

__all__ = [
    "kendall_rank_corrcoef",
    "mean_absolute_error",
    "mean_squared_error",
    "pearson_corrcoef",
    "r2_score",
    "spearman_corrcoef",
]
