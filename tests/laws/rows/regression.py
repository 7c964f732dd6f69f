"""Examples of regression metrics."""

from __future__ import annotations

from tests.laws.data import each, labels, numbers, row

tied = each(lambda n, g: (labels(5, n, g=g).float(), labels(4, n, g=g)))

row("MeanSquaredError", "scalar", numbers(inputs=2), function="mean_squared_error")
row("MeanSquaredError", "root", numbers(5, inputs=2), {"squared": False}, function="mean_squared_error")
row("MeanSquaredError", "outputs", numbers(3, inputs=2), {"num_outputs": 3}, function="mean_squared_error")
row("MeanAbsoluteError", "scalar", numbers(inputs=2), function="mean_absolute_error")
row("MeanAbsoluteError", "outputs", numbers(3, inputs=2), {"num_outputs": 3}, function="mean_absolute_error")
row("R2Score", "scalar", numbers(inputs=2), function="r2_score")
row("R2Score", "adjusted", numbers(inputs=2), {"adjusted": 2}, function="r2_score")
for multioutput in ("raw_values", "uniform_average", "variance_weighted"):
    row("R2Score", multioutput, numbers(3, inputs=2), {"multioutput": multioutput}, function="r2_score")
row("PearsonCorrCoef", "scalar", numbers(inputs=2), function="pearson_corrcoef")
row("PearsonCorrCoef", "outputs", numbers(3, inputs=2), {"num_outputs": 3})
row("SpearmanCorrCoef", "scalar", numbers(inputs=2), function="spearman_corrcoef")
row("SpearmanCorrCoef", "ties", tied, function="spearman_corrcoef")
row("SpearmanCorrCoef", "outputs", numbers(3, inputs=2), {"num_outputs": 3})
for variant in "abc":
    row("KendallRankCorrCoef", variant, tied, {"variant": variant}, function="kendall_rank_corrcoef")
row("KendallRankCorrCoef", "test", tied, {"t_test": True, "alternative": "less"}, function="kendall_rank_corrcoef")
row("KendallRankCorrCoef", "outputs", numbers(3, inputs=2), {"num_outputs": 3})
