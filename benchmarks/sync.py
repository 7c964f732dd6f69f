"""A synchronised compute on two processes (gloo) that hold uneven data: of the eight metrics of :mod:`benchmarks.collection`, which
share a statistic, and of 1, 10 and 100 metrics that share nothing (means, sums, extremes, rows).

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

SIZE, WARM = 2, 3
TURNS = {"eight": 150, "1 metric": 100, "10 metrics": 50, "100 metrics": 15}
AGGREGATIONS = ("Mean", "Sum", "Max", "Min", "Cat")
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


def filled(library: Any, case: str, rank: int, synchronised: bool) -> Any:
    """The metrics of a case, after three batches on rank 0 and one on rank 1."""
    options = {"compute_with_cache": False, "sync_on_compute": synchronised}
    generator = torch.Generator().manual_seed(rank)
    if case == "eight":
        collection = eight(library, **options)
    else:
        classes = [getattr(library.aggregation, f"{AGGREGATIONS[i % 5]}Metric") for i in range(int(case.split()[0]))]
        collection = library.MetricCollection({str(i): cls(**options) for i, cls in enumerate(classes)})
    for _ in range(3 - 2 * rank):
        preds = torch.randn(BATCH + rank, CLASSES, generator=generator).softmax(-1)
        target = torch.randint(CLASSES, (BATCH + rank,), generator=generator)
        collection.update(*((preds, target) if case == "eight" else (preds[:, 0],)))
    return collection


def seconds(function: Callable[[], Any]) -> float:
    dist.barrier()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measured(rank: int) -> dict[str, float]:
    """What this rank found: the least seconds of each side, with and without the other process, and its collectives."""
    found: dict[str, float] = {}
    for case, turns in TURNS.items():
        sides = {(name, both): filled(library, case, rank, both) for name, library in LIBRARIES.items() for both in (True, False)}
        for name in LIBRARIES:
            with counted() as calls:
                sides[name, True].compute()
            found[f"{name}: {case}: collectives"] = len(calls)
        best = dict.fromkeys(sides, float("inf"))
        for turn in range(WARM + turns):
            for key, collection in sides.items():
                spent = seconds(collection.compute)
                if turn >= WARM:
                    best[key] = min(best[key], spent)
        for name in LIBRARIES:
            found[f"{name}: {case}: compute"] = best[name, True]
            found[f"{name}: {case}: synchronisation"] = best[name, True] - best[name, False]
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


REQUIRED = {"eight": 20.0, "1 metric": 1.0, "10 metrics": 4.0, "100 metrics": 15.0}


def rows() -> Iterator[Row]:
    found = slowest()
    for case, required in REQUIRED.items():
        for what, needs in (
            ("synchronisation", {"required": required}),
            ("collectives", {"limit": 1, "unit": "calls"}),
            ("compute", {"required": 1.0}),
        ):
            ours, peer = found[f"ours: {case}: {what}"], found[f"peer: {case}: {what}"]
            yield Row(f"{case} on two processes: {what}", ours, peer, **needs)  # type: ignore[arg-type]
