"""Whether a saved state fits the metric that loads it: its schema, its declaration, and each field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from epochal import check
from epochal.states import Blocks, Slot, kind

if TYPE_CHECKING:
    from epochal.stateful import Stateful


def check_schema(metric: Stateful, needed: int, about: Mapping[str, Any]) -> None:
    """Raise unless a saved state is of this release's form, and was declared as the metric's own is."""
    version = about.get("version", needed)
    if version != needed:
        check.fail(
            metric,
            f"the loaded state has version {version} of the schema",
            f"{needed} is needed",
            "It comes from another library or release: compute its value there.",
        )
    for name, declared in about.get("fields", {}).items():
        own = metric.slots[name].declared if name in metric.slots else "no such field"
        if declared != own:
            came = f"field {name!r} of the loaded state is declared as {declared}"
            check.fail(metric, came, f"here it is {own}", "Build the metric with the arguments that it was saved with.")


def loadable(metric: Stateful, slot: Slot, field: Any, exact: bool) -> Any:
    """A copy of a loaded field in the dtype that the state is kept in; raises if it is no such field.

    ``exact``: whether it must hold the kind of numbers that was declared; the classic way may have made any other tensor of it.
    """
    came = f"field {slot.name!r} of the loaded state"
    if slot.is_list:
        if not isinstance(field, Tensor | list | tuple):
            check.fail(metric, f"{came} is a {type(field).__name__}", "a list is needed")
        rows = [field] if isinstance(field, Tensor) else field
        return Blocks(rows) if slot.reduction == "cat" else list(rows)
    default = slot.default
    assert isinstance(default, Tensor)
    if not isinstance(field, Tensor):
        check.fail(metric, f"{came} is a {type(field).__name__}", "a tensor is needed")
    dtype = torch.promote_types(field.dtype, default.dtype)
    if kind(dtype) != kind(default.dtype):
        if exact:
            check.fail(metric, f"{came} has {kind(field.dtype)}", f"{kind(default.dtype)} ({default.dtype}) are needed")
        dtype = field.dtype
    if default.numel() and not _fits(default.shape, field.shape):
        check.fail(
            metric,
            f"{came} has shape {check.shape(field)}",
            f"{check.shape(default)} is needed",
            "Build the metric with the arguments that it was saved with.",
        )
    return field.to(dtype, copy=True)


def _fits(default: torch.Size, shape: torch.Size) -> bool:
    """Whether merging with the default would leave this shape: a scalar may have grown to a vector by its updates."""
    own = tuple(default)
    return len(shape) >= len(own) and all(a in (1, b) for a, b in zip(own[::-1], tuple(shape)[::-1], strict=False))
