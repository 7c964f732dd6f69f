"""One exchange for many metrics. This file alone talks to ``torch.distributed``.

:func:`exchange` takes any number of states and returns them merged over all processes, in at most a handful of collectives
however many there are:

1.  One gather of a header, a table of contents and all small fields as bytes. The header holds the sizes, a fingerprint of what
    the rank holds, and whether it could pack it: where these say so, every rank raises the same error, and none hangs.
2.  A second gather, where the bytes are too many to travel with the header.
3.  One all-reduce for each dtype and operation of large fields that merge by it.

What is decided (who takes part in which collective) is decided by the declarations or by what all ranks have gathered, never by
the data of one. The device is waited for once, to read the table of contents, and again only where that came with the second
gather. The file is longer than others since all that can go wrong between processes is said here.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as torch_dist
from torch import Tensor

from epochal import check
from epochal.packing import ALIGN, Contents, Form, Held, Packed, pack, unpack
from epochal.states import Blocks, Loaded, Slot, Snapshot, State, combine, place, separate

if TYPE_CHECKING:
    from epochal.metric import Metric

_alone: ContextVar[bool] = ContextVar("epochal_alone", default=False)

LARGE = 1 << 16  # bytes from which a field is reduced instead of gathered
REDUCED_DTYPES = (torch.float32, torch.float64, torch.int32, torch.int64)  # on every backend; gloo has no int16, uint16, float8
HEADER = 32  # bytes: fingerprint, size of the payload, of its table of contents, and whether packing failed
SMALL = 1 << 15  # bytes that travel with it
FIRST = HEADER + SMALL  # bytes of the first gather
SHOWN = 5  # differences between ranks that an error lists
POINTWISE = ("sum", "mean", "max", "min")


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


def gather(value: Any) -> list[Any]:
    """A picklable object of each process, in the order of ranks."""
    return _Line.to([], None).gather_objects(value) if available() else [value]


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

    Every rank calls it with the same metrics in the same order; a rank without data holds the identity.
    ``gather(tensor, group=group)``, a ``dist_sync_fn``, replaces the exchange by a call for each tensor. Raises RuntimeError, on
    all ranks, where they hold different metrics, or one cannot send its state or holds one of another shape; on those that
    wait, where a rank does not come or is lost. No state of a metric is touched.
    """
    if not holders:
        return []
    if gather is not None:
        return [_gathered_by(gather, metric, snapshot, group) for metric, snapshot in holders]
    line = _Line.to(holders, group)
    reduced = _reduced_fields(holders)
    ranks = _share(line, holders, reduced)
    again = [_repeats([rank.states[rank.refs[index]][3] for rank in ranks]) for index in range(len(holders))]
    sums = _all_reduce(line, holders, reduced, [rank.large for rank in ranks], again)
    merged: dict[Any, Snapshot] = {}
    out = []
    for index, (metric, _) in enumerate(holders):
        entries = tuple(rank.refs[index] for rank in ranks)
        key = entries, _merge_of(metric)
        if key not in merged:  # metrics that share a statistic share its merge
            states = [rank.states[entry] for rank, entry in zip(ranks, entries, strict=True)]
            sums_here = {name: sums[index, name] for i, name in reduced if i == index}
            merged[key] = _fold(line, metric, states, sums_here, again[index])
        out.append(merged[key])
    return out


def _merge_of(metric: Metric) -> Any:
    """What the merge of a state depends on."""
    return type(metric).merge_ranks, type(metric).merge, tuple([(s.name, s.reduction) for s in metric._slots.values()])


# --- the merge -----------------------------------------------------------------------------------------------------------


def _fold(line: _Line, metric: Metric, ranks: Sequence[Held], sums: State, again: Collection[int]) -> Snapshot:
    """The states of all ranks as one, on the metric's device.

    ``sums``: the fields that are reduced already; ``again``: the ranks of which only what came after loading counts.
    """
    weights = [rank[1] for rank in ranks]
    states = [rank[0] for rank in ranks]
    if metric.device != line.device:
        lists = torch.device("cpu") if metric.compute_on_cpu else metric.device
        states = [{k: place(v, lists if isinstance(v, list) else metric.device) for k, v in state.items()} for state in states]
    for rank in again:
        states[rank], weights[rank] = _since(metric, states[rank], weights[rank], ranks[rank][3])
    if _merges_by_field(metric):
        state = dict(sums)
        for slot in metric._slots.values():
            if slot.name not in sums:
                state[slot.name] = combine(slot, *_alike(line, metric, slot, [fields[slot.name] for fields in states], weights))
    else:
        state = metric.merge_ranks([{**fields, "_updates": updates} for fields, updates in zip(states, weights, strict=True)])
    return Snapshot(state, sum(weights), any(rank[2] for rank in ranks))


