"""Small numerics that many formulas share, with their edge cases."""

from __future__ import annotations

import torch
from torch import Tensor

from epochal import check


def wide(x: Tensor) -> Tensor:
    """Floats in the precision that sums are kept in: float64, or float32 where the device has none."""
    return x.float() if x.device.type == "mps" else x.double()


def ratio(numerator: Tensor, denominator: Tensor, zero: float = 0.0) -> Tensor:
    """``numerator / denominator`` of counts, and ``zero`` where both are 0. Has no useful gradient there."""
    return (numerator / denominator).nan_to_num_(zero)


_ONE = torch.ones((), dtype=torch.int64)


def histogram(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """How often each of ``0 .. size-1`` occurs in ``index``, as int64, without a wait for the device.

    What is out of range is counted in the last bin; where a look at the values is free (:func:`epochal.check.reads_values`), it is an
    IndexError.
    """
    index = index if index.ndim == 1 else index.reshape(-1)
    one = _ONE if index.device.type == "cpu" else torch.ones_like(_ONE, device=index.device)
    counts = one.expand_as(index) if weight is None else weight.reshape(-1)
    bins = torch.zeros(size, dtype=torch.int64, device=index.device)
    if check.reads_values(index.device):
        try:
            return bins.scatter_add_(0, index, counts)
        except RuntimeError:  # the CPU's scatter checks the range by itself
            raise IndexError(f"an index is not in 0 .. {size - 1}") from None
    return bins.scatter_add(0, index.clamp(-1, size - 1).remainder(size), counts)
