"""Clustering metrics: how well two partitions of the same samples agree."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(
    __name__,
    "adjusted_mutual_info_score adjusted_rand_score fowlkes_mallows_index homogeneity_completeness_v_measure "
    "mutual_info_score normalized_mutual_info_score rand_score",
)
