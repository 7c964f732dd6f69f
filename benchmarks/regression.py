"""Correlation of ranks beside scipy, and of values beside torchmetrics."""

from __future__ import annotations

from collections.abc import Iterator

import scipy.stats
import torch
import torchmetrics

import epochal
from benchmarks.timing import Row, row

EQUAL = 1.0  # not slower


def pairs(size: int, values: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated floats, or as many values of them."""
    torch.manual_seed(0)
    x = torch.randn(size)
    y = x + torch.randn(size)
    return (x, y) if values is None else ((x * values / 8).round(), (y * values / 8).round())


def rows() -> Iterator[Row]:
    ours, scipys = epochal.functional, scipy.stats
    for title, spearman, kendall in (("", pairs(10**6), pairs(200_000)), (", ties", pairs(10**6, 100), pairs(200_000, 100))):
        arrays = [[x.numpy() for x in data] for data in (spearman, kendall)]
        yield row(
            f"Spearman of 1,000,000{title}, scipy",
            lambda data=spearman: ours.spearman_corrcoef(*data),
            lambda data=arrays[0]: scipys.spearmanr(*data),
            EQUAL,
        )
        yield row(
            f"Kendall of 200,000{title}, scipy",
            lambda data=kendall: ours.kendall_rank_corrcoef(*data),
            lambda data=arrays[1]: scipys.kendalltau(*data),
            EQUAL,
        )
    x, y = pairs(64)
    for name in ("MeanAbsoluteError", "R2Score", "PearsonCorrCoef"):
        mine, its = getattr(epochal, name)(), getattr(torchmetrics, name)()
        yield row(f"{name}: forward", lambda m=mine: m(x, y), lambda m=its: m(x, y), EQUAL)
        required = EQUAL if name != "R2Score" else None  # whose sums of squares, there, lose the digits of large values
        yield row(f"{name}: update", lambda m=mine: m.update(x, y), lambda m=its: m.update(x, y), required)
