"""One seed for Python, numpy and torch."""

from __future__ import annotations

import os
import random

import torch

from epochal import check

VARIABLE = "PL_GLOBAL_SEED"  # by which processes that are started know the seed; Lightning's name


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = True) -> int:  # noqa: ARG001  # Lightning's
    """Seed Python's, numpy's and torch's generators, and return the seed; torch seeds its loaders' workers from its own.

    Without one it is that of the environment's ``PL_GLOBAL_SEED``, where it is left for processes that are started later; else
    one drawn by chance.

    Raises:
        ValueError: a seed that is no integer from 0 to 2**32 - 1, which is what numpy takes.
    """
    import numpy

    source = "seed" if seed is not None else VARIABLE
    given = seed if seed is not None else os.environ.get(VARIABLE, random.randrange(2**32))
    try:
        seed = int(given)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**32:
        check.fail("seed_everything", f"{source} is {given!r}", "an integer from 0 to 2**32 - 1 is needed")
    os.environ[VARIABLE] = str(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    return seed
