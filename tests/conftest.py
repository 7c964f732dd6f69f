"""Pools of processes, started at the first test that needs them and kept for the session."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch

from tests.dist.pool import Pool

torch.set_num_threads(1)  # tests are small, and run side by side


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """As in a terminal, for the programs that tests start, too: what a shell runs in the background is told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
