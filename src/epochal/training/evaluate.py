"""The loops of validation, test and prediction, to be read from top to bottom."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from epochal.training import data
from epochal.training.batches import BatchSizes
from epochal.training.combined import batches_of, each
from epochal.training.hooks import RULES, Hook, Listeners, keeping, overridden, step_call, takes
from epochal.training.module import LightningModule
from epochal.training.profilers import timed, timed_batches
from epochal.training.sharded import together

if TYPE_CHECKING:
    from epochal.training.trainer import Trainer

INFIX = {"validate": "validation", "test": "test", "predict": "predict"}  # of a stage, in the names of its hooks


class Evaluation:
    """One stage on its loaders; built once per run, run as often as the fit validates."""

    def __init__(self, trainer: Trainer, module: LightningModule, stage: str, loaders: Mapping[str, Any], source: Any) -> None:
        self.trainer, self.module, self.stage = trainer, module, stage
        self.book = trainer.logbook
        several = len(loaders) > 1
        self.suffixes = [name if several or not name.startswith("/dataloader_idx") else "" for name in loaders]
        share = lambda loader: data.for_evaluation(loader, trainer.share, trainer.use_distributed_sampler)  # noqa: E731
        self.loaders = [each(loader, share) for loader in loaders.values()]
        self.move = data.mover(source, data_base(source), trainer.device)
        self.batches = [0] * len(self.loaders)  # seen by the steps' rows, over all runs of the stage
        self.predictions: list[list[Any]] = []
        self.noted: list[data.NotedBatches | None] = [None] * len(self.loaders)
        self._listen(trainer.listeners)

    def _listen(self, listeners: Listeners) -> None:
        infix, stage = INFIX[self.stage], self.stage
        keep = stage if stage != "predict" else ""
        self.on_start = listeners.hook(f"on_{infix}_start", keep)
        self.on_epoch_start = listeners.hook(f"on_{infix}_epoch_start", keep)
        self.on_epoch_end = listeners.hook(f"on_{infix}_epoch_end", keep)
        self.on_end = listeners.hook(f"on_{infix}_end")
        self.on_batch_start = listeners.hook(f"on_{infix}_batch_start", keep)
        self.on_batch_end = listeners.hook(f"on_{infix}_batch_end", keep)
        self.per_loader = [(f"on_{infix}_batch_start", self.on_batch_start), (f"on_{infix}_batch_end", self.on_batch_end)]
        step, profiler = getattr(self.module, f"{infix}_step"), self.trainer.profiler
        called = timed(
            profiler,
            f"[LightningModule]{type(self.module).__name__}",
            self.trainer.evaluation_call(f"{infix}_step"),
            f"{infix}_step",
        )
        self.step = Hook(self.book, f"{infix}_step", [step_call(called, step, len(self.loaders) > 1)])
        self.per_loader.append((f"{infix}_step", self.step))
        self.step_end = Hook(self.book, f"{infix}_step_end", [])
        if hasattr(self.module, f"{infix}_step_end"):
            self.step_end.calls.append(keeping(getattr(self.module, f"{infix}_step_end")))
        self.per_loader.append((f"{infix}_step_end", self.step_end))
        self.keeps_outputs = legacy_end(listeners, f"{infix}_epoch_end", self.on_epoch_end, self._outputs)
        self.outputs: list[list[Any]] = []

    def _outputs(self) -> Any:
        return self.outputs[0] if len(self.outputs) == 1 else self.outputs

    def limits(self, limit: float | int | None, flag: str) -> list[float]:
        """How many batches of each loader take part."""
        return [data.limited(data.length(loader), limit, flag) for loader in self.loaders]

    def note_indices(self) -> None:
        """Keep which samples are in each batch."""
        found = [data.noting(loader) for loader in self.loaders]
        self.loaders, self.noted = [loader for loader, _ in found], [noted for _, noted in found]

    def indices(self, batch_idx: int, loader_idx: int) -> list[int] | None:
        """The samples of a batch; None where nobody knows."""
        noted = self.noted[loader_idx]
        return None if noted is None else noted.indices[batch_idx]

    def found(self) -> list[Any]:
        """The predictions: of one loader its batches', of several a list for each."""
        return self.predictions[0] if len(self.predictions) == 1 else self.predictions

    def run(self, limits: list[float], keep_predictions: bool = False) -> list[dict[str, float]]:
        """The whole stage. Returns the epoch's values, a dict for each loader."""
        book, module, stage = self.book, self.module, self.stage
        modes = [(part, part.training) for part in module.modules()]
        outer = book.step, book.scope
        self._into_evaluation()
        context = torch.inference_mode if self.trainer.inference_mode else torch.no_grad
        book.begin_stage(stage, fresh=True)  # outside of inference mode, which makes tensors that training cannot change
        with context():
            self.on_start()
            self.on_epoch_start()
            self.outputs, self.predictions = [], []
            for loader_idx in range(len(self.loaders)):
                self._loader(loader_idx, limits[loader_idx], keep_predictions)
                book.parking.park(loader_idx)
            book.step, _ = outer
            book.close_steps(stage, fresh=True)
            self.on_epoch_end()
            if stage != "predict":
                book.close_hooks(stage, self.trainer.row_step)
            self.on_end()
        results = book.end_stage(fresh=True, loaders=len(self.loaders))
        self._out_of_evaluation(modes)
        return results

    def _loader(self, loader_idx: int, limit: float, keep_predictions: bool) -> None:
        """All batches of one loader."""
        book, loader, move = self.book, self.loaders[loader_idx], self.move
        several = len(self.loaders) > 1
        for name, hook in self.per_loader:
            if self.stage != "predict" and name in RULES:
                where = loader_idx if several else None
                hook.scope = book.open_scope(name, self.stage, RULES[name], where, self.suffixes[loader_idx])
        outputs: list[Any] = []
        predictions: list[Any] = []
        sizes = BatchSizes.of(loader)
        stop = None if limit == float("inf") else int(limit)
        batches = timed_batches(self.trainer.profiler, f"{self.stage}_next", batches_of(loader)) if limit else ()
        batches = itertools.islice(batches, stop)
        if self.trainer.shards is not None:
            again = lambda batch: self.step(batch if move is None else move(batch, loader_idx), 0, loader_idx)  # noqa: E731
            batches = together(self.trainer, batches, again)
        for batch_idx, batch in enumerate(batches):
            if move is not None:
                batch = move(batch, loader_idx)
            book.begin_batch(batch, batch_idx, sizes)
            book.step = self.batches[loader_idx]
            if self.on_batch_start:
                self.on_batch_start(batch, batch_idx, loader_idx)
            output = self.step(batch, batch_idx, loader_idx)
            if self.step_end:
                output = self.step_end(output)
            if self.on_batch_end:
                self.on_batch_end(output, batch, batch_idx, loader_idx)
            book.step_rows(self.stage)
            if self.keeps_outputs:
                outputs.append(output)
            if keep_predictions:
                predictions.append(output)
            self.batches[loader_idx] += not book.silent
            if self.trainer.signals.due:
                self.trainer.interrupt()
        book.end_batches()
        self.outputs.append(outputs)
        self.predictions.append(predictions)

    def _into_evaluation(self) -> None:
        getattr(self.module, f"on_{INFIX[self.stage]}_model_eval")()

    def _out_of_evaluation(self, modes: list[tuple[Any, bool]]) -> None:
        own = f"on_{INFIX[self.stage]}_model_train"
        if overridden(self.module, own, LightningModule):
            getattr(self.module, own)()
            return
        for part, training in modes:
            part.training = training


