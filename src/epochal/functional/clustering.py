"""The functions of :mod:`epochal.clustering`."""

from epochal.clustering.information import (
    adjusted_mutual_info_score,
    completeness_score,
    homogeneity_score,
    mutual_info_score,
    normalized_mutual_info_score,
    v_measure_score,
)
from epochal.clustering.pairs import adjusted_rand_score, fowlkes_mallows_index, rand_score
from epochal.paths import answer_to

__all__ = [
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "completeness_score",
    "fowlkes_mallows_index",
    "homogeneity_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "rand_score",
    "v_measure_score",
]

answer_to(
    __name__,
    "adjusted_mutual_info_score adjusted_rand_score fowlkes_mallows_index homogeneity_completeness_v_measure "
    "mutual_info_score normalized_mutual_info_score rand_score",
)
