"""States as bytes: a pickled table of contents in front of the tensors' own bytes. Pure; :mod:`epochal.dist` sends them."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from epochal import check
from epochal.states import Blocks, Loaded, Snapshot, State

if TYPE_CHECKING:
    from epochal.metric import Metric

ALIGN = 16  # bytes, for views of any dtype

Form = tuple[torch.dtype, tuple[int, ...]]
Held = tuple[State, int, bool, Loaded | None]  # as in a Snapshot


@dataclass(frozen=True)
class Packed:
    """What one rank holds: its table of contents, and the bytes that it points to, in chunks that begin at multiples of ALIGN."""

    contents: bytes
    chunks: Sequence[Tensor]


@dataclass(frozen=True)
class Contents:
    """What one rank held: ``states[refs[i]]`` is the state of metric i; ``large`` the forms of the fields that were left out."""

    refs: Sequence[int]
    states: Sequence[Held]
    large: Sequence[Form]


def pack(holders: Sequence[tuple[Metric, Snapshot]], without: Collection[tuple[int, str]], device: torch.device) -> Packed:
    """All fields but those ``without``, on ``device``; a state that several metrics share is packed once."""
    skip = frozenset(without)
    chunks: list[Tensor] = []
    offset = 0

    def put(value: Any) -> Any:
        nonlocal offset
        if isinstance(value, list):
            return ("list", isinstance(value, Blocks), [put(part) for part in value])
        if not isinstance(value, Tensor):
            return ("object", value)
        data = _bytes(value, device)
        count = data.numel()
        entry = ("tensor", value.dtype, tuple(value.shape), offset, count)
        chunks.append(data)
        if pad := -count % ALIGN:
            chunks.append(zeros(device)[:pad])
        offset += count + pad
        return entry

    refs: list[int] = []
    states: list[Any] = []
    seen: dict[Any, int] = {}
    for index, (metric, snapshot) in enumerate(holders):
        part = snapshot.loaded
        key = (id(part), *((name, id(field), (index, name) in skip) for name, field in snapshot.state.items()))
        if key not in seen:
            seen[key] = len(states)
            try:
                fields = {name: put(field) for name, field in snapshot.state.items() if (index, name) not in skip}
                base = part and (part.id, part.updates, {name: put(part.state[name]) for name in fields})
            except Exception as error:
                raise _unsendable(metric, snapshot, error) from error
            states.append((fields, snapshot.updates, snapshot.double, base))
        refs.append(seen[key])
    large = [_form(*holders[index], name) for index, name in without]
    try:
        contents = pickle.dumps((refs, states, large))
    except Exception as error:  # only an object in a list can be at fault
        names = ", ".join(sorted({type(metric).__name__ for metric, _ in holders}))
        raise RuntimeError(check.message(names, f"a state holds what pickle refuses ({error})", "tensors are needed")) from error
    return Packed(contents, chunks)


def unpack(contents: bytes, payload: Tensor) -> Contents:
    """What :func:`pack` packed, its tensors views of ``payload``."""
    refs, states, large = pickle.loads(contents)

    def get(entry: Any) -> Any:
        kind, *rest = entry
        if kind == "list":
            is_blocks, items = rest
            return (Blocks if is_blocks else list)(get(item) for item in items)
        if kind == "object":
            return rest[0]
        dtype, shape, offset, count = rest
        return payload[offset : offset + count].view(dtype).view(shape)

    def all_of(entries: dict[str, Any]) -> State:
        return {name: get(entry) for name, entry in entries.items()}

    held = [(all_of(state), *facts, base and Loaded(base[0], base[1], all_of(base[2]))) for state, *facts, base in states]
    return Contents(refs, held, large)


@lru_cache
def zeros(device: torch.device) -> Tensor:
    """As many as a chunk may need to its end."""
    return torch.zeros(ALIGN, dtype=torch.uint8, device=device)


def _bytes(value: Tensor, device: torch.device) -> Tensor:
    value = value.detach()
    if value.is_conj() or value.is_neg():  # marks of a view, which its bytes do not have
        value = value.resolve_conj().resolve_neg()
    return value.to(device).contiguous().reshape(-1).view(torch.uint8)


def _form(metric: Metric, snapshot: Snapshot, name: str) -> Form:
    field = snapshot.state[name]
    if isinstance(field, Tensor) and (field.device.type == "meta" or field.layout != torch.strided):
        raise _unsendable(metric, snapshot, f"state {name!r} is {field.layout} on {field.device}")
    field = torch.as_tensor(field)
    return field.dtype, tuple(field.shape)


def _unsendable(metric: Metric, snapshot: Snapshot, error: Exception | str) -> RuntimeError:
    if any(isinstance(field, Tensor) and field.device.type == "meta" for field in snapshot.state.values()):
        return RuntimeError(
            check.message(metric, "its state is on 'meta'", "one with values is needed", "Call metric.to_empty(device=...) first.")
        )
    return RuntimeError(check.message(metric, f"its state cannot be sent ({error})", "dense tensors are needed"))
