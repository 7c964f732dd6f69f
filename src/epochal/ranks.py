"""Order among values: keys that sort fast, ranks with their ties, and how many pairs stand in the wrong order.

A sort of integers is a radix sort: of a million float32 it costs a tenth of the floats' own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

SIGNED = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


def keys(x: Tensor) -> Tensor:
    """Integers in the order of ``x``: equal where its values are equal, 0 and -0 too; NaN lie at the ends."""
    if not x.is_floating_point():
        return x.to(torch.uint8) if x.dtype == torch.bool else x
    bits = (x + 0.0).view(SIGNED[x.dtype])  # -0 + 0 is 0
    return torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits)


def dense_ranks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``(N,)`` values: for each the number of smaller values that occur, int64; and how often each value occurs, ascending."""
    ascending, order = torch.sort(keys(x))
    _, group, sizes = torch.unique_consecutive(ascending, return_inverse=True, return_counts=True)
    return torch.empty_like(group).scatter_(0, order, group), sizes


def average_ranks(x: Tensor) -> Tensor:
    """Of ``(N,)`` values: 1 for the smallest to N for the largest, tied ones the mean of their places; float64."""
    ranks, sizes = dense_ranks(x)
    return (sizes.cumsum(0) - (sizes - 1) / 2.0).double()[ranks]


def inversions(places: Tensor) -> int:
    """The pairs of a permutation of 0 .. N-1 whose first is the greater, in N log N; counted on the host.

    The numbers are parted by their bits, the highest first, and keep their order otherwise. A pair alike in the bits before is
    inverted by this one where a 0 comes after a 1: so often as the places of the zeros exceed those that they would have in
    front. With all numbers up to a power of two among them, half of a group are zeros, and each group is a run of known length.
    """
    bits = max(1, (places.shape[0] - 1).bit_length())
    numbers: Any = np.arange(1 << bits, dtype=np.int32 if bits < 31 else np.int64)
    numbers[: places.shape[0]] = places.numpy(force=True)
    found = 0
    for bit in reversed(range(bits)):
        one = (numbers & (1 << bit)).astype(bool)
        half, zeros = 1 << bit, np.flatnonzero(~one)
        found += int((zeros & (2 * half - 1)).sum()) - (numbers.shape[0] // (2 * half)) * (half * (half - 1) // 2)
        numbers = np.concatenate([numbers[zeros], numbers[one]])
    return found
