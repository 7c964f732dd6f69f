"""Small numerics that many formulas share, with their edge cases."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Floats in the precision that sums are kept in: float64, or float32 where the device has none."""
    return x.float() if x.device.type == "mps" else x.double()


def ratio(numerator: Tensor, denominator: Tensor, zero: float = 0.0) -> Tensor:
    """``numerator / denominator``, and ``zero`` where the denominator is 0."""
    empty = denominator == 0
    return torch.where(empty, zero, numerator / torch.where(empty, 1.0, denominator))


def histogram(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """How often each of ``0 .. size-1`` occurs in ``index``, as int64: a count that never waits for the device."""
    index = index.reshape(-1)
    ones = torch.ones((), dtype=torch.int64, device=index.device).expand_as(index) if weight is None else weight.reshape(-1)
    return torch.zeros(size, dtype=torch.int64, device=index.device).scatter_add(0, index, ones)
