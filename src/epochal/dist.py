"""One exchange for many metrics. This file alone talks to ``torch.distributed``.

:func:`exchange` takes any number of states and returns them merged over all processes, in at most a handful of collectives
however many there are: one gather of sizes, of a fingerprint of what each rank holds (ranks that hold different metrics get an
error on every rank, not a hang) and of all small fields packed into bytes; a second where these are large; one all-reduce per
dtype and operation for large fields that merge by it.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as torch_dist
from torch import Tensor

from epochal.states import Blocks, Snapshot, State, combine, place

if TYPE_CHECKING:
    from epochal.metric import Metric

_alone: ContextVar[bool] = ContextVar("epochal_alone", default=False)

LARGE = 1 << 16  # bytes from which a field is reduced instead of gathered
REDUCED_DTYPES = (torch.float32, torch.float64, torch.int32, torch.int64)  # on every backend; gloo has no int16, uint16, float8
ALIGN = 16  # bytes, for views of any dtype
SMALL = 1 << 15  # bytes that travel with the sizes


def available() -> bool:
    """Whether there are other processes to merge with."""
    if not torch_dist.is_available():
        return False
    world = torch_dist.group.WORLD  # asked for several times by each metric: get_world_size takes three times as long
    return world is not None and world.size() > 1


def is_alone() -> bool:
    """Whether this code runs on one rank only, so that nothing may wait for the others."""
    return _alone.get()


def is_world(group: Any) -> bool:
    """Whether a group is that of all processes."""
    return available() and group is torch_dist.group.WORLD


def any_rank(*facts: bool) -> tuple[bool, ...]:
    """Which of these hold on any process: what decides if all take part must be the same on all.

    One small collective, on the CPU whatever the backend, so that no device is waited for.
    """
    if not available():
        return facts
    flags = torch.tensor(facts, dtype=torch.int32)
    torch_dist.all_reduce(flags, op=torch_dist.ReduceOp.MAX, group=_cpu_group())
    return tuple(flags.bool().tolist())


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Each parameter's gradient becomes the mean over all processes, where one that has none counts as zero.

    One small collective for which of them exist, and one for each dtype and device. A gradient that is on no process stays None.
    """
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter, exists in zip(parameters, any_rank(*(p.grad is not None for p in parameters)), strict=True):
        if exists:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            groups.setdefault((parameter.dtype, parameter.device), []).append(parameter.grad)
    for gradients in groups.values():
        together = torch.cat([gradient.flatten() for gradient in gradients])
        torch_dist.all_reduce(together)
        together /= torch_dist.get_world_size()
        for gradient, mean in zip(gradients, torch.split(together, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


@contextmanager
def alone() -> Iterator[None]:
    """Code for one rank: inside, ``compute`` reads the local state and waits for nobody."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def exchange(
    holders: Sequence[tuple[Metric, Snapshot]], group: Any = None, gather: Callable[..., Any] | None = None
) -> list[Snapshot]:
    """The states of all processes of ``group``, merged by their metrics in the order of ranks.

    Every rank calls it with the same metrics in the same order; a rank without data holds the identity. ``gather(tensor, group)``,
    a ``dist_sync_fn``, replaces the exchange by one call for each field. Raises RuntimeError, on all ranks, where they hold
    different metrics.
    """
    if not holders:
        return []
    if gather is not None:
        return [_gathered_by(gather, metric, snapshot, group) for metric, snapshot in holders]
    device = _comm_device(group)
    reduced = _reduced_fields(holders)
    payload = _pack(holders, reduced, device)
    ranks = [_unpack(part) for part in _share(holders, payload, group, device)]
    sums = _all_reduce(holders, reduced, group, device)
    merged: dict[Any, Snapshot] = {}
    out = []
    for index, (metric, _) in enumerate(holders):
        entries = tuple(rank["refs"][index] for rank in ranks)
        key = (entries, type(metric).merge_ranks, type(metric).merge, tuple((s.name, s.reduction) for s in metric._slots.values()))
        if key not in merged:  # metrics that share a statistic share its merge
            states = [rank["states"][entry] for rank, entry in zip(ranks, entries, strict=True)]
            merged[key] = _fold(metric, states, {name: sums[index, name] for i, name in reduced if i == index})
        out.append(merged[key])
    return out


def _fold(metric: Metric, ranks: Sequence[tuple[State, int, bool]], sums: State) -> Snapshot:
    states: list[State] = [{name: place(field, metric.device) for name, field in state.items()} for state, _, _ in ranks]
    weights = [updates for _, updates, _ in ranks]
    if sums:  # never of a metric with a merge of its own
        slots = metric._slots.values()
        state = {s.name: sums[s.name] if s.name in sums else combine(s, [f[s.name] for f in states], weights) for s in slots}
    else:
        state = metric.merge_ranks([{**fields, "_updates": updates} for fields, updates in zip(states, weights, strict=True)])
    return Snapshot(state, sum(weights), any(rank[2] for rank in ranks))


def _reduced_fields(holders: Sequence[tuple[Metric, Snapshot]]) -> list[tuple[int, str]]:
    """The large fields whose merge is an all-reduce."""
    from epochal.metric import Metric

    return [
        (index, slot.name)
        for index, (metric, snapshot) in enumerate(holders)
        if type(metric).merge is Metric.merge and type(metric).merge_ranks is Metric.merge_ranks
        for slot in metric._slots.values()
        if slot.reduction in ("sum", "max", "min")
        and isinstance(slot.default, Tensor)  # of the same shape on all ranks: decided by the declaration, never by the data
        and slot.default.numel() * slot.default.element_size() >= LARGE
        and slot.default.dtype in REDUCED_DTYPES
        and isinstance(snapshot.state[slot.name], Tensor)
    ]


def _all_reduce(
    holders: Sequence[tuple[Metric, Snapshot]], reduced: Sequence[tuple[int, str]], group: Any, device: torch.device
) -> dict[tuple[int, str], Tensor]:
    """Large fields, those of one dtype and operation in one collective."""
    batches: dict[tuple[str, torch.dtype], list[tuple[int, str]]] = {}
    for index, name in reduced:
        slot = holders[index][0]._slots[name]
        assert isinstance(slot.default, Tensor)
        assert isinstance(slot.reduction, str)
        batches.setdefault((slot.reduction, slot.default.dtype), []).append((index, name))
    out: dict[tuple[int, str], Tensor] = {}
    for (reduction, dtype), items in batches.items():
        fields = [holders[index][1].state[name].to(device=device, dtype=dtype) for index, name in items]
        flat = torch.cat([field.reshape(-1) for field in fields])
        torch_dist.all_reduce(flat, op=getattr(torch_dist.ReduceOp, reduction.upper()), group=group)
        for item, field, part in zip(items, fields, torch.split(flat, [field.numel() for field in fields]), strict=True):
            out[item] = part.view(field.shape).to(holders[item[0]][0].device)
    return out


def _describe(holders: Sequence[tuple[Metric, Snapshot]]) -> list[str]:
    """What a rank holds, as far as it must be the same on all: classes, fields, their reductions and fixed shapes."""
    out = []
    for metric, _ in holders:
        fields = []
        for slot in metric._slots.values():
            kind = slot.reduction if isinstance(slot.reduction, str) else getattr(slot.reduction, "__name__", str(slot.reduction))
            fixed = isinstance(slot.default, Tensor) and kind in ("sum", "mean", "max", "min")
            form = f" {slot.default.dtype} {tuple(slot.default.shape)}" if fixed and isinstance(slot.default, Tensor) else ""
            fields.append(f"{slot.name}: {kind}{form}")
        out.append(f"{type(metric).__name__}({', '.join(fields)})")
    return out


def _share(holders: Sequence[tuple[Metric, Snapshot]], payload: Tensor, group: Any, device: torch.device) -> list[Tensor]:
    """The payload of every rank; raises on all of them if any holds other metrics.

    One gather tells sizes and fingerprints, and carries what is small as well; a large payload takes a second.
    """
    described = _describe(holders)
    mark = int.from_bytes(hashlib.blake2b(repr(described).encode(), digest_size=7).digest(), "little")
    first = np.zeros(ALIGN + SMALL, dtype=np.uint8)  # an operation of numpy is a fraction of one of torch
    first[:ALIGN].view(np.int64)[:] = mark, payload.numel()
    first[ALIGN : ALIGN + payload.numel()] = payload[:SMALL].cpu().numpy()
    ranks = _gather_tensor(torch.from_numpy(first).to(device), group)
    headers = ranks[:, :ALIGN].cpu().numpy().copy().view(np.int64).tolist()
    if len({mark for mark, _ in headers}) == 1:
        sizes = [size for _, size in headers]
        if max(sizes) > SMALL:
            return _gather_bytes(payload, sizes, group, device)
        return [rank[ALIGN : ALIGN + size] for rank, size in zip(ranks, sizes, strict=True)]
    text = torch.frombuffer(bytearray(pickle.dumps(described)), dtype=torch.uint8).to(device)
    lengths = _gather_tensor(torch.tensor([text.numel()], device=device), group).flatten().tolist()
    held = [pickle.loads(bytes(part.cpu().numpy())) for part in _gather_bytes(text, lengths, group, device)]
    lines = [f"  rank {rank}: {', '.join(what)}" for rank, what in enumerate(held)]
    raise RuntimeError(
        "epochal: the ranks hold different metrics, but all ranks must synchronise the same ones in the same order.\n"
        + "\n".join(lines)
        + "\nBuild the same metrics on every rank, and call compute on all of them."
    )


def _pack(holders: Sequence[tuple[Metric, Snapshot]], reduced: Sequence[tuple[int, str]], device: torch.device) -> Tensor:
    """All fields as bytes behind a pickled table of contents; a state that several metrics share is packed once."""
    skip = set(reduced)
    chunks: list[Tensor] = []
    offset = 0

    def put(value: Any) -> Any:
        nonlocal offset
        if isinstance(value, list):
            return ("list", isinstance(value, Blocks), [put(part) for part in value])
        if not isinstance(value, Tensor):
            return ("object", value)
        data = value.detach().to(device).contiguous().reshape(-1).view(torch.uint8)
        entry = ("tensor", value.dtype, tuple(value.shape), offset, data.numel())
        pad = -data.numel() % ALIGN
        chunks.append(torch.nn.functional.pad(data, (0, pad)) if pad else data)
        offset += data.numel() + pad
        return entry

    refs: list[int] = []
    states: list[Any] = []
    seen: dict[Any, int] = {}
    for index, (_, snapshot) in enumerate(holders):
        key = tuple((name, id(field), (index, name) in skip) for name, field in snapshot.state.items())
        if key not in seen:
            seen[key] = len(states)
            fields = {name: put(field) for name, field in snapshot.state.items() if (index, name) not in skip}
            states.append((fields, snapshot.updates, snapshot.double))
        refs.append(seen[key])
    contents = pickle.dumps((refs, states))
    head = len(contents).to_bytes(8, "little") + contents
    head += bytes(-len(head) % ALIGN)
    return torch.cat([torch.frombuffer(bytearray(head), dtype=torch.uint8).to(device), *chunks])


def _unpack(payload: Tensor) -> dict[str, Any]:
    size = int.from_bytes(bytes(payload[:8].cpu().numpy()), "little")
    refs, states = pickle.loads(bytes(payload[8 : 8 + size].cpu().numpy()))
    start = 8 + size + (-(8 + size) % ALIGN)

    def get(entry: Any) -> Any:
        kind, *rest = entry
        if kind == "list":
            is_blocks, items = rest
            return (Blocks if is_blocks else list)(get(item) for item in items)
        if kind == "object":
            return rest[0]
        dtype, shape, offset, count = rest
        return payload[start + offset : start + offset + count].view(dtype).view(shape)

    return {
        "refs": refs,
        "states": [({name: get(entry) for name, entry in fields.items()}, updates, double) for fields, updates, double in states],
    }


def _gather_bytes(payload: Tensor, sizes: Sequence[int], group: Any, device: torch.device) -> list[Tensor]:
    """The payload of every rank; padded to one length, since gloo gathers nothing uneven."""
    length = max(sizes) + -max(sizes) % ALIGN
    padded = torch.zeros(length, dtype=torch.uint8, device=device)
    padded[: payload.numel()] = payload
    return [part[:size] for part, size in zip(_gather_tensor(padded, group), sizes, strict=True)]


def _gather_tensor(tensor: Tensor, group: Any) -> Tensor:
    out = tensor.new_empty((torch_dist.get_world_size(group), *tensor.shape))
    torch_dist.all_gather(list(out.unbind(0)), tensor, group=group)
    return out


def _gathered_by(gather: Callable[..., Any], metric: Metric, snapshot: Snapshot, group: Any) -> Snapshot:
    """The way of a ``dist_sync_fn``: it returns the list of every rank's tensor."""
    fields = {
        name: gather(field.joined() if isinstance(field, Blocks) else field, group)
        for name, field in {**snapshot.state, "_updates": torch.tensor(snapshot.updates, device=metric.device)}.items()
    }
    ranks = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    return Snapshot(metric.merge_ranks(ranks), int(torch.stack(list(fields["_updates"])).sum()), snapshot.double)


def _comm_device(group: Any) -> torch.device:
    """Where the backend wants its tensors."""
    if "nccl" in str(torch_dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _cpu_group() -> Any:
    """A group that moves CPU tensors: the default one, or a second one beside an accelerator's, made once by all ranks together."""
    world = torch_dist.group.WORLD
    if "gloo" in str(torch_dist.get_backend()):
        return None
    if _beside.get("world") is not world:
        _beside.update(world=world, group=torch_dist.new_group(backend="gloo"))
    return _beside["group"]


_beside: dict[str, Any] = {}  # the default group that a second one was made for, and that one
