"""The functions of :mod:`epochal.regression`."""

from epochal.paths import answer_to
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

answer_to(__name__, "kendall mae mse pearson r2 spearman")
