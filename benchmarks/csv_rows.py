"""Rows of a CSVLogger, side by side with Lightning's, which its Trainer has written one by one; the processor's time.

Three keys a row; from the middle on another in place of one, so that the file needs a wider header. What a row costs at the end
of the file and at its beginning is the least of a tenth of the blocks there; the mean over all has the file made anew in it.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.timing import Row

ROWS, PEER_ROWS, BLOCKS = 1_000_000, 100_000, 100


def blocks(log: Callable[[dict[str, float], int], None], save: Callable[[], None], rows: int) -> list[float]:
    """Seconds per row in each block; an epoch ends in the middle, and after all."""
    size, costs = rows // BLOCKS, []
    for block in range(BLOCKS):
        key = "a" if block < BLOCKS // 2 else "late"
        begin = time.process_time()
        for step in range(block * size, (block + 1) * size):
            log({"epoch": 0, key: 0.5 * step, "b": 0.123456789}, step)
        if block in (BLOCKS // 2, BLOCKS - 1):
            save()
        costs.append((time.process_time() - begin) / size)
    return costs


def growth(costs: list[float]) -> float:
    tenth = BLOCKS // 10
    return min(costs[-tenth:]) / min(costs[:tenth])


def rows() -> list[Row]:
    import lightning.pytorch as theirs

    import epochal.training as ours

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        mine, its = ours.loggers.CSVLogger(folder, "ours"), theirs.loggers.CSVLogger(folder, "theirs")

        def log_and_save(row: dict[str, Any], step: int) -> None:
            its.log_metrics(row, step)
            its.save()

        our_costs, peer_costs = blocks(mine.log_metrics, mine.save, ROWS), blocks(log_and_save, its.save, PEER_ROWS)
        logging.disable(logging.NOTSET)
    means = [sum(costs) / BLOCKS for costs in (our_costs, peer_costs)]
    return [
        Row(f"a CSV row: last of {ROWS} by first", growth(our_costs), growth(peer_costs), limit=1.25, unit="times"),
        Row("a CSV row, a key late by half of them", *means, required=2.0),
    ]
