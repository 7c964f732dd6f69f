"""How many samples a batch holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader


class BatchSizes:
    """The sizes of a loader's batches, by what its sampler says: all alike, and the last one what is left."""

    def __init__(self, batch_size: int, samples: int, first: int = 0) -> None:
        self.batch_size, self.samples, self.first = batch_size, samples, first

    def __call__(self, batch_idx: int) -> int:
        return max(1, min(self.batch_size, self.samples - (batch_idx - self.first) * self.batch_size))

    @classmethod
    def of(cls, loader: Any, first: int = 0) -> BatchSizes | None:
        """From batch ``first`` on; None where the loader has no plain batch sampler of known length."""
        sampler = getattr(loader, "batch_sampler", None)
        if not isinstance(loader, DataLoader) or type(sampler) is not BatchSampler:
            return None
        try:
            return cls(sampler.batch_size, len(sampler.sampler), first)  # type: ignore[arg-type]  # a sampler need not have a length
        except TypeError:
            return None


def batch_size_of(batch: Any) -> int | None:
    """The length of a list of samples, else the first dimension that the batch's tensors agree on; None if neither says."""
    sizes = list(_first_dimensions(batch))
    agreed = sizes[0] if sizes and all(size == sizes[0] for size in sizes) else None
    if isinstance(batch, list) and batch and not any(isinstance(item, Tensor) for item in batch):
        return agreed if agreed and all(_is_collated(item) for item in batch) else len(batch)
    return agreed


def _is_collated(item: Any) -> bool:
    """Whether an item of a list may be one field of many samples rather than one sample: a group of stacked tensors."""
    group = list(item.values()) if isinstance(item, Mapping) else item
    return isinstance(group, list) and bool(group) and all(isinstance(part, Tensor) and part.ndim for part in group)


def _first_dimensions(value: Any, depth: int = 0) -> Iterator[int]:
    if isinstance(value, Tensor):
        yield value.shape[0] if value.ndim else 1
    elif depth > 8 or isinstance(value, str):
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _first_dimensions(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _first_dimensions(item, depth + 1)
    elif dataclasses.is_dataclass(value):
        for part in dataclasses.fields(value):
            yield from _first_dimensions(getattr(value, part.name), depth + 1)
    elif hasattr(value, "keys") and hasattr(value, "__getitem__"):  # a BatchEncoding
        for key in list(value.keys()):
            yield from _first_dimensions(value[key], depth + 1)
