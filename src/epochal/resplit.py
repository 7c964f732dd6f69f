"""The arguments of ``update`` as rows that can be joined and split anew."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = Sequence[Any] | Mapping[str, Any]  # the positional arguments of update, or its keyword arguments


def call(method: Callable[..., Any], batch: Batch) -> Any:
    return method(**batch) if isinstance(batch, Mapping) else method(*batch)


def items(batch: Batch) -> list[tuple[Any, Any]]:
    return list(batch.items()) if isinstance(batch, Mapping) else list(enumerate(batch))


def rebuilt(batch: Batch, replaced: Mapping[Any, Any]) -> Batch:
    new = {**dict(items(batch)), **replaced}
    return new if isinstance(batch, Mapping) else tuple(new.values())


def has_rows(value: Any) -> bool:
    if isinstance(value, Mapping):  # of several tasks, say
        return any(has_rows(part) for part in value.values())
    return value.ndim > 0 if isinstance(value, Tensor) else isinstance(value, list)


def length(batch: Batch) -> int:
    return next((rows(value) for _, value in items(batch) if has_rows(value)), 1)


def rows(value: Any) -> int:
    return length(value) if isinstance(value, Mapping) else len(value)


def cut(value: Any, start: int, stop: int) -> Any:
    if isinstance(value, Mapping):
        return {key: cut(part, start, stop) if has_rows(part) else part for key, part in value.items()}
    return value[start:stop]


def join(batches: Sequence[Batch]) -> Batch | None:
    """One batch of all rows, or None where that is not the same data."""
    columns: dict[Any, list[Any]] = {key: [dict(items(batch)).get(key) for batch in batches] for key, _ in items(batches[0])}
    joined: dict[Any, Any] = {}
    for key, column in columns.items():
        if any(isinstance(value, Tensor) for value in column):
            if not all(isinstance(v, Tensor) and v.ndim and v.dtype == column[0].dtype for v in column):
                return None
            if len({v.shape[1:] for v in column}) > 1:
                return None
            joined[key] = torch.cat(column)
        elif all(isinstance(value, Mapping) for value in column):
            joined[key] = join(column)
            if joined[key] is None:
                return None
        elif all(isinstance(value, list) for value in column):
            joined[key] = [item for value in column for item in value]
        elif all(value == column[0] for value in column):
            joined[key] = column[0]
        else:
            return None
    lengths = {rows(value) for value in joined.values() if has_rows(value)}
    if len(lengths) != 1 or any(len(items(batch)) != len(joined) for batch in batches):
        return None
    return rebuilt(batches[0], joined)


def chunks(batch: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    start = 0
    for size in sizes:
        yield rebuilt(batch, {key: cut(value, start, start + size) for key, value in items(batch) if has_rows(value)})
        start += size


def pieces(batch: Batch, chance: random.Random) -> Iterator[Batch]:
    """The rows in pieces of random, unequal sizes, one of them of a single row."""
    size = length(batch)
    cuts = sorted({0, 1, size, *(chance.randrange(size) for _ in range(5))})
    return chunks(batch, [b - a for a, b in itertools.pairwise(cuts)])
