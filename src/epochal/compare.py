"""Nested results: apply to their tensors, and say how two of them differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def mapped(function: Callable[[Tensor], Any], value: Any, only: Callable[[Tensor], bool] = lambda _: True) -> Any:
    """Apply to the tensors in a nested value."""
    if isinstance(value, Tensor):
        return function(value) if only(value) else value
    if isinstance(value, Mapping):
        return {key: mapped(function, item, only) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [mapped(function, item, only) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(found.append, value)
    return found


def dtypes(value: Any) -> Any:
    return mapped(lambda t: str(t.dtype), value)


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def spoil(tensor: Tensor) -> None:
    """Change a tensor in place, whatever its dtype."""
    if tensor.numel():
        tensor.copy_(tensor.logical_not() if tensor.dtype == torch.bool else tensor + 1)


def difference(got: Any, expected: Any, *, rtol: float = 1e-6, atol: float = 1e-7, rows: bool = False) -> str | None:
    """How two results differ, or None: integers and bools exactly, floats within a tolerance, NaN equal to NaN.

    ``rows``: the rows of each tensor may come in any order.
    """
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or set(got) != set(expected):
            return f"{got!r}, not {expected!r}"
        pairs = [(f"[{key!r}]", got[key], expected[key]) for key in expected]
    elif isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return f"{got!r}, not {expected!r}"
        pairs = [(f"[{index}]", a, b) for index, (a, b) in enumerate(zip(got, expected, strict=True))]
    elif isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _tensor_difference(got, expected, rtol, atol, rows)
    else:
        return None if type(got) is type(expected) and got == expected else f"{got!r}, not {expected!r}"
    found = ((path, difference(a, b, rtol=rtol, atol=atol, rows=rows)) for path, a, b in pairs)
    return next((f"{path} {text}" for path, text in found if text), None)


def _tensor_difference(got: Tensor, expected: Tensor, rtol: float, atol: float, rows: bool) -> str | None:
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"{tuple(got.shape)} {got.dtype}, not {tuple(expected.shape)} {expected.dtype}"
    got, expected = got.detach(), expected.detach()
    if rows and got.ndim:
        got, expected = _sorted_rows(got), _sorted_rows(expected)
    if got.is_floating_point() or got.is_complex():
        equal = torch.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    else:
        equal = got == expected
    if bool(equal.all()):
        return None
    return f"{got[~equal].flatten()[:5].tolist()}, not {expected[~equal].flatten()[:5].tolist()}"


def _sorted_rows(tensor: Tensor) -> Tensor:
    """Rows in lexicographic order: a sort by each column, from the last to the first."""
    order = torch.arange(len(tensor))
    columns = tensor.reshape(len(tensor), -1)
    for column in reversed(columns.unbind(1)):
        order = order[torch.argsort(column[order], stable=True)]
    return tensor[order]
