"""Pools of processes, started at the first test that needs them and kept for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.dist.pool import Pool

torch.set_num_threads(1)  # tests are small, and run side by side


@pytest.fixture(scope="session")
def pools() -> Iterator[dict[int, Pool]]:
    started = {size: Pool(size) for size in (2, 3, 4)}
    yield started
    for pool in started.values():
        pool.stop()


@pytest.fixture(params=[2, 3, 4])
def pool(request, pools) -> Pool:
    """A pool of each size."""
    return pools[request.param]


@pytest.fixture
def pair(pools) -> Pool:
    """Two processes."""
    return pools[2]