def _repeats(loaded: Sequence[Loaded | None]) -> set[int]:
    """The ranks that loaded a file which a lower rank loaded, too: what was in it counts there."""
    ids = [part and part.id for part in loaded]
    return {rank for rank, known in enumerate(ids) if known is not None and known in ids[:rank]}


def _since(metric: Metric, state: State, updates: int, loaded: Loaded | None) -> tuple[State, int]:
    """What a metric accumulated after it was loaded, and over how many updates."""
    assert loaded is not None
    if updates == loaded.updates:
        return {name: metric._slots[name].identity() for name in state}, 0
    part = {name: place(field, metric.device) for name, field in loaded.state.items()}
    return metric.unmerge({**state, "_updates": updates}, {**part, "_updates": loaded.updates}), updates - loaded.updates


def _merges_by_field(metric: Metric) -> bool:
    """Whether each field merges by itself, as its declaration says."""
    from epochal.metric import Metric

    return type(metric).merge is Metric.merge and type(metric).merge_ranks is Metric.merge_ranks


def _alike(
    line: _Line, metric: Metric, slot: Slot, fields: Sequence[Any], weights: Sequence[int]
) -> tuple[Sequence[Any], Sequence[int]]:
    """The fields and weights that merge: of one shape, where that is needed.

    A rank whose identity has another shape (a scalar that becomes a vector with the first batch) is left out, where it has no data,
    or none of a kind that has a field of its own.
    """
    if slot.is_list or all(isinstance(field, Tensor) and field.shape == fields[0].shape for field in fields):
        return fields, weights
    fields = [torch.as_tensor(field, device=metric.device) for field in fields]
    if len({field.shape for field in fields}) > 1 and slot.reduction in POINTWISE:
        own = [weight and not _is_declared(slot, field) for field, weight in zip(fields, weights, strict=True)]
        some = [pair for pair, counts in zip(zip(fields, weights, strict=True), own, strict=True) if counts]
        if len({field.shape for field, _ in some}) == 1:
            fields, weights = zip(*some, strict=True)
    forms = [f"has shape {tuple(field.shape)}" for field in fields]
    if len(set(forms)) > 1:
        raise RuntimeError(_unlike(line, metric, slot, forms, "one shape"))
    return fields, weights


def _is_declared(slot: Slot, field: Tensor) -> bool:
    """Whether a field is the scalar that was declared."""
    return isinstance(slot.default, Tensor) and not slot.default.ndim and torch.equal(field, slot.default)


def _unlike(line: _Line, metric: Metric, slot: Slot, forms: Sequence[str], needed: str) -> str:
    kind = slot.reduction if isinstance(slot.reduction, str) else "stacking"
    return check.message(
        metric,
        f"state {slot.name!r} {line.by_rank(forms)}",
        f"{kind} over ranks needs {needed}",
        "Build the metric with the same arguments on every rank, and declare states in their final form.",
    )


# --- large fields --------------------------------------------------------------------------------------------------------


def _reduced_fields(holders: Sequence[tuple[Metric, Snapshot]]) -> list[tuple[int, str]]:
    """The large fields whose merge is an all-reduce: by their declarations, which are the same on all ranks."""
    return [
        (index, slot.name)
        for index, (metric, _) in enumerate(holders)
        for slot in metric._slots.values()
        if slot.reduction in ("sum", "max", "min")
        and isinstance(slot.default, Tensor)
        and slot.default.numel() * slot.default.element_size() >= LARGE
        and slot.default.dtype in REDUCED_DTYPES
        and _merges_by_field(metric)
    ]


