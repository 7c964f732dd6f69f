"""What a metric returns: nested as it likes, cast once, a copy of its own, and marked with the metric it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMBERS = (np.ndarray, np.generic)
NESTED = (dict, list, tuple)
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Apply to the tensors in a result, whatever its nesting."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, item) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(mapped(function, item) for item in value)
    return value


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floats as ``dtype``, and every tensor one of its own, which aliases no state."""
    if isinstance(value, Tensor):
        return _own(value, dtype)
    if isinstance(value, NUMBERS):  # a formula on counts (numeric.numbers)
        if value.dtype.kind != "f":
            return torch.from_numpy(np.array(value))
        own = torch.from_numpy(np.array(value, dtype=NUMPY.get(dtype)))
        return own if dtype in NUMPY else own.to(dtype)
    return mapped(lambda tensor: _own(tensor, dtype), value)


def _own(result: Tensor, dtype: torch.dtype) -> Tensor:
    own = result.to(dtype) if result.is_floating_point() else result
    return own.clone() if own is result else own


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else mapped(torch.clone, value)


def mark(value: Any, path: tuple[Any, ...]) -> None:
    """Write on each tensor of a result where it comes from: a metric's token, then the keys that lead to it."""
    if isinstance(value, Tensor):
        value._epochal = path  # type: ignore[attr-defined]
    elif isinstance(value, dict):
        for key, item in value.items():
            mark(item, (*path, key))
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            mark(item, (*path, key))


def has_double(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether float64 is among the arguments of a call, or in lists and dictionaries among them: then its result is, too."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if type(value) is str:  # texts come by the thousand, and nothing else is told apart as fast
            continue
        if isinstance(value, Tensor):
            if value.dtype is torch.float64:
                return True
        elif isinstance(value, NESTED) and has_double(value.values() if isinstance(value, dict) else value, {}):
            return True
    return False
