"""Small numerics that many formulas share, with their edge cases."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from epochal import check
from epochal.states import LARGE, WIDER, few

T = TypeVar("T")


class derived(Generic[T]):  # reads as a decorator
    """An attribute that is computed when first asked for: ``functools.cached_property`` less the lock that it had before 3.12."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        value = instance.__dict__[self.name] = self.function(instance)
        return value


def wide(x: Tensor) -> Tensor:
    """Floats in the precision that sums are kept in: float64, or float32 where the device has none."""
    return x.float() if x.is_mps else x.double()


def difference(a: Tensor, b: Tensor) -> Tensor:
    """``a - b`` in the precision of sums. That of 32 bits is rounded before, to its own precision, for half the time; integers and
    half precision would overflow."""
    return wide(a - b) if a.dtype == b.dtype == torch.float32 else wide(a) - wide(b)


# Counts as a formula reads them: float64 tensors, or NumPy arrays where a look at values is free (a few numbers on the CPU, where
# an operation of NumPy costs a third of torch's). Both know operators, slices, reshape, sum(axis), diagonal and @; the functions
# below take either.
Numbers = Any
TINY = 1e-300


PORTION = 1 << 16  # numbers: several results in float64 fit into a CPU's cache, three to eight times as fast as all at once


def portions(x: Tensor) -> tuple[Tensor, ...]:
    """Rows of ``x`` to work on one after the other; all at once where they are few, or on no CPU."""
    if is_dynamo_compiling() or x.numel() <= PORTION or x.device != check.CPU:
        return (x,)
    return torch.split(x, max(1, PORTION * x.shape[0] // x.numel()))


def has_nan(x: Any) -> bool:
    """Whether any number of NumPy's is NaN: then their sum of squares is, which never cancel each other."""
    flat = x.ravel()
    with np.errstate(over="ignore"):
        length = flat.dot(flat)
    return bool(length != length)


def numbers(counts: Tensor) -> Numbers:
    """Integer counts as float64, for a formula."""
    if not check.reads_values(counts.device):
        return counts.double()
    if counts.numel() >= LARGE:  # torch takes memory that NumPy has seen for NumPy's, to which nothing is added in place
        return counts.double().numpy()
    return counts.numpy().astype(np.float64)


def ratio(numerator: Numbers, denominator: Numbers, zero: float = 0.0) -> Numbers:
    """``numerator / denominator`` of counts, and ``zero`` where both are 0. Has no useful gradient there."""
    if isinstance(denominator, np.ndarray):
        quotient = numerator / np.maximum(denominator, TINY)
        return np.where(denominator == 0, zero, quotient) if zero else quotient
    if isinstance(denominator, Tensor):
        return (numerator / denominator).nan_to_num_(zero)
    return numerator / denominator if denominator else np.float64(zero)


@functools.lru_cache(maxsize=256)
def _units(size: int) -> Any:
    return np.ones(size)


def totals(values: Numbers) -> Numbers:
    """The sums over the last dimension: of NumPy's numbers as a product, which costs a third of its sum."""
    return values.sum(-1) if isinstance(values, Tensor) else values.dot(_units(values.shape[-1]))


def weighted_mean(values: Numbers, weights: Numbers, empty: float = 0.0) -> Numbers:
    """The mean over the last dimension; ``empty`` where all weights are 0."""
    if values.ndim == 1:
        return ratio(values.dot(weights), totals(weights), empty)
    return ratio(totals(values * weights), totals(weights), empty)


def at_most_one(counts: Numbers) -> Numbers:
    """1 for each positive number, 0 for 0."""
    return counts.clamp_max(1.0) if isinstance(counts, Tensor) else np.minimum(counts, 1.0)


def where(condition: Numbers, a: Numbers, b: Numbers) -> Numbers:
    return torch.where(condition, a, b) if isinstance(condition, Tensor) else np.where(condition, a, b)


def stack(parts: Sequence[Numbers]) -> Numbers:
    """Along a new last dimension."""
    return torch.stack(list(parts), -1) if isinstance(parts[0], Tensor) else np.stack(parts, -1)


def steps(like: Numbers) -> Numbers:
    """0, 1, ... as many as the last dimension of ``like`` has."""
    n = like.shape[-1]
    return torch.arange(n, device=like.device, dtype=like.dtype) if isinstance(like, Tensor) else np.arange(n, dtype=np.float64)


SIGNED = {dtype: wider for dtype, wider in WIDER.items() if not dtype.is_floating_point}


def signed(x: Tensor) -> Tensor:
    """Integers that torch has few operations for, and which it cannot pickle, as wider ones; all else as it is."""
    return x.to(SIGNED.get(x.dtype, x.dtype))


def integers(counts: Numbers) -> Numbers:
    return counts.long() if isinstance(counts, Tensor) else counts.astype(np.int64)


def count(number: int, like: Tensor) -> int | Tensor:
    """A number that shapes alone say, as a field of a state: as it is, or a tensor inside of vmap, which returns nothing else."""
    return torch.full((), number, dtype=torch.int64, device=like.device) if check.is_transforming() else number


def constant(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """A decorator of functions that make tensors of their arguments alone: once, since a copy from the host makes a device wait.

    What is compiled holds them as constants. A tuple even of one, since a tensor by itself gets a name there which the next one
    would have, too.
    """
    known: dict[tuple[Hashable, ...], tuple[Tensor, ...]] = {}

    @functools.wraps(function)
    def made(*args: Hashable) -> tuple[Tensor, ...]:
        found = known.get(args)
        if found is None:
            found = function(*args)
            if len(known) >= KEPT:
                known.clear()
            if all(type(tensor) is Tensor for tensor in found):  # a FakeTensor belongs to its mode
                known[args] = found
        return found

    return check.constant_result(made)


KEPT = 256


@constant
def _one(device: torch.device) -> tuple[Tensor]:
    return (torch.ones((), dtype=torch.int64, device=device),)


@functools.lru_cache(maxsize=256)
def _ones(size: int, device: torch.device) -> Tensor:
    """Of a batch's size, which comes again; as one number in memory."""
    return _one(device)[0].expand(size)


def histogram(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """How often each of ``0 .. size-1`` occurs in ``index``, as int64, without a wait for the device.

    What is out of range is counted in the last bin; where a look at the values is free (:func:`epochal.check.reads_values`), it
    is an IndexError.
    """
    index = index if index.ndim == 1 else index.reshape(-1)
    bins = index.new_zeros(size)
    if check.reads_values(index.device):
        if weight is None:
            counts = _ones(index.shape[0], index.device)
        else:
            counts = weight.reshape(-1)
            index = index.masked_fill(counts == 0, 0)  # what weighs nothing may be anywhere
        try:
            return bins.scatter_add_(0, index, counts)
        except RuntimeError:  # the CPU's scatter checks the range by itself
            raise IndexError(f"an index is not in 0 .. {size - 1}") from None
    counts = _one(index.device)[0].expand(index.shape[0]) if weight is None else weight.reshape(-1)
    return bins.scatter_add(0, within(index, size), counts)


def tabulated(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """:func:`histogram`, or the few counts alone (:func:`epochal.states.few`) where a batch is small and the table large."""
    if size < LARGE or index.numel() * SPARSE > size or not check.reads_values(index.device):
        return histogram(index, size, weight)
    index = index.reshape(-1)
    counts = _ones(index.shape[0], index.device) if weight is None else weight.reshape(-1)
    try:
        return few(index if weight is None else index.masked_fill(counts == 0, 0), counts, size)
    except RuntimeError:
        raise IndexError(f"an index is not in 0 .. {size - 1}") from None


SPARSE = 16  # times: an index and its count take two numbers, and a few more operations


def within(index: Tensor, size: int) -> Tensor:
    """Indices, those out of range as the last one."""
    return index.clamp(-1, size - 1).remainder(size)
