"""Examples of aggregations, and of formulas."""

from __future__ import annotations

import torch

import epochal
from epochal.metric import Metric
from tests.laws.data import each, numbers, row

ROWS = {"rows": True}

for aggregate in ("SumMetric", "MeanMetric", "MaxMetric", "MinMetric", "CatMetric"):
    apart = ROWS if aggregate == "CatMetric" else {}
    row(aggregate, "vectors", numbers(), **apart)
    row(aggregate, "matrices", numbers(3), **apart)
    row(aggregate, "scalars", lambda: [(b[0][0],) for b in numbers()()], **apart)
    row(aggregate, "numbers", lambda: [(b[0][0].item(),) for b in numbers()()], **apart)
row("MeanMetric", "weighted", each(lambda n, g: (torch.randn(n, generator=g), torch.rand(n, generator=g) + 0.5)))
row("MeanMetric", "one weight", lambda: [(b[0], float(len(b[0]))) for b in numbers()()], resplit=False)
row("RunningMean", "window 2", numbers(), {"window": 2})
row("RunningSum", "window 2", numbers(), {"window": 2})


def formula() -> Metric:
    return 2 * epochal.MeanSquaredError() + abs(-epochal.MeanSquaredError(squared=False)) / 3


row("CompositionalMetric", "formula", numbers(inputs=2), build=formula)
row("CompositionalMetric", "two statistics", numbers(), build=lambda: epochal.SumMetric() - 2 * epochal.MaxMetric())
