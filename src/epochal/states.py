"""What a state is: named fields, how two of them merge, and storage that grows.

A :class:`State` is a plain dictionary, one entry per field that ``add_state`` declared. A :class:`Slot` holds the declaration:
the identity of the merge and its reduction. Everything here is pure; only :class:`~epochal.metric.Metric` keeps a state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

State = dict[str, Any]
Reduction = str | Callable[..., Any] | None
REDUCTIONS = ("sum", "mean", "max", "min", "cat")


@dataclass(eq=False)
class Slot:
    """One declared field of a state: its identity, how it reduces, and whether checkpoints hold it."""

    name: str
    default: Tensor | Blocks | list[Any]
    reduction: Reduction
    persistent: bool

    def __post_init__(self) -> None:
        pairwise = PAIRWISE.get(self.reduction) if isinstance(self.reduction, str) else None  # where a merge needs no weights
        narrow = pairwise is not None and isinstance(self.default, Tensor) and self.default.dtype in WIDER
        self.pairwise = _widened(pairwise) if narrow and pairwise else pairwise
        self._share()

    def _share(self) -> None:
        with real_tensors():
            self.shared = self.default.clone() if isinstance(self.default, Tensor) else None
        self.version = version(self.shared)

    def __setstate__(self, state: dict[str, Any]) -> None:  # a copied tensor counts its versions anew
        self.__dict__.update(state)
        self.version = version(self.shared)

    @property
    def is_list(self) -> bool:
        return isinstance(self.default, list)

    @functools.cached_property
    def described(self) -> str:
        """The declaration in words: what must be the same on all processes."""
        kind = self.reduction if isinstance(self.reduction, str) else getattr(self.reduction, "__name__", str(self.reduction))
        form = f" {self.default.dtype} {tuple(self.default.shape)}" if isinstance(self.default, Tensor) else ""
        return f"{self.name}: {kind}{form}"

    def identity(self) -> Tensor | list[Any]:
        """A new list, or one tensor for all that ask: measured states are never changed in place, so they may share it."""
        if isinstance(self.default, list):
            return type(self.default)()
        if version(self.shared) != self.version:  # a user changed it in place after all
            self._share()
        return cast(Tensor, self.shared)

    def is_identity(self, field: Any) -> bool:
        """Whether a field is as :meth:`identity` made it; never by its values."""
        if isinstance(field, Tensor):
            return field is self.shared and version(field) == self.version
        return self.is_list and not field


@dataclass(slots=True)
class Snapshot:
    """All that a metric accumulates: its state, over how many updates, and whether float64 input was among them."""

    state: State
    updates: int
    double: bool = False

    def detached(self) -> Snapshot:
        """Without the graph of the fields, which would live as long as the state."""
        for field in self.state.values():
            if isinstance(field, list) or (isinstance(field, Tensor) and field.requires_grad):
                return Snapshot({name: _detached(field) for name, field in self.state.items()}, self.updates, self.double)
        return self


def _detached(field: Any) -> Any:
    if isinstance(field, Tensor):
        return field.detach() if field.requires_grad else field
    return [_detached(part) for part in field] if isinstance(field, list) else field


def real_tensors() -> AbstractContextManager[Any]:
    """States outlive ``torch.inference_mode``: what is allocated for them must be changeable outside of it."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


class _Block:
    """A buffer with spare rows at its end; ``used`` is where the next writer may begin."""

    __slots__ = ("data", "used")

    def __init__(self, like: Tensor, rows: int) -> None:
        with real_tensors():
            self.data = torch.empty((rows, *like.shape[1:]), dtype=like.dtype, device=like.device)
        self.used = 0

    def takes(self, chunk: Tensor, end: int) -> bool:
        """Whether a list whose view ends at row ``end`` may write ``chunk`` behind it: only one successor can."""
        data = self.data
        return (
            self.used == end
            and chunk.dtype == data.dtype
            and chunk.device == data.device
            and chunk.shape[1:] == data.shape[1:]
            and end + chunk.shape[0] <= data.shape[0]
        )

    def write(self, chunk: Tensor) -> Tensor:
        start, self.used = self.used, self.used + chunk.shape[0]
        self.data[start : self.used].copy_(chunk)
        return self.data[: self.used]


