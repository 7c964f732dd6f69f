"""States as bytes: a pickled table of contents in front of the tensors' own bytes. Pure; :mod:`epochal.dist` sends them."""

from __future__ import annotations

import math
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
COPIED = 1 << 12  # bytes from which a copy costs more than the call that it saves

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
    """All fields but those ``without``, on ``device``; a state that several metrics share is packed once.

    Tensors of one dtype and shape are stacked: a hundred counts cost what one costs, here and in :func:`unpack`.
    """
    skip = frozenset(without)
    groups: dict[Form, tuple[int, list[Tensor]]] = {}

    def put(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.is_meta or value.layout is not torch.strided:
                raise _Unsendable(value)
            number, members = groups.setdefault((value.dtype, value.shape), (len(groups), []))
            members.append(value)
            return number, len(members) - 1
        if isinstance(value, list):
            return [isinstance(value, Blocks), *map(put, value)]
        return (value,)

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
            except _Unsendable as error:
                raise error.of(metric) from None
            states.append((fields, snapshot.updates, snapshot.double, base))
        refs.append(seen[key])
    chunks: list[Tensor] = []
    for _, members in groups.values():
        parts = [members] if members[0].nbytes < COPIED else [[member] for member in members]
        chunks.extend(_bytes(part, device) for part in parts)
        if pad := -sum(member.nbytes for member in members) % ALIGN:
            chunks.append(zeros(device)[:pad])
    large = [_form(*holders[index], name) for index, name in without]
    forms = [(dtype, len(members), tuple(shape)) for (dtype, shape), (_, members) in groups.items()]
    try:
        contents = pickle.dumps((refs, states, forms, large))
    except Exception as error:  # only an object in a list can be at fault
        names = ", ".join(sorted({type(metric).__name__ for metric, _ in holders}))
        raise RuntimeError(check.message(names, f"a state holds what pickle refuses ({error})", "tensors are needed")) from error
    return Packed(contents, chunks)


def unpack(contents: bytes, payload: Tensor) -> Contents:
    """What :func:`pack` packed, its tensors views of ``payload``."""
    refs, states, forms, large = pickle.loads(contents)
    groups: list[tuple[Tensor, ...]] = []
    offset = 0
    for dtype, number, shape in forms:
        count = number * math.prod(shape) * dtype.itemsize
        groups.append(payload[offset : offset + count].view(dtype).view(number, *shape).unbind(0))
        offset += count + -count % ALIGN

    def get(entry: Any) -> Any:
        if isinstance(entry, list):
            is_blocks, *items = entry
            return (Blocks.of if is_blocks else list)(map(get, items))
        return groups[entry[0]][entry[1]] if len(entry) == 2 else entry[0]

    def all_of(entries: dict[str, Any]) -> State:
        return {name: get(entry) for name, entry in entries.items()}

    held = [(all_of(state), *facts, base and Loaded(base[0], base[1], all_of(base[2]))) for state, *facts, base in states]
    return Contents(refs, held, large)


@lru_cache
def zeros(device: torch.device) -> Tensor:
    """As many as a chunk may need to its end."""
    return torch.zeros(ALIGN, dtype=torch.uint8, device=device)


def _bytes(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    with torch.no_grad():
        tensors = [tensor.to(device) for tensor in tensors]
        data = torch.stack(tensors) if len(tensors) > 1 else tensors[0].detach()
        if data.is_conj() or data.is_neg():  # marks of a view, which its bytes do not have
            data = data.resolve_conj().resolve_neg()
        return data.contiguous().reshape(-1).view(torch.uint8)


def _form(metric: Metric, snapshot: Snapshot, name: str) -> Form:
    field = snapshot.state[name]
    if isinstance(field, Tensor) and (field.is_meta or field.layout is not torch.strided):
        raise _Unsendable(field).of(metric)
    field = torch.as_tensor(field)
    return field.dtype, tuple(field.shape)


class _Unsendable(Exception):
    """A tensor without bytes."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def of(self, metric: Metric) -> RuntimeError:
        if self.tensor.is_meta:
            fix = "Call metric.to_empty(device=...) first."
            return RuntimeError(check.message(metric, "its state is on 'meta'", "one with values is needed", fix))
        return RuntimeError(check.message(metric, f"a state is a tensor of {self.tensor.layout}", "dense ones are needed"))
