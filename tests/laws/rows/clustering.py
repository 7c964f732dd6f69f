"""Examples of clustering metrics."""

from __future__ import annotations

from tests.laws.data import each, labels, row

partitions = each(lambda n, g: (labels(5, n, g=g) * 7 - 3, labels(4, n, g=g)))
FUNCTIONS = {
    "MutualInfoScore": "mutual_info_score",
    "RandScore": "rand_score",
    "AdjustedRandScore": "adjusted_rand_score",
    "FowlkesMallowsIndex": "fowlkes_mallows_index",
    "HomogeneityScore": "homogeneity_score",
    "CompletenessScore": "completeness_score",
}
for cls, function in FUNCTIONS.items():
    row(cls, "labels", partitions, function=function)
row("VMeasureScore", "labels", partitions, {"beta": 2.0}, function="v_measure_score")
for average in ("min", "geometric", "arithmetic", "max"):
    method = {"average_method": average}
    row("NormalizedMutualInfoScore", average, partitions, method, function="normalized_mutual_info_score")
    row("AdjustedMutualInfoScore", average, partitions, method, function="adjusted_mutual_info_score")
