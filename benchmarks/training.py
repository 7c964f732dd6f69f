"""What the Trainer adds to a bare PyTorch step, side by side with Lightning's: Linear(32, 10), batch 64, one thread, one process.

Costs are in units of the bare step: "a step of fit" is (time per step of fit - bare) / bare; every other row is what one thing adds
to a fit without it. "self.log calls" log on step and epoch, as does the collection; "at every step" sends a row at each step
(``log_every_n_steps=1``); bars draw one key, on a terminal that takes at once what it gets.

Seconds are the processor's, of all threads, since other programs take the wall clock's. A row of a logger or a bar is of a whole
run, until all is written; else it is of the least window of many: long enough for what happens only every so many steps (values
fold in blocks of 128), short enough that some windows run undisturbed. Ours, theirs and the bare loop take turns of equal time, and
of each the least counts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.collection import eight
from benchmarks.timing import Row

STEPS, WINDOW, ROUNDS, SECONDS = 513, 256, 24, 0.4
CLASSES = 10
Cost = tuple[float, float]  # seconds per step: in the least window, and over all of a run


class Batches(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """The same batch again and again, so that loading costs next to nothing."""

    def __init__(self, steps: int) -> None:
        self.batch = (torch.randn(64, 32), torch.randint(0, CLASSES, (64,)))
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


def bare() -> Cost:
    """A plain loop over the same loader."""
    layer = torch.nn.Linear(32, CLASSES)
    optimizer = torch.optim.SGD(layer.parameters(), 0.01)
    starts, begin = [], time.process_time()
    for x, y in loader():
        starts.append(time.process_time())
        loss = torch.nn.functional.cross_entropy(layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return least(starts), (time.process_time() - begin) / STEPS


class Terminal(io.StringIO):
    """One that takes what is drawn and costs nothing."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Way:
    """What a fit has beside its steps."""

    logs: int = 0
    collection: bool = False
    logger: str = ""
    bar: str = ""

    def options(self, pl: Any, folder: str) -> dict[str, Any]:
        return {
            "logger": getattr(pl.loggers, self.logger)(folder) if self.logger else False,
            "callbacks": [getattr(pl.callbacks, self.bar)()] if self.bar else [],
            "enable_progress_bar": bool(self.bar),
            "log_every_n_steps": 1 if self.logger else 50,
        }


def fit(pl: Any, metrics: Any, way: Way) -> Cost:
    """A fit of one epoch."""
    names = [f"value_{i}" for i in range(way.logs)]
    starts: list[float] = []

    class Module(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, CLASSES)
            self.metrics = eight(metrics) if way.collection else None

        def training_step(self, batch: Any, _: int) -> Any:
            starts.append(time.process_time())
            x, y = batch
            scores = self.layer(x)
            loss = torch.nn.functional.cross_entropy(scores, y)
            for name in names:
                self.log(name, loss, bool(way.bar), on_step=True, on_epoch=True)
            if self.metrics is not None:
                self.metrics.update(scores, y)
                self.log_dict(self.metrics, on_step=True, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(Terminal()):
        quiet = {"enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
        begin = time.process_time()
        pl.Trainer(max_epochs=1, **quiet, **way.options(pl, folder)).fit(Module(), loader())
        return least(starts), (time.process_time() - begin) / STEPS


WAYS = {
    "": Way(),
    "one": Way(logs=1),
    "ten": Way(logs=10),
    "fifty": Way(logs=50),
    "eight": Way(collection=True),
    "CSV": Way(logs=1, logger="CSVLogger"),
    "CSV of ten": Way(logs=10, logger="CSVLogger"),
    "TensorBoard": Way(logs=1, logger="TensorBoardLogger"),
    "TensorBoard of ten": Way(logs=10, logger="TensorBoardLogger"),
    "tqdm": Way(logs=1, bar="TQDMProgressBar"),
    "rich": Way(logs=1, bar="RichProgressBar"),
}
WINDOWED, WHOLE = 0, 1  # which of the two measures
ROWS: dict[str, tuple[str, str, int, dict[str, float]]] = {  # of which way, over which other, by which measure
    "": ("a step of fit, over a bare step", "bare", WINDOWED, {"limit": 0.5}),
    "ten": ("ten self.log calls", "", WINDOWED, {"limit": 0.3}),
    "fifty": ("fifty self.log calls", "", WINDOWED, {"limit": 1.2}),
    "eight": ("a collection of eight, on step and epoch", "", WINDOWED, {"required": 4.0}),
    "CSV": ("CSV at every step, one key", "one", WHOLE, {"required": 5.0}),
    "CSV of ten": ("CSV at every step, ten keys", "ten", WHOLE, {"required": 5.0}),
    "TensorBoard": ("TensorBoard at every step, one key", "one", WHOLE, {"required": 5.0}),
    "TensorBoard of ten": ("TensorBoard at every step, ten keys", "ten", WHOLE, {"required": 5.0}),
    "tqdm": ("tqdm", "one", WHOLE, {"required": 5.0}),
    "rich": ("rich", "one", WHOLE, {"required": 5.0}),
}


def measured(runs: dict[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """The least of each run's costs, in turns of a part of a second."""
    best = dict.fromkeys(runs, (float("inf"), float("inf")))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            end = time.perf_counter() + SECONDS
            while True:
                windowed, whole = run()
                best[name] = min(best[name][WINDOWED], windowed), min(best[name][WHOLE], whole)
                if time.perf_counter() >= end:
                    break
    return best


def rows() -> list[Row]:
    """The comparisons of a step, of what is logged in it, and of where that goes."""
    import lightning.pytorch as theirs
    import torchmetrics

    import epochal
    import epochal.training as ours

    logging.disable(logging.WARNING)  # what Lightning tells of itself
    torch.set_num_threads(1)
    runs: dict[str, Callable[[], Cost]] = {"bare": bare}
    for name, way in WAYS.items():
        runs[f"ours {name}"] = lambda way=way: fit(ours, epochal, way)  # type: ignore[misc]
        runs[f"theirs {name}"] = lambda way=way: fit(theirs, torchmetrics, way)  # type: ignore[misc]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = measured(runs)
    finally:
        logging.disable(logging.NOTSET)

    return [
        Row(title, *(cost(best, whose, of, over, how) for whose in ("ours", "theirs")), unit="steps", **needed)
        for of, (title, over, how, needed) in ROWS.items()
        if of in WAYS
    ]


def cost(best: dict[str, Cost], whose: str, of: str, over: str, how: int) -> float:
    """What ``of`` costs more than ``over``, in bare steps."""
    before = "bare" if over == "bare" else f"{whose} {over}"
    return (best[f"{whose} {of}"][how] - best[before][how]) / best["bare"][how]
