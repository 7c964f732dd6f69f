"""Code for rank 0 alone, in which nothing waits for the other ranks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch.distributed as torch_dist

from epochal import dist

P = ParamSpec("P")
T = TypeVar("T")


def rank() -> int:
    """This process's rank: what ``torch.distributed`` says, before that the launcher's environment."""
    if torch_dist.is_available() and torch_dist.is_initialized():
        return torch_dist.get_rank()
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


class RankZeroOnly:
    """Run on rank 0 alone: inside, ``metric.compute()`` is that of this rank, and ``self.log`` implies ``rank_zero_only=True``."""

    @property
    def rank(self) -> int:
        """This process's."""
        return rank()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T | None]:
        @functools.wraps(function)
        def on_rank_zero(*args: P.args, **kwargs: P.kwargs) -> T | None:
            if rank() != 0:
                return None
            with dist.alone():
                return function(*args, **kwargs)

        return on_rank_zero


rank_zero_only = RankZeroOnly()
