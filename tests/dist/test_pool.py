"""The pool itself: results by rank, errors with their traceback, and a fresh start after a rank was lost."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist

from tests.dist.pool import RankError


def ranks(rank, size):
    total = torch.tensor(rank)
    dist.all_reduce(total)
    return rank, size, int(total)


def fails_on_one(rank, size):
    if rank == 1:
        raise ValueError("only here")


def dies(rank, size):
    if rank == 1:
        os._exit(3)


def test_every_rank_answers(pool):
    assert pool.run(ranks) == [(rank, pool.size, sum(range(pool.size))) for rank in range(pool.size)]


@pytest.mark.parametrize(("job", "text"), [(fails_on_one, "only here"), (dies, "code 3")])
def test_a_fault_is_reported_and_the_pool_goes_on(pair, job, text):
    with pytest.raises(RankError, match=text) as caught:
        pair.run(job)
    assert caught.value.errors[0] is None
    assert pair.run(ranks) == [(0, 2, 1), (1, 2, 1)]
