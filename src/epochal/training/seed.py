"""One seed for Python, numpy and torch."""

from __future__ import annotations

import random

import torch


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = True) -> int:  # noqa: ARG001  # Lightning's
    """Seed Python's, numpy's and torch's generators, and return the seed; torch seeds its loaders' workers from its own."""
    import numpy

    seed = random.randrange(2**32) if seed is None else int(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    return seed
