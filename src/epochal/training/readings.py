"""Values as numbers: read from the device in one transfer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from epochal.training.entries import ScalarEntry


def floats(values: Mapping[str, Any]) -> dict[str, float]:
    """Scalars as Python floats; those on a device in one transfer."""
    tensors = {key: value for key, value in values.items() if type(value) is not float and isinstance(value, Tensor)}
    if not tensors:
        return dict(values)
    on_mps = any(value.device.type == "mps" for value in tensors.values())
    wide = torch.float32 if on_mps else torch.float64
    read = torch.stack([value.detach().reshape(()).to(wide) for value in tensors.values()]).tolist()
    numbers = dict(zip(tensors, read, strict=True))
    return {key: numbers.get(key, value) for key, value in values.items()}


def settle(entries: Iterable[ScalarEntry]) -> None:
    """Read what waits on a device, for all keys in one transfer."""
    waiting = [(entry, [value.reshape(-1) for value, _ in entry.waiting]) for entry in entries if entry.waiting]
    if not waiting:
        return
    flat = [part.double() if part.device.type != "mps" else part for _, parts in waiting for part in parts]
    numbers = torch.cat(flat).tolist()
    start = 0
    for entry, parts in waiting:
        rows = []
        for part in parts:
            rows.append(numbers[start : start + part.numel()])
            start += part.numel()
        entry.settle(rows)


def cloned(value: Any) -> Any:
    """A result on its own: without its graph, and whatever happens to what it came from."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: cloned(item) for key, item in value.items()}
    return type(value)(map(cloned, value)) if isinstance(value, list | tuple) else value


def is_scalar(value: Any) -> bool:
    return (not isinstance(value, Tensor) and isinstance(value, int | float)) or (isinstance(value, Tensor) and value.numel() == 1)


def is_plain(value: Any) -> bool:
    """A number or tensors: what a checkpoint holds of the views."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return isinstance(value, Tensor | int | float)


def as_tensor(value: Any) -> Any:
    return torch.tensor(value, dtype=torch.float32) if isinstance(value, int | float) else value