class Blocks(list[Any]):
    """A list of tensors, concatenated as they come: what a "cat" state holds.

    Small chunks are copied together into blocks that grow with the data (by an eighth of it: many tiny tensors would cost four
    times their content), so the length of the list is *not* the number of chunks; ``torch.cat`` of it is what was appended.
    Copies share the blocks: rows that one copy has written are never overwritten by another, so a copy costs a few views.
    """

    __slots__ = ("_open",)
    SMALLEST = 4096  # bytes
    GROWTH = 8  # a new block takes at least an eighth of the rows so far

    def __init__(self, chunks: Iterable[Any] = ()) -> None:
        super().__init__()
        self._open: tuple[Tensor, _Block] | None = None  # the last part and its block, as long as that is the last part
        for chunk in chunks:
            self.append(chunk)

    def append(self, chunk: Any) -> None:
        """Append a tensor of rows; it is detached and copied."""
        if not isinstance(chunk, Tensor) or chunk.ndim == 0:  # nothing to concatenate by rows: kept as it is
            super().append(chunk.detach() if isinstance(chunk, Tensor) else chunk)
            return
        chunk = chunk.detach()
        if self._open is not None and self and self[-1] is self._open[0]:
            part, block = self._open
            if block.takes(chunk, part.shape[0]):
                self[-1] = block.write(chunk)
                self._open = self[-1], block
                return
        rows = sum(part.shape[0] for part in self if isinstance(part, Tensor) and part.ndim)
        row_bytes = max(1, chunk[:1].numel() * chunk.element_size())
        block = _Block(chunk, max(chunk.shape[0], rows // self.GROWTH, self.SMALLEST // row_bytes))
        super().append(block.write(chunk))
        self._open = self[-1], block

    def extend(self, chunks: Iterable[Any]) -> None:
        for chunk in list(chunks):
            self.append(chunk)

    def __iadd__(self, chunks: Iterable[Any]) -> Blocks:  # type: ignore[misc]  # list's own takes any iterable, too
        self.extend(chunks)
        return self

    def copy(self) -> Blocks:
        twin = type(self)()
        list.extend(twin, self)
        twin._open = self._open  # its own class
        return twin

    __copy__ = copy

    def joined(self) -> Tensor:
        """The rows of all chunks as one tensor; of none, an empty one."""
        if len(self) == 1 and self[0].ndim:
            return cast(Tensor, self[0])
        return torch.cat([part if part.ndim else part[None] for part in self]) if self else torch.zeros(0)

    def __deepcopy__(self, memo: Any) -> Blocks:
        return type(self)(part.clone() if isinstance(part, Tensor) else part for part in self)

    def __reduce__(self) -> Any:  # a view would be stored with its whole block
        return type(self), ([part.clone() if isinstance(part, Tensor) else part for part in self],)


def parts(field: Any) -> Sequence[Any]:
    """The chunks of a list field, also where ``measure`` returned a bare tensor for it."""
    return field if isinstance(field, list) else (field,)


def _plus(a: Any, b: Any) -> Any:
    return a if isinstance(b, int) and b == 0 else a + b  # a count of nothing costs nothing


def _maximum(a: Any, b: Any) -> Any:
    return torch.maximum(a, b if isinstance(b, Tensor) else torch.as_tensor(b, dtype=a.dtype, device=a.device))


def _minimum(a: Any, b: Any) -> Any:
    return torch.minimum(a, b if isinstance(b, Tensor) else torch.as_tensor(b, dtype=a.dtype, device=a.device))


def _concatenate(a: Any, b: Any) -> Any:
    joined = a.copy() if isinstance(a, Blocks) else Blocks(parts(a))
    joined.extend(parts(b))
    return joined


WIDER = {
    **dict.fromkeys((dtype for name, dtype in vars(torch).items() if name.startswith("float8")), torch.float32),
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}  # dtypes that torch stores, but does not add or compare


def _widened(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operation on fields of a dtype that torch does not compute in; the result has that dtype again."""
    flip = 0 if operation is _plus else torch.iinfo(torch.int64).min  # the order of uint64 in int64; sums are the same in both

    def widened(a: Tensor, b: Any) -> Any:
        b = b if isinstance(b, Tensor) else torch.as_tensor(b, dtype=a.dtype, device=a.device)
        if a.dtype == b.dtype == torch.uint64:
            return (operation(a.view(torch.int64) ^ flip, b.view(torch.int64) ^ flip) ^ flip).view(torch.uint64)
        out = operation(a.to(WIDER.get(a.dtype)), b.to(WIDER.get(b.dtype)))
        return out.to(a.dtype) if a.dtype == b.dtype else out

    return widened


MEANS = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}  # add up in these


def _mean(fields: Sequence[Any], weights: Sequence[Any]) -> Any:
    """Weighted; a float has its dtype again, an integer becomes float64. What has no weight says nothing, NaN neither."""
    dtype = fields[0].dtype
    floats = dtype.is_floating_point or dtype.is_complex
    wide = MEANS.get(dtype, WIDER.get(dtype, dtype)) if floats else torch.float64
    known = [pair for pair in zip(fields, weights, strict=True) if not (isinstance(pair[1], int) and pair[1] == 0)]
    mean = sum(field.to(wide) * weight for field, weight in known) / sum(weight for _, weight in known)
    return mean.to(dtype) if floats and mean.dtype == wide else mean


PAIRWISE: Mapping[Any, Callable[[Any, Any], Any]] = {
    "sum": _plus,
    "max": _maximum,
    "min": _minimum,
    "cat": _concatenate,
}


def combine(slot: Slot, fields: Sequence[Any], weights: Sequence[Any]) -> Any:
    """Merge one field of several states. ``weights``, the numbers of their updates, count for "mean" alone."""
    if slot.is_list:
        chained = [part for field in fields for part in parts(field)]
        if slot.reduction == "cat":
            return Blocks(chained)
        if callable(slot.reduction):
            return slot.reduction(chained) if chained else chained  # as a list: its parts may differ
        return chained
    if slot.reduction == "mean":
        return _mean(fields, weights) if bool(torch.as_tensor(sum(weights))) else slot.default
    if slot.pairwise is not None:
        return functools.reduce(slot.pairwise, fields)
    stacked = torch.stack(list(fields))
    return slot.reduction(stacked) if callable(slot.reduction) else stacked


def place(value: Any, device: torch.device) -> Any:
    """Move a field; a device without float64 keeps float32 sums."""
    if isinstance(value, Blocks):
        return Blocks(place(part, device) for part in value)
    if isinstance(value, list):
        return [place(part, device) for part in value]
    if not isinstance(value, Tensor):
        return value
    if device.type == "mps" and value.dtype == torch.float64:
        value = value.float()
    return value.to(device)


def version(field: Any) -> Any:
    """A number that grows with each change in place; None where torch keeps none."""
    if isinstance(field, Tensor):
        return None if field.is_inference() else field._version
    return tuple(version(part) for part in field) if isinstance(field, list) else None


def same_versions(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Objects by identity (a key holds them, so that nothing else takes their address), a list by its parts, versions by value."""

    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, list) and isinstance(y, list):
            return len(x) == len(y) and all(p is q for p, q in zip(x, y, strict=True))
        return x is y or (type(x) is type(y) in (bool, int, tuple) and bool(x == y))

    return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
