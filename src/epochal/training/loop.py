"""Logbook: a loop of one's own, without a Trainer, whose values are as right.

What the Trainer's hooks tell a book, a loop says by iterating over its batches: how much a value weighs, which updates come from
steps, and when they are over. Nothing but an epoch's end and an evaluation's communicates, so that the loops of ranks may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from torch import nn
from typing_extensions import Self

from epochal import check, dist
from epochal.training import foreign, settings
from epochal.training.batches import BatchSizes
from epochal.training.hooks import Rule
from epochal.training.log import Logging, lend, take_back
from epochal.training.logbook import Book
from epochal.training.rank_zero import rank
from epochal.training.readings import floats, is_scalar

IN_STEPS, AFTER_THEM = Rule(False, True), Rule(False, True, epoch_only=True)


@dataclass
class Part:
    """An epoch of training, or an evaluation: its loops over batches so far."""

    stage: str
    names: list[str] = field(default_factory=list)  # of the loaders
    looping: bool = False
    in_batch: bool = False
    is_empty: bool = True  # as on a rank without data
    counts: dict[str, int] = field(default_factory=dict)  # updates of each metric when the latest loop was over
    kept: dict[str, tuple[int, Any]] = field(default_factory=dict)  # updates and states, lest the user's own reset loses them

    @property
    def is_over(self) -> bool:
        """Whether its loops are, and what comes is its end. False where there was none: then each call may be of a step."""
        return bool(self.names) and not self.looping


class Logbook(Book, Logging):
    """The Trainer's logging for a loop of one's own: the same values, keys, loggers and processes.

    ::

        with Logbook(model, f1, logger=CSVLogger("logs")) as book:
            for epoch in range(5):
                for x, y in book.batches(train_loader):
                    ...  # a training step
                    book.log("loss", loss, on_step=True, on_epoch=True)
                with book.evaluation(), torch.no_grad():
                    for x, y in book.batches(val_loader):
                        book.log("val_f1", f1(model(x), y))
                book.end_epoch()
                print(book["val_f1"])

    ``modules``: whatever holds metrics, or logs by ``self.log``. ``logger``: one or several. ``log`` and ``log_dict`` are those of
    :class:`LightningModule`, with the epoch as their default; after a loop they log the epoch's end, and what is updated there
    alone belongs to the run. In a loop that does not use :meth:`batches` a mean needs ``batch_size=``, a step ends by
    :meth:`end_step`, and every metric that is logged is the epoch's.
    """

    steps_are_even = False
    weightless = "Iterate over book.batches(loader), or pass batch_size=."

    def __init__(
        self, *modules: nn.Module, logger: Any = None, log_every_n_steps: int = 50, flush_logs_every_n_steps: int = 100
    ) -> None:
        super().__init__(nn.ModuleList(modules))
        self._logbook = self
        self.log_every_n_steps, self.steps_done = log_every_n_steps, 0
        loggers = settings.several("logger", logger, "log_metrics") if logger is not None and rank() == 0 else []
        self.open_loggers(loggers, flush_logs_every_n_steps)
        self._stepped: set[str] = set()  # the metrics that steps have ever updated
        self._seen: dict[tuple[str, int], int] = {}  # batches of each loader, over all evaluations
        self._parts = [Part("train")]
        lend(self.parking.root, self)
        self._begin_epoch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close("success" if error is None else "failed")

    def close(self, status: str = "success") -> None:
        """End the epoch if anything was logged in it, and write all. Called by the ``with`` block."""
        if self.scope is None:
            return
        if status == "success" and any(dist.any_rank(any(entry.seen for entry in self._entries("train")))):
            self.end_epoch()
        self.tell("finalize", status)
        take_back(self.parking.root)
        lend(self.parking.root, None)
        self.scope = None

    def __getitem__(self, key: str) -> Any:
        """The value of a key: of the latest epoch or evaluation, or of this epoch's latest step."""
        found = self.callback_metrics
        if key not in found:
            raise KeyError(check.message("Logbook", f"there is no {key!r}", f"logged so far are {sorted(found)}"))
        return floats({key: found[key]})[key] if is_scalar(found[key]) else found[key]

    # --- a loop over batches ---------------------------------------------------------------------------------------------

    def batches(self, loader: Iterable[Any], name: str = "") -> Iterator[Any]:
        """The batches of a loader, each a step. ``name``: what keys end in where an evaluation has several loaders."""
        part = self._begin_loop(name)
        sizes = BatchSizes.of(loader)
        try:
            for index, batch in enumerate(loader):
                self.begin_batch(batch, index, sizes)
                part.in_batch, part.is_empty = True, False
                yield batch
                if part.in_batch:
                    self.end_step()
        finally:
            if part.looping and self._parts[-1] is part:
                self._end_loop(part)

    def _begin_loop(self, name: str) -> Part:
        part = self._parts[-1]
        if part.looping:
            fix = "Evaluate inside of `with book.evaluation():`."
            check.fail("Logbook.batches", "a loop began", f"another one of {part.stage!r} is not over", fix)
        if part.stage == "train" and name:
            check.fail("Logbook.batches", f"name is {name!r}", "it tells the loaders of an evaluation apart", "Leave it out.")
        if part.stage != "train" and part.names and (not name or name in part.names):
            came = f"another loader came without a name of its own, after {part.names}"
            check.fail("Logbook.batches", came, "its keys need an ending", "Pass name=.")
        if part.stage == "train":
            self.parking.begin_steps()
        elif part.names:
            self._keep_updates_of_run()
            self.parking.begin_loader()
        index = len(part.names)
        part.names.append(name)
        part.looping = True
        self._enter_steps(part, index if name or index else None, f"/{name}" if name else "")
        if part.stage != "train":
            self.step = self._seen.get((part.stage, index), 0)
        return part

    def end_step(self) -> None:
        """A step is over: its row goes out if it is due. :meth:`batches` calls it."""
        part = self._parts[-1]
        part.in_batch = False
        if part.stage == "train":
            self.steps_done += 1
        every = self.log_every_n_steps
        if part.stage != "train" or (every and self.steps_done % every == 0):
            self.step_rows(part.stage)
        self.step += 1

    def _end_loop(self, part: Part) -> None:
        """Set apart what the steps have put in. It communicates nothing: a loop may be left at any time."""
        index = len(part.names) - 1
        part.looping = part.in_batch = False
        self.end_batches()
        if part.stage == "train":
            self.parking.end_steps()
            self._keep(part, self.parking.stages[-1].touched)
            self.parking.begin_steps()
        else:
            self._seen[part.stage, index] = self.step
            self.parking.park(index)
            self.parking.present(set(), fresh=True)
            if part.is_empty:
                self._present_nothing()
        self._stepped |= self.parking.stages[-1].touched
        part.counts = {name: metric.update_count for name, metric in self.parking.metrics.items()}
        self.scope = self.open_scope(f"the end of {part.stage!r}", part.stage, AFTER_THEM)

    def _present_nothing(self) -> None:
        """On a rank without data: what other ranks have updated is no part of the code after the loop, whatever it held before."""
        for name in self._stepped - self.parking.stages[-1].touched:
            self.parking.metrics[name].reset()
        self.parking.begin_steps()

    def _enter_steps(self, part: Part, loader: int | None = None, suffix: str = "") -> None:
        self.scope = self.open_scope(f"a step of {part.stage!r}", part.stage, IN_STEPS, loader, suffix)

    # --- a loop that does not say where its steps begin and end ----------------------------------------------------------

    def record(self, name: str, value: Any, args: tuple[Any, ...], batch_size: int | None = None) -> None:
        super().record(name, value, args, batch_size)
        if not self._parts[-1].names:
            self._keep(self._parts[-1])

    def record_all(self, values: Mapping[str, Any], args: tuple[Any, ...], batch_size: int | None = None) -> None:
        super().record_all(values, args, batch_size)
        if not self._parts[-1].names:
            self._keep(self._parts[-1])

    def _keep(self, part: Part, names: Iterable[str] | None = None) -> None:
        metrics, counts = self.parking.metrics, self.parking.stages[-1].counts
        found = [n for n, m in metrics.items() if m.update_count and m.update_count != counts.get(n)] if names is None else names
        part.kept.update({name: (metrics[name].update_count, foreign.snapshot(metrics[name])) for name in found})

    def _undo_resets(self, part: Part) -> None:
        """What was reset since it was logged, at the epoch's end, is the epoch's all the same."""
        for name, (count, snapshot) in part.kept.items():
            if self.parking.metrics[name].update_count < count:
                foreign.restore(self.parking.metrics[name], snapshot)

    # --- the end -----------------------------------------------------------------------------------------------------------

    def part_of(self, name: str) -> Any:
        part = self._parts[-1]
        return part.kept[name][1] if part.is_over and name in part.kept else super().part_of(name)

    def taken(self, metric: Any, value: Any) -> Any:  # noqa: ARG002  # the value follows from the state
        """The state of a metric that came after the loop; None where it is as the steps left it, or was reset since."""
        part, touched, leaves = self._parts[-1], self.parking.stages[-1].touched, foreign.leaves(metric)
        named = {name: leaf for leaf in leaves if (name := self.where(leaf)) is not None}
        if all(name in touched and leaf.update_count in (0, part.counts.get(name)) for name, leaf in named.items()):
            return None
        return "states", {name: foreign.snapshot(leaf) for name, leaf in named.items()}

    def end_epoch(self) -> None:
        """The epoch is over, on all ranks: merge, publish and send its values, and begin the next."""
        if len(self._parts) > 1:
            check.fail("Logbook.end_epoch", "it was called inside of an evaluation", "that ends first", "Call it after the block.")
        (part,) = self._parts
        if part.in_batch:
            self.end_step()
        if part.is_over:
            self.parking.begin_steps()  # what was updated since is no step's
        elif not part.looping:
            self._undo_resets(part)
        at = max(self.step - 1, 0)
        self.close_steps("train", fresh=False)
        self.close_hooks("train", at)
        self.end_stage(fresh=False)
        self.tell("save")
        self.epoch += 1
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        (part,) = self._parts
        part.names, part.kept, part.counts = part.names[-1:] if part.looping else [], {}, {}
        self.begin_stage("train", fresh=False)
        self.begin_batch(None, 0, None)
        self._enter_steps(part)

    @contextmanager
    def evaluation(self, stage: str = "validate") -> Iterator[None]:
        """A block whose metrics begin empty and are after it what they were before; its values are out at its end."""
        if len(self._parts) > 1 or stage == "train":
            check.fail("Logbook.evaluation", f"{stage!r} began in {self._parts[-1].stage!r}", "one has to end first")
        training, before = self._parts[0], (self.scope, self.step, self._batch, self._batch_idx, self.sizes, self.size)
        at = max(self.step - (not training.in_batch), 0)
        if not training.is_over:
            self.parking.end_steps()
        self._parts.append(Part(stage))
        self.begin_stage(stage, fresh=True)
        self.begin_batch(None, 0, None)
        self._enter_steps(self._parts[-1])
        self.step = 0
        try:
            yield
            self._end_evaluation(at)
        except BaseException:
            self.parking.undo()
            raise
        finally:
            self._parts.pop()
            self.scope, self.step, self._batch, self._batch_idx, self.sizes, self.size = before
            if not training.is_over:
                self.parking.begin_steps()

    def _end_evaluation(self, at: int) -> None:
        part = self._parts[-1]
        if not part.names:
            self._undo_resets(part)
            part.names.append("")
            self._end_loop(part)
        elif part.looping:
            self._end_loop(part)
        self._keep_updates_of_run()
        self.step = at
        self.close_steps(part.stage, fresh=True)
        self.close_hooks(part.stage, at)
        self.end_stage(fresh=True)

    def _keep_updates_of_run(self) -> None:
        """What no step of an evaluation has updated, and the code after its loop has, goes on after it."""
        stage = self.parking.stages[-1]
        for name, metric in self.parking.metrics.items():
            if name not in stage.touched and metric.update_count != stage.counts.get(name, 0):
                stage.outer[name] = foreign.snapshot(metric)
        self.parking.begin_steps()
