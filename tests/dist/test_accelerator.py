"""The exchange where states are on accelerators: through nccl, and through gloo. Skipped where there are none."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.distributed as torch_dist

from epochal.collection import MetricCollection
from tests import toys


def on_devices(rank, size, backend):
    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    group = torch_dist.new_group(backend=backend)
    classes = {"mean": toys.Mean, "rows": toys.Median, "chan": toys.Welford, "large": toys.Histogram, "classic": toys.MyAccuracy}
    metrics = MetricCollection({name: cls(process_group=group) for name, cls in classes.items() if name != "classic"}).to(device)
    classic = classes["classic"](process_group=group).to(device)
    if rank != 1:  # which has no data
        metrics.update(torch.arange(5.0, device=device) + rank)
        classic.update(torch.tensor([rank, 1], device=device), torch.tensor([0, 1], device=device))
    metrics.compute()  # nccl connects
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        with metrics["mean"].sync_context():
            pass
        torch.cuda.set_sync_debug_mode("default")
    values = {**metrics.compute(), "classic": classic.compute()}
    where = {tensor.device for value in values.values() for tensor in (value.values() if isinstance(value, dict) else [value])}
    return {name: torch.utils._pytree.tree_map(torch.Tensor.cpu, value) for name, value in values.items()}, where == {device}, len(waits)


def check(answers, size):
    ranks = [rank for rank in range(size) if rank != 1]
    x = torch.cat([torch.arange(5.0) + rank for rank in ranks]).numpy()
    for values, placed, _ in answers:
        for name, cls in {"mean": toys.Mean, "rows": toys.Median, "chan": toys.Welford, "large": toys.Histogram}.items():
            toys.equal(values[name], toys.TOYS[cls][1](x))
        assert values["classic"] == sum(1 + (rank == 0) for rank in ranks) / (2 * len(ranks))
        assert placed


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="nccl needs a device for each process")
def test_nccl(pair):
    answers = pair.run(on_devices, "nccl")
    check(answers, 2)
    assert all(waits <= 1 for *_, waits in answers)  # to read the table of contents


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_states_on_a_device_travel_through_gloo(pool):
    check(pool.run(on_devices, "gloo"), pool.size)
