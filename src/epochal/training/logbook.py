"""What ``self.log`` does: it records under a key, and at a step's or an epoch's end the keys become rows and dictionaries.

The loop tells the logbook in which hook it is (``scope``), which batch it has (:meth:`Book.begin_batch`), and when a step or an
epoch is over. An epoch's end is two exchanges between processes: :meth:`close_steps` before the epoch-end hooks, so that
``callback_metrics`` is filled in them, and :meth:`close_hooks` after, for what they logged.

Longer than other files: one object holds a run's values, and recording, closing and showing them are its parts, in order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from epochal import check, dist
from epochal.metric import Metric, held
from epochal.training import foreign
from epochal.training.batches import BatchSizes, batch_size_of
from epochal.training.callers import method_of
from epochal.training.entries import ACCEPTED, NAMES, Entry, MetricEntry, ScalarEntry, follow
from epochal.training.history import History
from epochal.training.loggers.writer import Writer
from epochal.training.parking import Parking, Place, joined
from epochal.training.ranks import Ranks, Table
from epochal.training.readings import as_tensor, cloned, floats, is_plain, is_scalar, settle

WHOLE = -1  # in place of a loader: all of a stage


class Scope:
    """One hook, of one loader where there are several: the keys that were logged in it."""

    __slots__ = ("collections", "entries", "hook", "loader", "rule", "stage", "suffix")

    def __init__(self, hook: str, stage: str, rule: Any, loader: int | None = None, suffix: str = "") -> None:
        self.hook, self.stage, self.rule, self.loader, self.suffix = hook, stage, rule, loader, suffix
        self.entries: dict[str, Entry] = {}
        self.collections: dict[int, tuple[Any, dict[str, tuple[Any, tuple[Any, ...]]]]] = {}  # what their results are called


class Book:
    """The keys of a run, their values so far, and where they go."""

    steps_are_even = True  # over the ranks: each value of a training step may be merged
    weightless = "Pass batch_size=."  # what helps where no weight is known

    def __init__(self, root: nn.Module) -> None:
        self.parking = Parking(root)
        self.scope: Scope | None = None  # of the hook that runs now
        self.scopes: dict[tuple[str, int | None], Scope] = {}
        self.step = 0  # that a value logged now belongs to
        self.epoch = 0
        self.silent = False  # the sanity check
        self.defers = False  # treat the CPU as a device that must not be waited for
        self.closing = ""  # the stage whose epoch-end hooks run
        self.writer = Writer()
        self.unmerged: dict[tuple[str, int | None, str], ScalarEntry] = {}  # step values of this batch that ranks merge
        self.history = History()
        self._stepping: dict[str, list[Entry]] = {}  # the keys of a stage whose step values go to loggers
        self.ranks = Ranks(self.parking)
        self._merged: dict[Place, Any] = {}
        self._counts: dict[int, int] = {}
        self._batch: Any = None
        self._batch_idx = 0
        self.sizes: BatchSizes | None = None
        self.size: int | None = None  # of this batch, once somebody needed it
        self.clear()

    def clear(self) -> None:
        """Forget all values, as at the start of a run, where hooks come before any batch."""
        self.end_batches()
        self._callback: dict[str, Any] = {}
        self._logged: dict[str, Any] = {}
        self._bar: dict[str, Any] = {}
        self._fresh: dict[str, tuple[int, int]] = {}  # the epoch and the step at which a key was last given a value
        for scope in self.scopes.values():
            for entry in scope.entries.values():
                entry.reset()
                entry.sent = True

    # --- recording -------------------------------------------------------------------------------------------------------

    def open_scope(self, hook: str, stage: str, rule: Any, loader: int | None = None, suffix: str = "") -> Scope:
        """Where calls of a hook log to; the same again when the hook comes again."""
        scope = self.scopes.get((hook, loader))
        if scope is None or scope.suffix != suffix:
            scope = self.scopes[hook, loader] = Scope(hook, stage, rule, loader, suffix)
        return scope

    def close_scopes(self) -> None:
        """Forget all keys, as between runs."""
        self.scopes.clear()
        self._stepping.clear()

    def begin_batch(self, batch: Any, batch_idx: int, sizes: BatchSizes | None) -> None:
        self._batch, self._batch_idx, self.sizes, self.size = batch, batch_idx, sizes, None

    @property
    def batch(self) -> Any:
        """The batch that the loop is at; None between."""
        return self._batch

    def end_batches(self) -> None:
        self._batch, self.size = None, 1  # hooks outside of a batch weigh one

    def batch_size(self, name: str) -> int:
        """The weight of a mean: looked up once per batch, and only if somebody needs it."""
        if self.size is None:
            self.size = self.sizes(self._batch_idx) if self.sizes else batch_size_of(self._batch)
            if self.size is None:
                came = (
                    "no batch is known" if self._batch is None else f"the batch is a {type(self._batch).__name__} of unknown size"
                )
                check.fail(f"self.log({name!r})", came, "a mean over the epoch weighs by its size", self.weightless)
        return self.size

    def record(self, name: str, value: Any, args: tuple[Any, ...], batch_size: int | None = None) -> None:
        """One call of ``log``: a look-up, and an addition."""
        scope = self.scope
        if scope is None:
            _nowhere(name, method_of(self.parking.root))
        entry = scope.entries.get(name)
        if entry is None or entry.args != args:
            entry = self._declare(scope, name, value, args, batch_size)
            if entry is None:
                return
        entry.add(value, batch_size)

    def record_all(self, values: Mapping[str, Any], args: tuple[Any, ...], batch_size: int | None = None) -> None:
        """Each value under its own key; a collection gives its results."""
        if type(values) is not dict and foreign.is_collection(values):
            self._record_collection(values, args, batch_size)
            return
        for name, value in values.items():
            self.record(name, value, args, batch_size)

    def _record_collection(self, collection: Any, args: tuple[Any, ...], batch_size: int | None) -> None:
        """A collection as what it returns: the same names, though a member may have several."""
        scope = self.scope
        if scope is None:
            _nowhere("a collection", method_of(self.parking.root))
        parts = scope.collections.get(id(collection))
        if parts is None or parts[0] is not collection:
            parts = scope.collections[id(collection)] = collection, foreign.results_of(collection)
        for name, (metric, path) in parts[1].items():
            entry = scope.entries.get(name)
            if entry is None or entry.args != args:
                entry = self._declare(scope, name, metric, args, batch_size, path)
            if entry is not None:
                entry.add(metric, batch_size)

    def _declare(
        self, scope: Scope, name: str, value: Any, args: tuple[Any, ...], batch_size: int | None, path: tuple[Any, ...] = ()
    ) -> Entry | None:
        """The first call with a key: check it, and decide what the key is. None if it stands for several keys."""
        if not isinstance(name, str):
            check.fail("self.log", f"name is {name!r}", "a string is needed", "Log as self.log(name, value).")
        if scope.rule is None:
            raise RuntimeError(_message(name, f"it was called in {scope.hook}", "nothing can be logged there"))
        if foreign.is_collection(value):
            self.record_all(value, args, batch_size)
            return None
        if isinstance(value, Mapping) and value and not foreign.is_whole(value):
            self._record_leaves(scope, name, value, args, batch_size)
            return None
        before = scope.entries.get(name)
        if before is not None and before.follows(args):
            return before
        if before is not None and not before.ghost:
            _twice(scope, before, args)
        if scope.loader is not None and not args[8]:
            self._check_bare(scope, name)
        entry = self._new_entry(scope, name, value, args, path)
        _check_flags(entry)
        if before is not None:
            entry.inherit(before)
        self._enter(scope, entry)
        return entry

    def _enter(self, scope: Scope, entry: Entry) -> None:
        scope.entries[entry.name] = entry
        self._stepping.clear()

    def _new_entry(self, scope: Scope, name: str, value: Any, args: tuple[Any, ...], path: tuple[Any, ...]) -> Entry:
        found = foreign.owner_of(value)
        if found is None and not foreign.is_metric(value):
            if not isinstance(value, Tensor) and (isinstance(value, str | list | tuple | Mapping) or value is None):
                kind = f"the string {value!r}" if isinstance(value, str) else f"a {type(value).__name__}"
                raise TypeError(_message(name, f"value is {kind}", ACCEPTED))
            return ScalarEntry(self, scope, name, args, value)
        metric, path = found or (value, path)
        names = self.parking.names_of_leaves(metric, name)
        self.parking.logged.update(names)
        return MetricEntry(self, scope, name, args, metric, path, self.parking.name_of(metric))

    def _check_bare(self, scope: Scope, name: str) -> None:
        """A key without its loader's ending is one loader's alone."""
        for (hook, loader), other in self.scopes.items():
            if hook == scope.hook and loader != scope.loader and name in other.entries and not other.entries[name].args[8]:
                fix = "Leave out add_dataloader_idx=False, or give each loader's key its own name."
                raise ValueError(
                    _message(name, f"loaders {loader} and {scope.loader} log it", "each key belongs to one loader", fix)
                )

    def _record_leaves(self, scope: Scope, name: str, value: Mapping[str, Any], args: tuple[Any, ...], size: int | None) -> None:
        """A dict that several metrics returned: its own keys, the name before them where two would clash, or in a dict of dicts."""
        for key, item in value.items():
            if isinstance(item, Mapping):
                self._record_leaves(scope, str(key), item, args, size)
                continue
            found = foreign.owner_of(item)
            if found is None:
                raise TypeError(_message(name, "value is a dict of numbers", ACCEPTED, "Pass it to self.log_dict."))
            other = scope.entries.get(key)
            clash = isinstance(other, ScalarEntry) or (isinstance(other, MetricEntry) and (other.metric, other.path) != found)
            self.record(f"{name}_{key}" if clash or len(found[1]) > 1 else key, item, args, size)

    def where(self, metric: Any) -> str | None:
        return self.parking.name_of(metric)

    def batch_value(self, metric: Any) -> Any:
        return foreign.batch_value(metric)

    def taken(self, metric: Any, value: Any) -> Any:
        """What an epoch-end hook logged of a metric: its value if that is final, else its state, to be merged; else None."""
        if not self.closing:
            return None
        leaves = foreign.leaves(metric)
        if all(self._unchanged(leaf) for leaf in leaves):
            if value is not None:
                return ("value", cloned(value))
            if all((WHOLE, self.where(leaf)) in self._merged or not leaf.metric_state for leaf in leaves):
                return ("whole", None)
        return ("states", {self.where(leaf): foreign.snapshot(leaf) for leaf in leaves if self.where(leaf) is not None})

    def _unchanged(self, leaf: Any) -> bool:
        count: int = leaf.update_count
        return count == self._counts.get(id(leaf), 0) or count == 0  # a user's own reset loses nothing

    # --- steps -----------------------------------------------------------------------------------------------------------

    def step_rows(self, stage: str) -> None:
        """Send each key's latest value that was not sent, at its own step."""
        if stage not in self._stepping:
            self._stepping[stage] = [entry for entry in self._entries(stage) if entry.on_step and entry.to_logger]
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        for entry in self._stepping[stage]:
            if entry.sent:
                continue
            entry.sent = True
            place = entry.at, self.epoch if entry.seen else entry.left
            row = rows.get(place)
            if row is None:
                row = rows[place] = {}
            if type(entry.last) is float:  # the common case, at every step
                row[entry.step_key] = entry.last
            else:
                row.update({k: v for k, v in entry.keys(entry.last, entry.step_fork).items() if is_scalar(v)})
        for (step, epoch), row in sorted(rows.items()) if len(rows) > 1 else rows.items():
            if stage == "train":
                self._send(row, step, epoch)
            else:
                self._logged.update(row)
                self._send(row, step)

    def merge_steps(self) -> None:
        """Step values with ``sync_dist=True``, merged over the ranks by their reduction: one exchange for all keys of a batch."""
        entries, self.unmerged = self.unmerged, {}
        table = {key: (entry.declaration(), entry.folded_step()) for key, entry in entries.items()}
        for key, (declared, folded) in self.ranks.merge_keys(table).items():
            entry = entries.get(key) or self._ghost(key, declared)
            if isinstance(entry, ScalarEntry):
                entry.stamp(entry.result(folded))

    @property
    def loggers(self) -> list[Any]:
        """Those that still write."""
        return self.writer.loggers

    @loggers.setter
    def loggers(self, loggers: Iterable[Any]) -> None:
        self.open_loggers(loggers)

    def open_loggers(self, loggers: Iterable[Any], flush_every: int = 100) -> None:
        """Write to these from now on; ``flush_every``: rows that are held at most."""
        self.writer.drain()
        self.writer = Writer(loggers, flush_every)
        self.writer.open()

    def tell(self, verb: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of each logger, in order, off this thread."""
        self.writer.send(verb, *args, **kwargs)

    def post(self, row: Mapping[str, float], step: int) -> None:
        """A row that a callback has by itself, the same on all ranks: at once, and into what can be monitored."""
        self._callback.update(row)
        self._logged.update(row)
        self._fresh.update(dict.fromkeys(row, (self.epoch, self.step)))
        self._send(row, step, self.epoch)

    def _send(self, row: Mapping[str, Any], step: int, epoch: int | None = None) -> None:
        if self.silent or not row:
            return
        if "step" in row:  # a logged "step" is the x-axis
            numbers = floats(row)
            step = int(numbers.pop("step"))
        else:
            numbers = floats(row if epoch is None else {"epoch": epoch, **row})
        self.history.append(numbers, step)
        self.writer.send_row(numbers, step)

    # --- stages ----------------------------------------------------------------------------------------------------------

    def begin_stage(self, stage: str, fresh: bool) -> None:
        """``fresh``: evaluation, whose metrics begin empty and get back after it what they held before."""
        self.parking.open(fresh)
        self.results: dict[int | None, dict[str, Any]] = {}
        self._row: dict[str, Any] = {}
        self._pictures: dict[str, tuple[Any, Any]] = {}  # results that are no numbers, with their metrics
        if not self.silent:
            return
        for entry in self._entries(stage):
            entry.reset()

    def end_stage(self, fresh: bool, loaders: int = 1) -> list[dict[str, float]]:
        """Bring the metrics back. Returns the epoch's values, for each loader its own and those of all."""
        self.closing = ""
        if self.silent:
            self.parking.undo()
            self.clear()
        else:
            self.parking.close(fresh)
        shared = self.results.get(None, {})
        return [floats({**self.results.get(i, {}), **shared}) for i in range(loaders)]

    # --- the epoch's end ---------------------------------------------------------------------------------------------------

    def close_steps(self, stage: str, fresh: bool) -> None:
        """Before the epoch-end hooks: merge over the ranks what the steps logged, and publish it."""
        self.end_batches()
        self.parking.end_steps()
        open_stage = self.parking.stages[-1]
        if not fresh:
            open_stage.parts.update({(0, name): self.part_of(name) for name in open_stage.touched})
        entries = {(e.scope.hook, e.scope.loader, e.name): e for e in self._entries(stage) if e.seen and e.taken is None}
        table, self._merged = self._exchange(stage, entries, open_stage.parts)
        self.parking.present({name for _, name in self._merged}, fresh)
        self._merge_loaders()
        self._publish(stage, table, entries)
        self._counts = {id(metric): metric.update_count for metric in self.parking.metrics.values()}
        self.closing = stage

    def close_hooks(self, stage: str, step: int) -> None:
        """After the epoch-end hooks: merge and publish what they logged, send the epoch's row, and begin anew."""
        entries = {(e.scope.hook, e.scope.loader, e.name): e for e in self._entries(stage) if e.seen and not e.done}
        parts: dict[Place, Any] = {}
        for entry in entries.values():
            if isinstance(entry, MetricEntry) and entry.taken is not None and entry.taken[0] == "states":
                parts.update({(WHOLE, name): part for name, part in entry.taken[1].items()})
        table, merged = self._exchange(f"{stage} hooks", entries, parts)
        self.parking.stages[-1].over = not self.silent
        self._merged.update(merged)
        self._publish(stage, table, entries)
        self.closing = ""
        row = {key: value for key, value in self._row.items() if is_scalar(value)}
        self._send(row, step, self.epoch)
        for key, (metric, value) in self._pictures.items():
            if not self.silent and key in self._row:
                self.writer.send_picture(key, metric, value, step)
        self._row, self._pictures = {}, {}
        for entry in self._entries(stage):
            entry.reset()
        self._merged = {}

    def part_of(self, name: str) -> Any:
        """What the steps of an epoch have put into a metric."""
        return foreign.snapshot(self.parking.metrics[name])

    def _entries(self, stage: str) -> Iterable[Entry]:
        return [entry for scope in self.scopes.values() if scope.stage == stage for entry in scope.entries.values()]

    def _exchange(self, stage: str, entries: Mapping[Any, Entry], parts: Mapping[Place, Any]) -> tuple[Table, dict[Place, Any]]:
        """Merge a table of keys and the states of metrics over all ranks. The ranks may hold different ones: a union by name."""
        settle([entry for entry in entries.values() if isinstance(entry, ScalarEntry)])
        table: Table = {
            key: (entry.declaration(), entry.folded() if isinstance(entry, ScalarEntry) else None)
            for key, entry in entries.items()
            if not entry.alone
        }
        return self.ranks.merge(stage, table, parts)

    def _merge_loaders(self) -> None:
        for name in {name for _, name in self._merged}:
            parts = [self._merged[place] for place in sorted(self._merged) if place[1] == name]
            self._merged[WHOLE, name] = joined(self.parking.metrics[name], parts)

    # --- publishing ------------------------------------------------------------------------------------------------------

    def _publish(self, stage: str, table: Table, entries: Mapping[Any, Entry]) -> None:
        """Turn merged keys into values, on all ranks the same."""
        self._keep_steps(stage)
        results: list[tuple[Entry, Any]] = []
        computed: dict[tuple[int, int | None], Any] = {}
        own: Table = {
            key: (e.declaration(), e.folded() if isinstance(e, ScalarEntry) else None) for key, e in entries.items() if e.alone
        }
        for key, (declared, folded) in {**table, **own}.items():
            entry = entries.get(key) or self._ghost(key, declared)
            if entry is None:
                continue
            entry.done = True
            if not entry.on_epoch:
                continue
            if isinstance(entry, ScalarEntry):
                local = entry.sync_dist is False and entry.seen
                results.append((entry, entry.result(entry.folded() if local else folded)))
            elif isinstance(entry, MetricEntry):
                results.append((entry, self._value(entry, computed)))
        self._put(results)

    def _value(self, entry: MetricEntry, computed: dict[tuple[int, int | None], Any]) -> Any:
        how, value = entry.taken or ("parts", None)
        if how == "value":
            return value
        loader = (
            WHOLE if how != "parts" or (entry.scope.loader is None and entry.scope.rule.epoch_only) else entry.scope.loader or 0
        )
        key = (id(entry.metric), loader)
        if key not in computed:
            computed[key] = self._compute(entry.metric, loader)
        return follow(computed[key], entry.path)

    def _compute(self, metric: Any, loader: int) -> Any:
        """The metric's value over this loader: from merged states, so nothing is communicated."""
        if not isinstance(metric, Metric):
            now, part = foreign.snapshot(metric), self._merged.get((loader, self.where(metric) or ""))
            foreign.restore(metric, part or now)
            try:
                return metric.compute()
            finally:
                foreign.restore(metric, now)
        states = {leaf: self._merged.get((loader, self.where(leaf) or "")) or leaf.snapshot() for leaf in foreign.leaves(metric)}
        with held(states), torch.no_grad():
            return metric.compute()

    def _ghost(self, key: tuple[str, int | None, str], declared: tuple[Any, ...]) -> Entry | None:
        """An entry for a key that only other ranks logged."""
        hook, loader, name = key
        scope = self.scopes.get((hook, loader))
        if scope is None:
            return None
        before = scope.entries.get(name)
        if before is not None and before.declaration() == declared:
            return before
        _, prog_bar, logger, on_step, on_epoch, _, add_idx, kind, rest = declared
        args = (prog_bar, logger, on_step, on_epoch, "mean", False, None, None, add_idx, None, False)
        entry: Entry
        if kind in ("mean", "sum", "min", "max") and rest is None:
            entry = ScalarEntry(self, scope, name, (*args[:4], kind, *args[5:]), None)
        elif kind in self.parking.metrics and isinstance(rest, tuple):
            entry = MetricEntry(self, scope, name, args, self.parking.metrics[kind], rest, kind)
            self.parking.logged.add(kind)
        else:
            return None
        entry.ghost = True
        if before is None:
            self._enter(scope, entry)
        return entry

    def clashes(self, entry: Entry, leaf: str) -> bool:
        """Whether another key of the stage and the loader is named like an entry of this one's result."""
        mine = entry.scope
        return any(
            leaf in other.leaves
            for scope in self.scopes.values()
            if (scope.stage, scope.loader) == (mine.stage, mine.loader)
            for other in scope.entries.values()
            if other.name != entry.name
        )

    def _put(self, results: list[tuple[Entry, Any]]) -> None:
        for entry, value in results:
            entry.notice(value)
        row = dict(self._row)
        for entry, value in results:
            for key, item in entry.keys(value, entry.epoch_fork).items():
                self._put_one(entry, key, item, row)
            if entry.forked:
                plain = entry.keys(value) if isinstance(value, Mapping) else {entry.name + entry.suffix: value}
                self._callback.update(plain)
                self._fresh.update(dict.fromkeys(plain, (self.epoch, self.step)))
        self._row = row

    def _put_one(self, entry: Entry, key: str, item: Any, row: dict[str, Any]) -> None:
        """One value under one key, into the views that it belongs to."""
        self._callback[key] = item
        self._fresh[key] = (self.epoch, self.step)
        if entry.to_logger:
            row[key] = item
            if isinstance(entry, MetricEntry) and not is_scalar(item):
                self._pictures[key] = (entry.metric, item)
        if not is_scalar(item):
            return
        self.results.setdefault(entry.scope.loader, {})[key] = item
        if entry.prog_bar:
            self._bar[key] = item
        if entry.to_logger:
            self._logged[key] = item

    def _keep_steps(self, stage: str) -> None:
        """Step values stay readable after their epoch."""
        if stage == "train" and not self.closing:
            for base, wanted in ((self._callback, _any), (self._logged, _to_logger), (self._bar, _to_bar)):
                base.update(self._live(wanted))

    def _live(self, wanted: Callable[[Entry], bool], plain: bool = False) -> dict[str, Any]:
        """Step values as they are now; ``plain``: under the names without ``_step``, too, and whatever their form."""
        out: dict[str, Any] = {}
        for entry in self._entries("train"):
            if entry.on_step and entry.seen and entry.last is not None and wanted(entry):
                out.update(entry.keys(entry.last, entry.step_fork))
                if plain and entry.forked:
                    out.update(entry.keys(entry.last))
        return out if plain else {key: value for key, value in out.items() if is_scalar(value)}

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """All keys, as tensors; the step's value of a key while batches run, the epoch's once there is one."""
        live = {} if self.closing == "train" else self._live(_any, plain=True)
        return {key: as_tensor(value) for key, value in {**self._callback, **live}.items()}

    @property
    def logged_metrics(self) -> dict[str, Any]:
        """What goes to the loggers."""
        live = {} if self.closing == "train" else self._live(_to_logger)
        return {key: as_tensor(value) for key, value in {**self._logged, **live}.items()}

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What the progress bar shows, as floats, read in one transfer."""
        live = {} if self.closing == "train" else self._live(_to_bar)
        return floats({**self._bar, **live})

    def values(self) -> dict[str, Any]:
        """All that a process started for a run hands back."""
        views = {"_callback": self.callback_metrics, "_logged": self.logged_metrics, "_bar": self.progress_bar_metrics}
        return {**views, "history": self.history}

    def adopt(self, values: Mapping[str, Any]) -> None:
        """The counterpart of :meth:`values`."""
        self.__dict__.update(values)

    def is_fresh(self, key: str) -> bool:
        """Whether this epoch gave the key a value: a stale one never decides."""
        return self._fresh.get(key, (None, 0))[0] == self.epoch or key in self._live(_any, plain=True)

    def is_current(self, key: str) -> bool:
        """Whether the key's value is that of the weights as they are: no step was taken since."""
        return self._fresh.get(key) == (self.epoch, self.step) or key in self._live(_any, plain=True)

    # --- checkpoints -----------------------------------------------------------------------------------------------------

    def saved(self) -> dict[str, Any]:
        """What this rank holds of the training epoch and all views; the states of metrics are kept apart from it."""
        entries = {(e.scope.hook, e.scope.loader, e.name): e for e in self._entries("train") if e.seen}
        if self.closing == "train":  # whose hooks at the end come again
            entries = {key: e for key, e in entries.items() if not e.scope.rule.epoch_only or "_start" in e.scope.hook}
        settle([entry for entry in entries.values() if isinstance(entry, ScalarEntry)])
        views = {
            name: {k: v for k, v in value.items() if is_plain(v)} for name, value in self.values().items() if name != "history"
        }
        touched = sorted(self.parking.touched())
        table = [(*key, entry.saved()) for key, entry in entries.items()]
        return {"entries": table, "views": views, "fresh": self._fresh, "touched": touched, "logged": sorted(self.parking.logged)}

    def load(self, saved: Mapping[str, Any]) -> None:
        """The views of a checkpoint, and which metrics are logged."""
        self.adopt(saved["views"])
        self._fresh = {key: (epoch, step) for key, (epoch, step) in saved["fresh"].items()}
        self.parking.logged.update(saved["logged"])

    def load_epoch(self, saved: Mapping[str, Any]) -> None:
        """The training epoch that a checkpoint broke off: its keys, which go on when they are logged again."""
        for hook, loader, name, state in saved["entries"]:
            scope = self.scopes.get((hook, loader))
            if scope is None:
                continue
            args = state["args"]
            entry: Entry | None = None
            if "where" not in state:
                kind = state["kind"]
                entry = ScalarEntry(self, scope, name, (*args[:4], "sum" if kind == "function" else kind, *args[5:]), None)
            elif state["where"] in self.parking.metrics:
                metric = self.parking.metrics[state["where"]]
                entry = MetricEntry(self, scope, name, (*args[:4], "mean", *args[5:]), metric, state["path"], state["where"])
            if entry is not None:
                entry.load(state)
                self._enter(scope, entry)
        self.parking.stages[-1].touched |= set(saved["touched"]) & set(self.parking.metrics)


def _any(_: Entry) -> bool:
    return True


def _to_logger(entry: Entry) -> bool:
    return entry.to_logger


def _to_bar(entry: Entry) -> bool:
    return entry.prog_bar


def _check_flags(entry: Entry) -> None:
    name, hook = entry.name, entry.scope.hook
    if not (entry.on_step or entry.on_epoch):
        raise ValueError(_message(name, "on_step and on_epoch are both False", "one of them is needed"))
    if entry.scope.rule.epoch_only and (entry.on_step or not entry.on_epoch):
        raise ValueError(_message(name, f"on_step={entry.on_step} in {hook}", "that hook can only log the epoch", "Leave it out."))
    if entry.sync_dist_group is not None and not dist.is_world(entry.sync_dist_group):
        raise ValueError(
            _message(name, "sync_dist_group is a group of its own", "values merge over all ranks", "Leave sync_dist_group out.")
        )
    if entry.stays_local:
        fix = "Its epoch's value is merged."
        text = _message(name, f"sync_dist=True in {hook}", "step values of uneven ranks stay local", fix)
        warnings.warn(text, stacklevel=5)
    if "/dataloader_idx_" in name and entry.args[8]:
        raise ValueError(
            _message(
                name, "its name contains '/dataloader_idx_'", "that ending is added by itself", "Pass add_dataloader_idx=False."
            )
        )


def _twice(scope: Scope, before: Entry, args: tuple[Any, ...]) -> NoReturn:
    was, now = (
        ", ".join(f"{name}={value!r}" for name, value, other in zip(NAMES, a, b, strict=True) if value != other)
        for a, b in ((before.args, args), (args, before.args))
    )
    raise ValueError(
        _message(
            before.name, f"it was called in {scope.hook} with {now}", f"before with {was}", "Use one set of arguments for a key."
        )
    )


def _nowhere(name: str, method: str) -> NoReturn:
    came = f"it was called in {method}" if method else "it was called outside of a hook"
    raise RuntimeError(_message(name, came, "nothing can be logged there", "Log in a step hook, or at an epoch's end."))


def _message(name: str, came: str, needed: str, fix: str = "") -> str:
    return check.message(f"self.log({name!r})", came, needed, fix)


__all__ = ["Book", "Scope"]