def data_base(source: Any) -> type:
    """The class whose transfer hooks do nothing special."""
    from epochal.training.module import DataHooks

    return DataHooks if isinstance(source, DataHooks) else type(source)


def legacy_end(listeners: Listeners, name: str, hook: Hook, outputs: Callable[[], Any]) -> bool:
    """The hooks of old that want the steps' outputs: ``validation_epoch_end(outs)``, ``on_validation_epoch_end(self, outputs)``."""
    module = listeners.module
    keeps = False
    if overridden(module, hook.name, LightningModule):
        own = getattr(module, hook.name)
        if takes(own)[0] >= 1:
            hook.calls[-1] = lambda: own(outputs())
            keeps = True
    if hasattr(module, name):
        old = getattr(module, name)
        hook.calls.append(lambda: old(outputs()))
        keeps = True
    return keeps


def table(results: list[dict[str, float]]) -> str:
    """The results of validate or test, for the terminal: a row per key, a column per loader."""
    rows: dict[str, list[str]] = {}
    for column, values in enumerate(results):
        for key, value in values.items():
            name = key.split("/dataloader_idx_")[0]
            rows.setdefault(name, [""] * len(results))[column] = f"{value:.6g}"
    head = ["metric", *(f"DataLoader {i}" for i in range(len(results)))]
    lines = [head, *([name, *cells] for name, cells in sorted(rows.items()))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
