"""What the benchmark of synchronisation compares is the same work with the same result, and it counts collectives."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchmetrics")

import torch.distributed as dist

from benchmarks import sync


def both(rank, size, case):
    values, collectives = {}, {}
    for name, library in sync.LIBRARIES.items():
        collection = sync.filled(library, case, rank, True)
        with sync.counted() as calls:
            values[name] = {key: value.clone() for key, value in collection.compute().items()}
            first = len(calls)
            collection.compute()
        collectives[name] = first, len(calls)
        with sync.counted() as calls:
            sync.filled(library, case, rank, False).compute()
        collectives[f"{name}, alone"] = len(calls)
    return values, collectives


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["eight", "10 metrics"])
def test_same_values_and_every_compute_synchronises(pair, case):
    for values, collectives in pair.run(both, case):
        assert values["ours"].keys() == values["peer"].keys()
        for key, value in values["ours"].items():
            torch.testing.assert_close(value, values["peer"][key], rtol=1e-5, atol=1e-6)
        assert collectives["ours"][0] == 1
        for name in sync.LIBRARIES:
            once, twice = collectives[name]
            assert twice == 2 * once > 0, "nothing is cached"
            assert collectives[f"{name}, alone"] == 0


def test_counted_puts_the_functions_back():
    own = {name: getattr(dist, name) for name in sync.COLLECTIVES}
    with sync.counted():
        assert dist.barrier is not own["barrier"]
    assert own == {name: getattr(dist, name) for name in sync.COLLECTIVES}
