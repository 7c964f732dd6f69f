"""A synchronised compute of the eight metrics of :mod:`benchmarks.collection` on two processes (gloo) that hold uneven data.

"synchronisation" is the time of a compute over both processes less that of a compute of the own state: all that is packed, sent,
waited for, unpacked and merged. Both processes start together, at a barrier that is not timed; the two libraries take turns; the
slower rank counts; nothing is cached. "collectives" are the calls of ``torch.distributed`` in one compute.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
import torchmetrics

import epochal
from benchmarks.collection import BATCH, CLASSES, eight
from benchmarks.timing import Row

SIZE, TURNS, WARM = 2, 150, 10
COLLECTIVES = ("all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "barrier", "broadcast")
COLLECTIVES += ("broadcast_object_list", "gather", "monitored_barrier", "reduce", "reduce_scatter", "scatter")
LIBRARIES = {"ours": epochal, "peer": torchmetrics}


@contextmanager
def counted() -> Iterator[list[str]]:
    """The names of the collectives that the block calls."""
    calls: list[str] = []
    own = {name: getattr(dist, name) for name in COLLECTIVES}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return own[name](*args, **kwargs)

        return call

    try:
        for name in own:
            setattr(dist, name, wrapped(name))
        yield calls
    finally:
        for name, function in own.items():
            setattr(dist, name, function)


def filled(library: Any, rank: int, synchronised: bool) -> Any:
    """The collection after three batches on rank 0 and one on rank 1."""
    collection = eight(library, compute_with_cache=False, sync_on_compute=synchronised)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(3 - 2 * rank):
        preds = torch.randn(BATCH + rank, CLASSES, generator=generator).softmax(-1)
        collection.update(preds, torch.randint(CLASSES, (BATCH + rank,), generator=generator))
    return collection


def seconds(function: Callable[[], Any]) -> float:
    dist.barrier()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measured(rank: int) -> dict[str, float]:
    """What this rank found: the least seconds of each side, with and without the other process, and its collectives."""
    found: dict[str, float] = {}
    collections = {(name, both): filled(library, rank, both) for name, library in LIBRARIES.items() for both in (True, False)}
    for name in LIBRARIES:
        with counted() as calls:
            collections[name, True].compute()
        found[f"{name}: collectives"] = len(calls)
    best = dict.fromkeys(collections, float("inf"))
    for turn in range(WARM + TURNS):
        for key, collection in collections.items():
            spent = seconds(collection.compute)
            if turn >= WARM:
                best[key] = min(best[key], spent)
    for name in LIBRARIES:
        found[f"{name}: compute"] = best[name, True]
        found[f"{name}: synchronisation"] = best[name, True] - best[name, False]
    return found


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=SIZE)
    Path(folder, f"{rank}.json").write_text(json.dumps(measured(rank)))
    dist.destroy_process_group()


def slowest() -> dict[str, float]:
    """What the ranks found, the most of each."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, args=(folder,), nprocs=SIZE)
        found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(SIZE)]
    return {key: max(of[key] for of in found) for key in found[0]}


def rows() -> Iterator[Row]:
    found = slowest()
    for what, needs in (
        ("synchronisation", {"required": 20.0}),
        ("collectives", {"limit": 4, "unit": "calls"}),
        ("compute", {"required": 1.0}),
    ):
        yield Row(f"eight on two processes: {what}", found[f"ours: {what}"], found[f"peer: {what}"], **needs)  # type: ignore[arg-type]
