"""What a state is: named fields, how two of them merge, and storage that grows.

A :class:`State` is a plain dictionary, one entry per field that ``add_state`` declared. A :class:`Slot` holds the declaration:
the identity of the merge and its reduction. Everything here is pure; only :class:`~epochal.metric.Metric` keeps a state.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self

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
        large = isinstance(self.default, Tensor) and self.default.numel() >= LARGE
        self.is_large_sum = self.reduction == "sum" and large and not narrow
        self.pairwise = _widened(pairwise) if narrow and pairwise else _plus_few if self.is_large_sum else pairwise
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

    @property
    def declared(self) -> str:
        """What the field is, in words that a file can hold and a later release can compare."""
        how = self.reduction if isinstance(self.reduction, str | None) else getattr(self.reduction, "__name__", "a function")
        what = f"{kind(self.default.dtype)} {tuple(self.default.shape)}" if isinstance(self.default, Tensor) else "a list"
        return f"{what}, {how}"

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


@dataclass(slots=True, frozen=True, eq=False)
class Loaded:
    """The part of a state that came from a file: which file, over how many updates, and the fields, of lists the length alone."""

    id: int
    updates: int
    state: State


@dataclass(slots=True, frozen=True, eq=False)
class Rest:
    """What is yet to be added to large sums, and how many metrics hold these, all of which will take the result."""

    parts: State
    holders: int


@dataclass(slots=True)
class Snapshot:
    """All that a metric accumulates: its state, over how many updates, and whether float64 input was among them."""

    state: State
    updates: int
    double: bool = False
    loaded: Loaded | None = None
    rest: Rest | None = None

    def settle(self) -> None:
        """Add what was left to be added to large sums: in place, or not if somebody has taken hold of them since."""
        if self.rest is not None:
            for name, part in self.rest.parts.items():
                add = _add_into if is_held_by(self.rest.holders + 1, self.state, name) else _plus_few
                self.state[name] = add(self.state[name], part)
            self.rest = None

    def dense(self) -> Snapshot:
        """With :func:`few` counts as the tables that they are."""
        return replace(self, state={name: full(field) for name, field in self.state.items()})

    def detached(self) -> Snapshot:
        """Without the graph of the fields, which would live as long as the state."""
        for field in self.state.values():
            if isinstance(field, list) or (isinstance(field, Tensor) and field.requires_grad):
                return replace(self, state={name: _detached(field) for name, field in self.state.items()})
        return self


def _detached(field: Any) -> Any:
    if isinstance(field, Tensor):
        return field.detach() if field.requires_grad else field
    return [_detached(part) for part in field] if isinstance(field, list) else field


def real_tensors() -> AbstractContextManager[Any]:
    """States outlive ``torch.inference_mode``: what is allocated for them must be changeable outside of it."""
    inference = not is_dynamo_compiling() and torch.is_inference_mode_enabled()
    return torch.inference_mode(False) if inference else nullcontext()


class _Block:
    """A buffer with spare rows at its end; ``used`` is where the next writer may begin."""

    __slots__ = ("data", "used")

    def __init__(self, like: Tensor, rows: int) -> None:
        with real_tensors():
            self.data = torch.empty((rows, *like.shape[1:]), dtype=like.dtype, device=like.device)
        self.used = 0

    def room(self, end: int) -> int:
        """How many rows a list whose view ends at row ``end`` may write behind it: only one successor can."""
        return self.data.shape[0] - end if self.used == end else 0

    def write(self, chunk: Tensor) -> Tensor:
        start, self.used = self.used, self.used + chunk.shape[0]
        self.data[start : self.used].copy_(chunk)
        return self.data[: self.used]


class Blocks(list[Any]):
    """A list of tensors, concatenated as they come: what a "cat" state holds.

    Chunks are copied together into blocks that grow with the data (by an eighth of it: many tiny tensors would cost four times
    their content), so the parts of the list are *not* the chunks; ``torch.cat`` of it is what was appended. Only the last part has
    room behind it.
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
        if self and _alike(self[-1], chunk):
            rest = self._fill(chunk)
            if rest is None:
                return
            chunk = rest
        self._close()
        rows = 0
        for part in reversed(self):
            if not _alike(part, chunk):
                break
            rows += part.shape[0]
        row_bytes = max(1, chunk[:1].numel() * chunk.element_size())
        block = _Block(chunk, max(chunk.shape[0], rows // self.GROWTH, self.SMALLEST // row_bytes))
        super().append(block.write(chunk))
        self._open = self[-1], block

    def _fill(self, chunk: Tensor) -> Tensor | None:
        """Write into the open block what it has room for; returns the rest, if there is any."""
        if self._open is not None and self[-1] is self._open[0]:
            part, block = self._open
            room, rows = block.room(part.shape[0]), chunk.shape[0]
            if room and rows:
                self[-1] = block.write(chunk if rows <= room else chunk[:room])
                self._open = self[-1], block
                return None if rows <= room else chunk[room:]
        return chunk if chunk.shape[0] else None

    def _close(self) -> None:
        """No room is kept behind a last part that will not go on: another dtype follows, or another copy has written there."""
        if self._open is not None and self and self[-1] is self._open[0]:
            part, block = self._open
            if part.shape[0] < block.data.shape[0]:
                with real_tensors():
                    self[-1] = part.clone()
        self._open = None

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

    @classmethod
    def of(cls, chunks: Iterable[Any]) -> Self:
        """These very chunks, not copied: for reading; what is appended begins a block of its own."""
        blocks = cls()
        list.extend(blocks, chunks)
        return blocks

    def joined(self) -> Tensor:
        """The rows of all chunks as one tensor; of none, an empty one."""
        if len(self) == 1 and self[0].ndim:
            return cast(Tensor, self[0])
        return torch.cat([part if part.ndim else part[None] for part in self]) if self else torch.zeros(0)

    def __deepcopy__(self, memo: Any) -> Blocks:
        return type(self)(part.clone() if isinstance(part, Tensor) else part for part in self)

    def __reduce__(self) -> Any:  # a view would be stored with its whole block
        return type(self), ([part.clone() if isinstance(part, Tensor) else part for part in self],)


def _alike(part: Any, chunk: Tensor) -> bool:
    """Whether both can be rows of one block."""
    return (
        isinstance(part, Tensor)
        and part.ndim == chunk.ndim
        and part.dtype == chunk.dtype
        and part.device == chunk.device
        and part.shape[1:] == chunk.shape[1:]
    )


def parts(field: Any) -> Sequence[Any]:
    """The chunks of a list field, also where ``measure`` returned a bare tensor for it."""
    return field if isinstance(field, list) else (field,)


def _plus(a: Any, b: Any) -> Any:
    return a if isinstance(b, int) and b == 0 else a + b  # a count of nothing costs nothing


# --- large sums: no batch rebuilds them -----------------------------------------------------------------------------------

LARGE = 1 << 16  # elements


def few(index: Tensor, values: Tensor, size: int) -> Tensor:
    """A large table of which few cells are not 0, as torch's sparse tensor; an index out of range is a RuntimeError."""
    return torch.sparse_coo_tensor(index.reshape(1, -1), values, (size,), check_invariants=True)


def full(field: Any) -> Any:
    """A field as formulas take it: :func:`few` counts as the table that they are."""
    return field.to_dense() if isinstance(field, Tensor) and field.is_sparse else field


def _plus_few(a: Any, b: Any) -> Any:
    """The sum of large tables, of which either may be :func:`few` counts."""
    with real_tensors():  # which can be added to in place later on
        if isinstance(b, Tensor) and a.is_sparse != b.is_sparse:
            table, counts = (b, a) if a.is_sparse else (a, b)
            return _add_into(table.clone(), counts)
        return _plus(a, b)


def _add_into(a: Tensor, b: Any) -> Tensor:
    if isinstance(b, Tensor) and b.is_sparse and a.ndim == 1:  # what add_ does, without a pass over all of ``a``
        return a.scatter_add_(0, b._indices()[0], b._values())
    return a.add_(b)


def _references(holder: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """To a tensor: from Python, from torch's own structures (a graph, DLPack), and to its memory (views and NumPy, Python)."""
    memory = holder[name].untyped_storage()
    counts = torch._C._storage_Use_Count(memory._cdata), sys.getrefcount(memory)
    return sys.getrefcount(holder[name]), holder[name]._use_count(), *counts


# Whether torch counts: these have no public names, and a release may lack them. Then no sum is added to in place.
COUNTED = hasattr(torch.Tensor, "_use_count") and hasattr(torch._C, "_storage_Use_Count")
ONE = _references({"": torch.empty(0)}, "") if COUNTED else ()


def is_held_by(holders: int, holder: Mapping[str, Any], name: str) -> bool:
    """Whether a tensor is in so many dictionaries, of which ``holder`` is one, and nobody else can see it change."""
    if not COUNTED:
        return False
    python, *others = _references(holder, name)
    return python - ONE[0] == holders - 1 and tuple(others) == ONE[1:]


def is_addable(field: Any, part: Any) -> bool:
    """Whether a part can be added in place to a field: it has its form, and the field's memory is torch's, and of this process."""
    return (
        type(field) is Tensor
        and type(part) is Tensor
        and (field.dtype, field.shape, field.device) == (part.dtype, part.shape, part.device)
        and not (field.is_sparse or field.requires_grad or field.is_inference())
        and field.is_contiguous()
        and field.untyped_storage().resizable()  # not NumPy's, nor a file's
        and not (field.device.type == "cpu" and field.is_shared())  # type: ignore[no-untyped-call]
    )


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
            return Blocks.of(chained)
        if callable(slot.reduction):
            return slot.reduction(chained) if chained else chained  # as a list: its parts may differ
        return chained
    if slot.reduction == "mean":
        return _mean(fields, weights) if bool(torch.as_tensor(sum(weights))) else slot.default
    if slot.pairwise is not None:
        return functools.reduce(slot.pairwise, fields)
    stacked = torch.stack(list(fields))
    return slot.reduction(stacked) if callable(slot.reduction) else stacked


def separate(slot: Slot, whole: Any, part: Any, weights: tuple[Any, Any]) -> Any:
    """What is left of a field when ``part`` is taken out of it: the inverse of :func:`combine`.

    Of a list, ``part`` is its :func:`extent`; of a maximum what is left may be the whole, since merging it twice changes nothing.
    Raises LookupError where a reduction has no inverse.
    """
    if slot.is_list:
        return tail(whole, part)
    if slot.reduction in ("max", "min") or (slot.reduction == "sum" and whole.dtype == torch.bool):
        return whole
    if slot.reduction == "sum":
        return torch.where(whole == part, torch.zeros_like(whole), whole - part)  # two infinities would leave NaN
    if slot.reduction == "mean":
        return (whole * weights[0] - part * weights[1]) / (weights[0] - weights[1])
    raise LookupError(slot.name)


def extent(field: Any) -> int:
    """How long a list field is: in rows where they are concatenated, else in items."""
    if isinstance(field, Blocks):
        return sum(part.shape[0] if part.ndim else 1 for part in field)
    return len(field)


def tail(field: Any, start: int) -> Any:
    """A list field from a place on."""
    if not isinstance(field, Blocks):
        return field[start:]
    rest = Blocks()
    for part in field:
        rows = part if part.ndim else part[None]
        if start < rows.shape[0]:
            rest.append(rows[start:])
        start = max(0, start - rows.shape[0])
    return rest


def kind(dtype: torch.dtype) -> str:
    """What a dtype holds, whatever its width."""
    if dtype == torch.bool:
        return "bools"
    return "complex numbers" if dtype.is_complex else "floats" if dtype.is_floating_point else "integers"


def size(field: Any) -> int:
    """The bytes of a list field's data."""
    return sum(part.numel() * part.element_size() if isinstance(part, Tensor) else sys.getsizeof(part) for part in parts(field))


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