def _all_reduce(
    line: _Line,
    holders: Sequence[tuple[Metric, Snapshot]],
    reduced: Sequence[tuple[int, str]],
    forms: Sequence[Sequence[Form]],
    again: Sequence[Collection[int]],
) -> dict[tuple[int, str], Tensor]:
    """Large fields, those of one dtype and operation in one collective. ``forms``: what they are on each rank."""
    batches: dict[tuple[Any, torch.dtype], list[tuple[tuple[int, str], Tensor, _Carrier]]] = {}
    for place_of, (index, name) in enumerate(reduced):
        metric, snapshot = holders[index]
        carrier = _Carrier.of(line, metric, metric._slots[name], [rank[place_of] for rank in forms])
        own = torch.as_tensor(snapshot.state[name]).detach()
        if snapshot.loaded and torch_dist.get_rank(line.group) in again[index]:
            own = separate(metric._slots[name], own, snapshot.loaded.state[name], (1, 0))
        field = carrier.load(own.to(line.device))
        batches.setdefault((carrier.op, field.dtype), []).append(((index, name), field, carrier))
    out: dict[tuple[int, str], Tensor] = {}
    for (op, _), items in batches.items():
        flat = torch.cat([field.reshape(-1) for _, field, _ in items])
        line.reduce(flat, op)
        parts = torch.split(flat, [field.numel() for _, field, _ in items])
        for (key, field, carrier), part in zip(items, parts, strict=True):
            out[key] = carrier.unload(part.view(field.shape)).to(holders[key[0]][0].device)
    return out


@dataclass(frozen=True)
class _Carrier:
    """How a field goes through an all-reduce: a sum in a dtype that every backend has; an extreme as the maximum of integers.

    Backends compare floats in different ways where one is NaN, which would be lost by chance. As integers, the bits of floats
    are in the order of their values, NaN above all: it wins, as it does in ``torch.maximum``.
    """

    reduction: str
    dtype: torch.dtype  # of the result
    wide: torch.dtype

    @classmethod
    def of(cls, line: _Line, metric: Metric, slot: Slot, forms: Sequence[Form]) -> _Carrier:
        """For what the ranks hold, which a class may have assigned otherwise than declared."""
        shapes = [f"has shape {shape}" for _, shape in forms]
        if len(set(shapes)) > 1:
            raise RuntimeError(_unlike(line, metric, slot, shapes, "one shape"))
        try:
            dtype = functools.reduce(torch.promote_types, [dtype for dtype, _ in forms])
        except RuntimeError as error:  # torch knows no common dtype of int32 and uint32
            names = [f"is {dtype}" for dtype, _ in forms]
            raise RuntimeError(_unlike(line, metric, slot, names, "one dtype")) from error
        if dtype.is_complex and slot.reduction != "sum":
            raise RuntimeError(_unlike(line, metric, slot, [f"is {dtype}" for dtype, _ in forms], "real numbers"))
        wide = torch.complex128 if dtype.is_complex else torch.float64 if dtype.is_floating_point else torch.int64
        return cls(str(slot.reduction), dtype, dtype if dtype in REDUCED_DTYPES else wide)

    @property
    def op(self) -> Any:
        return torch_dist.ReduceOp.SUM if self.reduction == "sum" else torch_dist.ReduceOp.MAX

    def load(self, field: Tensor) -> Tensor:
        field = field.to(self.wide)
        if self.wide.is_complex:
            return torch.view_as_real(field)
        if self.reduction == "sum":
            return field
        if not self.wide.is_floating_point:
            return field if self.reduction == "max" else ~field
        field = field if self.reduction == "max" else -field
        return _ordered(torch.where(field.isnan(), torch.nan, field).view(INTEGERS[self.wide]))  # of NaNs, that without a sign

    def unload(self, field: Tensor) -> Tensor:
        if self.wide.is_complex:
            field = torch.view_as_complex(field)
        elif self.reduction != "sum":
            if self.wide.is_floating_point:
                field = _ordered(field).view(self.wide)
                field = field if self.reduction == "max" else -field
            elif self.reduction == "min":
                field = ~field
        return field.to(self.dtype)


INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}  # of the same size


def _ordered(bits: Tensor) -> Tensor:
    """The bits of floats as integers in the order of the floats; its own inverse."""
    info = torch.iinfo(bits.dtype)
    return bits ^ ((bits >> (info.bits - 1)) & info.max)


# --- bytes ---------------------------------------------------------------------------------------------------------------


