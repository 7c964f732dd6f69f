"""Order among values: keys that sort fast, ranks with their ties, and how many pairs stand in the wrong order.

A sort of integers is a radix sort: of a million float32 it costs a tenth of the floats' own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

FEW_BITS = 5
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


def _order(ranks: Tensor, number: int) -> Tensor:
    """That sorts so many ranks, tied ones as they stand: a radix sort has a pass for each byte."""
    dtype = next(dtype for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64) if number <= torch.iinfo(dtype).max)
    return torch.sort(ranks.to(dtype), stable=True).indices


def opposed(x: Tensor, y: Tensor, shape: tuple[int, int]) -> tuple[int | Tensor, Tensor]:
    """Of dense ranks, so many of each: the pairs of samples that have opposite orders in both, and how often each (x, y) occurs.

    Of few values by their table: each cell is opposed to those below and to the left. Of many by :func:`inversions`.
    """
    cells = x * shape[1] + y
    if shape[0] * shape[1] <= x.shape[0]:
        table = torch.bincount(cells, minlength=shape[0] * shape[1])
        above, aside = table.view(shape)[:-1, 1:], table.view(shape)[1:, :-1]
        return (above * aside.flip(0).cumsum(0).flip(0).cumsum(1)).sum(), table
    order = _order(cells, shape[0] * shape[1])  # by x, and by y where those are tied
    places = y[order]
    if shape[1] < y.shape[0]:
        places = _order(places, shape[1])
    return inversions(places), torch.unique_consecutive(cells[order], return_counts=True)[1]


def inversions(places: Tensor) -> int:
    """The pairs of a permutation of 0 .. N-1 whose first is the greater, in N log N; counted on the host.

    The numbers are parted by their bits, the highest first, and keep their order otherwise. A pair alike in the bits before is
    inverted by this one where a 0 comes after a 1: so often as the places of the zeros exceed those that they would have in
    front. With all numbers up to a power of two among them, half of a group are zeros, and each group is a run of known length.
    In the last groups, of :math:`2^5` numbers, each is compared with each.
    """
    bits = max(FEW_BITS, (places.shape[0] - 1).bit_length())
    numbers: Any = np.arange(1 << bits, dtype=np.int32 if bits < 31 else np.int64)
    numbers[: places.shape[0]] = places.numpy(force=True)
    spare, middle, found = np.empty_like(numbers), numbers.shape[0] // 2, 0
    for bit in reversed(range(FEW_BITS, bits)):
        is_one = (numbers & (1 << bit)) != 0
        zeros, half, groups = np.flatnonzero(~is_one), 1 << bit, 1 << (bits - bit - 1)
        in_front = groups * (groups - 1) * half * half + groups * (half * (half - 1) // 2)
        found += int(zeros.sum()) - in_front
        np.take(numbers, zeros, out=spare[:middle], mode="clip")  # "clip" writes without a copy
        np.take(numbers, np.flatnonzero(is_one), out=spare[middle:], mode="clip")
        numbers, spare = spare, numbers
    few = (numbers & ((1 << FEW_BITS) - 1)).astype(np.uint8).reshape(-1, 1 << FEW_BITS).T.copy()
    return found + sum(int(np.count_nonzero(few[:i] > few[i])) for i in range(1, 1 << FEW_BITS))
