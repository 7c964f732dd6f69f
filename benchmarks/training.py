"""What the Trainer adds to a bare PyTorch step, side by side with Lightning's: Linear(32, 2), batch 64, no logger, one thread.

Costs are in units of the bare step: "a step of fit" is (time per step of fit - bare) / bare; "ten logs" is what ten ``self.log``
calls with on_step and on_epoch add. Each is that of the least window of many: long enough for what happens only every so many
steps (values fold in blocks of 128), short enough that some windows run undisturbed. Ours, theirs and the bare loop take turns of
equal time.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.timing import Row

STEPS, WINDOW, ROUNDS, SECONDS = 513, 256, 8, 1.0


class Batches(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """The same batch again and again, so that loading costs next to nothing."""

    def __init__(self, steps: int) -> None:
        self.batch = (torch.randn(64, 32), torch.randint(0, 2, (64,)))
        self.steps = steps

    def __iter__(self) -> Any:
        return iter([self.batch] * self.steps)

    def __len__(self) -> int:
        return self.steps


def loader() -> Any:
    return DataLoader(Batches(STEPS), batch_size=None)


def least(starts: list[float]) -> float:
    """Seconds per step in the least window, by when each step began."""
    begins = starts[::WINDOW]
    return min(end - begin for begin, end in pairwise(begins)) / WINDOW


def bare() -> float:
    """Seconds per step of a plain loop over the same loader."""
    layer = torch.nn.Linear(32, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.01)
    starts = []
    for x, y in loader():
        starts.append(time.perf_counter())
        loss = torch.nn.functional.cross_entropy(layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return least(starts)


def fit(pl: Any, logs: int) -> float:
    """Seconds per step of ``fit``."""
    names = [f"value_{i}" for i in range(logs)]
    starts: list[float] = []

    class Module(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 2)

        def training_step(self, batch: Any, _: int) -> Any:
            starts.append(time.perf_counter())
            x, y = batch
            loss = torch.nn.functional.cross_entropy(self.layer(x), y)
            for name in names:
                self.log(name, loss, on_step=True, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    pl.Trainer(max_epochs=1, accelerator="cpu", devices=1, **quiet).fit(Module(), loader())
    return least(starts)


def turn(run: Callable[[], float]) -> float:
    """The least of a second's runs."""
    end, best = time.perf_counter() + SECONDS, run()
    while time.perf_counter() < end:
        best = min(best, run())
    return best


def rows() -> list[Row]:
    """The comparisons of issue 2."""
    import lightning.pytorch as theirs

    import epochal.training as ours

    logging.disable(logging.WARNING)  # what Lightning tells of itself
    torch.set_num_threads(1)
    runs: dict[str, Callable[[], float]] = {
        "bare": bare,
        "ours": lambda: fit(ours, 0),
        "ours, ten logs": lambda: fit(ours, 10),
        "theirs": lambda: fit(theirs, 0),
        "theirs, ten logs": lambda: fit(theirs, 10),
    }
    best: dict[str, float] = dict.fromkeys(runs, float("inf"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(ROUNDS):
                for name, run in runs.items():
                    best[name] = min(best[name], turn(run))
    finally:
        logging.disable(logging.NOTSET)
    unit = best["bare"]

    def cost(of: str, over: str) -> float:
        return (best[of] - best[over]) / unit

    return [
        Row("a step of fit, over a bare step", cost("ours", "bare"), cost("theirs", "bare"), limit=0.5, unit="steps"),
        Row("ten self.log calls", cost("ours, ten logs", "ours"), cost("theirs, ten logs", "theirs"), limit=0.3, unit="steps"),
    ]