def _share(line: _Line, holders: Sequence[tuple[Metric, Snapshot]], reduced: Sequence[tuple[int, str]]) -> list[Contents]:
    """What every rank holds, or an error on all of them.

    A rank that fails to pack takes part all the same, with nothing but that it failed: the others would wait for it.
    """
    described: list[Description] = []
    failure: Exception | None = None
    try:
        described = [_describe(metric) for metric, _ in holders]
        packed = pack(holders, reduced, line.device)
    except Exception as error:
        failure, packed = error, Packed(b"", [])
    mark = int.from_bytes(hashlib.blake2b(repr(described).encode(), digest_size=7).digest(), "little")
    head = _aligned(HEADER + len(packed.contents))
    size = head + sum(chunk.numel() for chunk in packed.chunks)
    front = np.zeros(head, dtype=np.uint8)  # an operation of numpy is a fraction of one of torch
    front[:HEADER].view(np.int64)[:] = mark, size, len(packed.contents), failure is not None
    front[HEADER : HEADER + len(packed.contents)] = np.frombuffer(packed.contents, dtype=np.uint8)
    payload = torch.cat([torch.from_numpy(front).to(line.device), *packed.chunks])
    first = line.gather(_resized(payload[:FIRST], FIRST))
    host = first.cpu()  # the one wait for a device
    headers = host[:, :HEADER].numpy().copy().view(np.int64).tolist()
    if any(failed for *_, failed in headers):
        texts = line.gather_objects(failure and str(failure))
        came = [f"rank {rank} failed: {text}" for rank, text in zip(line.ranks, texts, strict=True) if text]
        raise RuntimeError("epochal: the states cannot be exchanged.\n  " + "\n  ".join(came)) from failure
    if len({mark for mark, *_ in headers}) > 1:
        raise RuntimeError(_difference(line, line.gather_objects(described)))
    sizes = [size for _, size, *_ in headers]
    ranks = list(first) if max(sizes) <= FIRST else line.gather_bytes(payload, sizes)
    out = []
    for known, rank, (_, _, length, _) in zip(host, ranks, headers, strict=True):
        end = HEADER + length
        contents = known[HEADER:end] if end <= FIRST else rank[HEADER:end].cpu()
        out.append(unpack(contents.numpy().tobytes(), rank[_aligned(end) :]))
    return out


def _aligned(size: int) -> int:
    return size + -size % ALIGN


def _resized(data: Tensor, size: int) -> Tensor:
    """With zeros at its end."""
    out = torch.zeros(size, dtype=torch.uint8, device=data.device)
    out[: data.numel()] = data
    return out


# --- what must be the same on all ranks -------------------------------------------------------------------------------------

Description = tuple[str, tuple[str, ...]]


def _describe(metric: Metric) -> Description:
    """A metric as far as it must be the same on all ranks: its class, its fields, and what it measures by."""
    config = metric.measured_by()
    own = () if config is None else (re.sub(r" at 0x[0-9a-f]+", "", f"measured by {config!r}"),)
    return type(metric).__name__, (*(slot.described for slot in metric._slots.values()), *own)


def _difference(line: _Line, ranks: Sequence[Sequence[Description]]) -> str:
    """Which metrics differ, by their places, and in what; not those that are the same."""
    count = max(map(len, ranks))
    numbers = [f"holds {len(rank)}" for rank in ranks]
    lines = [f"  the number of metrics: {line.by_rank(numbers)}"] if len(set(numbers)) > 1 else []
    for index in range(count):
        here = [rank[index] if index < len(rank) else ("none", ()) for rank in ranks]
        if len(set(here)) > 1:
            same = set.intersection(*(set(parts) for _, parts in here))
            one_class = len({name for name, _ in here}) == 1
            texts = [f"{name}({', '.join(p for p in parts if p not in same)})" if one_class else name for name, parts in here]
            lines.append(f"  metric {index + 1} of {count}: {line.by_rank(texts)}")
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"  and {len(lines) - SHOWN} more"]
    return (
        "epochal: the ranks hold different metrics, but all ranks must synchronise the same ones in the same order.\n"
        + "\n".join(lines)
        + "\nBuild the same metrics on every rank, and call compute on all of them."
    )


# --- the collectives -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """The way to the other ranks of a group, for the metrics that take it."""

    group: Any
    size: int
    device: torch.device  # where the backend wants its tensors
    names: str

    @classmethod
    def to(cls, holders: Sequence[tuple[Metric, Snapshot]], group: Any) -> _Line:
        names = [type(metric).__name__ for metric, _ in holders]
        name = names[0] if len(names) == 1 else f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}"
        if not (torch_dist.is_available() and torch_dist.is_initialized()):
            came = "it is told that there are other processes (distributed_available_fn)"
            fix = "Call torch.distributed.init_process_group first, or pass a dist_sync_fn."
            raise RuntimeError(check.message(name, came, "torch.distributed has not been initialised", fix))
        if torch_dist.get_rank(group) < 0:
            came = f"rank {torch_dist.get_rank()} is not in its process_group"
            raise RuntimeError(check.message(name, came, "only members can merge", "Pass sync_on_compute=False on the others."))
        return cls(group, torch_dist.get_world_size(group), _comm_device(group), name)

    @property
    def ranks(self) -> list[int]:
        """Their numbers among all processes."""
        return torch_dist.get_process_group_ranks(self.group)

    def by_rank(self, texts: Sequence[str]) -> str:
        """What holds on which ranks."""
        where: dict[str, list[str]] = {}
        for rank, text in zip(self.ranks, texts, strict=True):
            where.setdefault(text, []).append(str(rank))
        return ", ".join(f"{text} on rank{'s' * (len(who) > 1)} {', '.join(who)}" for text, who in where.items())

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensor of every rank, of one shape on all, stacked."""
        out = tensor.new_empty((self.size, *tensor.shape))
        with self._waiting():
            torch_dist.all_gather(list(out.unbind(0)), tensor, group=self.group)
        return out

    def gather_bytes(self, payload: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The payload of every rank; padded to one length, since gloo gathers nothing uneven."""
        padded = _resized(payload, _aligned(max(sizes)))
        return [part[:size] for part, size in zip(self.gather(padded), sizes, strict=True)]

    def gather_objects(self, value: Any) -> list[Any]:
        """A picklable object of every rank."""
        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8).to(self.device)
        sizes = self.gather(torch.tensor([data.numel()], device=self.device)).flatten().tolist()
        return [pickle.loads(part.cpu().numpy().tobytes()) for part in self.gather_bytes(data, sizes)]

    def reduce(self, tensor: Tensor, op: Any) -> None:
        with self._waiting():
            torch_dist.all_reduce(tensor, op=op, group=self.group)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                check.message(
                    self.names,
                    "the states of all processes were waited for, and one did not come in time or was lost",
                    f"all {self.size} have to call compute (or forward with dist_sync_on_step) together",
                    "The local state is as it was, but the process group is unusable from now on: end the processes, or make a new "
                    "group. Code for one rank belongs into rank_zero_only.",
                )
            ) from error


def _gathered_by(gather: Callable[..., Any], metric: Metric, snapshot: Snapshot, group: Any) -> Snapshot:
    """The way of a ``dist_sync_fn``: of a tensor it returns the list of every rank's."""
    counts = gather(torch.tensor([snapshot.updates, snapshot.double], device=metric.device), group=group)
    ranks: list[State] = [{"_updates": int(updates)} for updates, _ in counts]
    for name, field in snapshot.state.items():
        if isinstance(field, Blocks):
            of_ranks = [[part] if part.numel() else [] for part in gather(field.joined(), group=group)]
        elif isinstance(field, list):
            of_ranks = [list(parts) for parts in zip(*(gather(part, group=group) for part in field), strict=True)] or [[]] * len(
                ranks
            )
        else:
            of_ranks = gather(field, group=group)
        for rank, part in zip(ranks, of_ranks, strict=True):
            rank[name] = part
    return Snapshot(metric.merge_ranks(ranks), sum(rank["_updates"] for rank in ranks), any(bool(double) for _, double in counts))


def _comm_device(group: Any) -> torch.device:
    """Where the backend wants its tensors: on the CPU if it can, where a fold of small fields costs least."""
    kinds = [entry.partition(":")[0] for entry in torch_dist.get_backend_config(group).split(",")]
    if "cpu" in kinds:
        return torch.device("cpu")
    return torch.device(kinds[0], torch.get_device_module(kinds[0]).current_device())


def _cpu_group() -> Any:
    """A group that moves CPU tensors: the default one, or a second one beside an accelerator's, made once by all ranks together."""
    world = torch_dist.group.WORLD
    if "gloo" in str(torch_dist.get_backend()):
        return None
    if _beside.get("world") is not world:
        _beside.update(world=world, group=torch_dist.new_group(backend="gloo"))
    return _beside["group"]


_beside: dict[str, Any] = {}  # the default group that a second one was made for, and that one
