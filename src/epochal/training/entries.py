"""What one logged key accumulates: numbers by their reduction, or a metric.

A number on the CPU is added up at once, in float64. One on an accelerator stays there: it is copied, appended to a short list, and
folded in blocks, so that ``self.log`` never waits for the device.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from epochal import check, dist
from epochal.metric import Metric, State
from epochal.training import foreign

if TYPE_CHECKING:
    from epochal.training.hooks import Rule
    from epochal.training.logbook import Book, Scope

REDUCTIONS: dict[Any, str] = {
    **{name: name for name in ("mean", "sum", "min", "max")},
    "avg": "mean",
    torch.mean: "mean",
    torch.sum: "sum",
    torch.min: "min",
    torch.max: "max",
    sum: "sum",
    min: "min",
    max: "max",
}
BLOCK = 128  # values that wait on a device before they are folded into one
ACCEPTED = "a number, a tensor of one element or one dimension, a Metric, a MetricCollection or what one returned is needed"


NAMES = (
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "reduce_fx",
    "enable_graph",
    "sync_dist",
    "sync_dist_group",
    "add_dataloader_idx",
    "metric_attribute",
    "rank_zero_only",
)


class Entry:
    """A key of one hook and loader: what was declared by the first call, and where its values go."""

    stays_local = False  # a step's value that was to be merged, and can't be

    def __init__(self, book: Book, scope: Scope, name: str, args: tuple[Any, ...]) -> None:
        said = dict(zip(NAMES, args, strict=True))
        self.book, self.scope, self.name, self.args = book, scope, name, args
        self.prog_bar: bool = bool(said["prog_bar"])
        self.to_logger: bool = said["logger"] is not False
        self.on_step: bool = scope.rule.on_step if said["on_step"] is None else bool(said["on_step"])
        self.on_epoch: bool = scope.rule.on_epoch if said["on_epoch"] is None else bool(said["on_epoch"])
        self.sync_dist: bool | None = said["sync_dist"]
        self.sync_dist_group: Any = said["sync_dist_group"]
        self.alone: bool = bool(said["rank_zero_only"]) or dist.is_alone()
        self.suffix = scope.suffix if said["add_dataloader_idx"] else ""
        self.forked = self.on_step and self.on_epoch
        self.step_fork, self.epoch_fork = ("_step", "_epoch") if self.forked else ("", "")
        self.step_key = name + self.step_fork + self.suffix
        self.leaves: tuple[str, ...] = (name,)  # of a dict its entries
        self.taken: Any = None  # of a metric: what was final when it was logged, in an epoch's end
        self.last: Any = None  # the latest value, for the step
        self.at = -1  # the step it belongs to
        self.sent = True
        self.seen = False  # in this epoch
        self.done = False  # its epoch's value is out
        self.left = 0  # the epoch of a value that the next one has not replaced
        self.ghost = False  # declared by another rank, or before a checkpoint, and not yet here

    def follows(self, args: tuple[Any, ...]) -> bool:
        """Whether a call's arguments mean what those of the first do, though a function written in the call is anew each time."""
        rule = self.scope.rule
        same = _meaning(args, rule) == _meaning(self.args, rule)
        if same:
            self.args, self.ghost = args, False
        return same

    def add(self, value: Any, batch_size: int | None) -> None:
        """Take one call's value."""
        raise NotImplementedError

    def reset(self) -> None:
        """Begin a new epoch."""
        self.left = self.book.epoch
        self.seen = self.done = False

    def declaration(self) -> tuple[Any, ...]:
        """What must be the same on all ranks."""
        return (self.name, *self.args[:4], self.sync_dist is False, self.args[8])

    def keys(self, value: Any, fork: str = "") -> dict[str, Any]:
        """A value under its key, or under several where it is a vector or a dict."""
        named = expanded(self.name, value, fork, self.suffix)
        if not isinstance(value, Mapping):
            return named
        self.notice(value)
        clash = [self.book.clashes(self, leaf) for leaf in self.leaves]
        return {f"{self.name}_{key}" if clashes else key: item for (key, item), clashes in zip(named.items(), clash, strict=True)}

    def notice(self, value: Any) -> None:
        """Remember what the entries of a result are called."""
        if isinstance(value, Mapping):
            self.leaves = tuple(expanded(self.name, value))

    def saved(self) -> dict[str, Any]:
        """For a checkpoint: how it was declared, and what it holds."""
        args = [*self.args[:4], None, *self.args[5:]]
        args[NAMES.index("sync_dist_group")] = None  # all ranks, or it would have been refused
        last = self.last.detach().cpu() if isinstance(self.last, Tensor) else self.last
        held = {"last": last, "at": self.at, "sent": self.sent, "left": self.left}
        return {"args": tuple(args), "local": self.alone or self.sync_dist is False, **held}

    def load(self, saved: Mapping[str, Any]) -> None:
        """The counterpart of :meth:`saved`."""
        self.last, self.at, self.sent, self.left = (saved[name] for name in ("last", "at", "sent", "left"))
        self.seen, self.ghost = True, True

    def inherit(self, ghost: Entry) -> None:
        """Go on from what a ghost holds that was declared with a function, which no checkpoint keeps."""

    def stamp(self, value: Any) -> None:
        self.last, self.at, self.sent, self.seen = value, self.book.step, False, True


class ScalarEntry(Entry):
    """Numbers, reduced by "mean" (weighted by batch size), "sum", "min", "max" or a function of all of them."""

    def __init__(self, book: Book, scope: Scope, name: str, args: tuple[Any, ...], value: Any) -> None:
        super().__init__(book, scope, name, args)
        reduce_fx = args[4].lower() if isinstance(args[4], str) else args[4]
        self.function: Callable[..., Any] | None = None
        if reduce_fx in REDUCTIONS:
            self.kind = REDUCTIONS[reduce_fx]
        elif callable(reduce_fx):
            self.kind, self.function = "function", reduce_fx
        else:
            check.choice(f"self.log({name!r})", "reduce_fx", reduce_fx, ["mean", "sum", "min", "max", "a callable"])
        self.dtype = torch.float64 if isinstance(value, Tensor) and value.dtype == torch.float64 else torch.float32
        self.plain = self.kind == "mean"  # the one that needs weights, and the one that is common
        merges = self.sync_dist is True and self.on_step and not self.alone and dist.available()
        self.merges_steps = merges and scope.stage == "train" and book.steps_are_even
        self.stays_local = merges and not self.merges_steps  # the ranks of an evaluation may be uneven
        self.reduced: Tensor | None = None  # of a checkpoint: by a function that it does not keep
        self.step_size: int | None = None  # the weight of a step's value where its call said so
        self.reset()

    def declaration(self) -> tuple[Any, ...]:
        return (*super().declaration(), self.kind, _function_name(self.function))

    def reset(self) -> None:
        super().reset()
        self.total, self.weight = 0.0, 0.0
        self.values: list[float] = []  # of "min", "max": the extreme alone
        self.waiting: list[tuple[Tensor, float]] = []

    def add(self, value: Any, batch_size: int | None) -> None:
        book = self.book
        if self.merges_steps:
            book.unmerged[self.scope.hook, self.scope.loader, self.name] = self
            self.step_size = batch_size
        if isinstance(value, Tensor):
            if value.__dict__ and foreign.metric_of(value) is not None:  # a plain tensor has no attributes
                _changed(self, "a metric's value")
            if not value.is_cpu or book.defers or value.ndim:
                samples = value.numel()
                if samples != 1:
                    value, batch_size = self._of_samples(value), samples if batch_size is None else batch_size
                if not value.is_cpu or book.defers or value.numel() != 1:
                    self._wait(value, batch_size)
                    return
            value = value.item()
        if type(value) is not float:
            value = _number(self.name, value)
        self.last, self.at, self.sent, self.seen = value, book.step, False, True
        if self.on_epoch:
            if self.plain:
                weight = (book.size or book.batch_size(self.name)) if batch_size is None else float(batch_size)
                if weight:  # a mean of no samples counts for nothing, though it is NaN
                    self.total += value * weight
                    self.weight += weight
            else:
                self._fold(value)

    def _of_samples(self, value: Tensor) -> Tensor:
        if value.ndim != 1 or not value.is_floating_point() or not value.numel():
            check.fail(
                f"self.log({self.name!r})",
                f"value is a tensor of shape {check.shape(value)} and dtype {value.dtype}",
                "one element, or one dimension of floats (a value per sample) is needed",
                "Pass value.mean(), or log the metric that it came from.",
            )
        return value if self.function is not None else torch.stack([getattr(value, self.kind)()])[0]

    def _wait(self, value: Tensor, batch_size: int | None) -> None:
        value = value.detach().clone()  # the user may change it in place
        self.stamp(value if value.numel() == 1 else value.mean())
        if not self.on_epoch:
            return
        weight = self._weight(batch_size) if self.plain else 1
        if not weight:
            return
        self.waiting.append((value, weight))
        if len(self.waiting) >= BLOCK and self.function is None:
            self._fold_block()

    def _weight(self, batch_size: int | None) -> float:
        return self.book.batch_size(self.name) if batch_size is None else float(batch_size)

    def _fold_block(self) -> None:
        values = torch.stack([value.reshape(()) for value, _ in self.waiting])
        values = values if values.device.type == "mps" else values.double()
        if self.plain:
            weights = torch.tensor([weight for _, weight in self.waiting], dtype=values.dtype, device=values.device)
            total = sum(weight for _, weight in self.waiting)
            self.waiting = [((values * weights).sum() / total, total)]
        else:
            self.waiting = [(getattr(values, self.kind)(), 1)]

    def _fold(self, value: float) -> None:
        if self.kind == "sum":
            self.total += value
        elif self.kind == "function" or not self.values:
            self.values.append(value)
        elif self.values[0] == self.values[0]:  # a NaN stays
            better = value < self.values[0] if self.kind == "min" else value > self.values[0]
            if better or value != value:
                self.values[0] = value

    def settle(self, numbers: Sequence[list[float]]) -> None:
        """Fold in what waited on the device, read in one transfer with that of other keys."""
        for (_, weight), row in zip(self.waiting, numbers, strict=True):
            for value in row:
                if self.plain:
                    self.total += value * weight
                    self.weight += weight
                else:
                    self._fold(value)
        self.waiting = []

    def folded(self) -> tuple[float, float, list[float]]:
        """What merges over ranks."""
        return self.total, self.weight, self.values

    def folded_step(self) -> tuple[float, float, list[float]]:
        """What of this batch's value merges over ranks."""
        value = float(self.last)
        if self.plain:
            weight = self._weight(self.step_size)
            return value * weight if weight else 0.0, weight, []
        return (value, 0.0, []) if self.kind == "sum" else (0.0, 0.0, [value])

    def saved(self) -> dict[str, Any]:
        double = self.dtype == torch.float64
        reduced = self.result(self.folded()) if self.kind == "function" else None
        return {**super().saved(), "kind": self.kind, "double": double, "folded": self.folded(), "reduced": reduced}

    def load(self, saved: Mapping[str, Any]) -> None:
        super().load(saved)
        total, weight, values = saved["folded"]
        self.kind, self.total, self.weight, self.values = saved["kind"], total, weight, list(values)
        self.reduced = saved["reduced"]
        self.dtype = torch.float64 if saved["double"] else torch.float32

    def inherit(self, ghost: Entry) -> None:
        if isinstance(ghost, ScalarEntry) and ghost.seen and ghost.kind == self.kind:
            self.total, self.weight, self.values = ghost.total, ghost.weight, [*ghost.values, *self.values]
            self.seen = True

    def result(self, folded: tuple[float, float, list[float]]) -> Tensor:
        total, weight, values = folded
        if self.kind == "mean":
            return torch.tensor(total / weight if weight else float("nan"), dtype=self.dtype)
        if self.kind == "sum":
            return torch.tensor(total, dtype=self.dtype)
        if self.kind == "function" and self.function is None:
            if self.reduced is not None and not dist.available():
                return self.reduced
            came = "it was logged before the checkpoint and not after it"
            text = check.message(f"self.log({self.name!r})", came, "its reduce_fx is a function, which is in no checkpoint")
            warnings.warn(text, stacklevel=2)
            return torch.tensor(float("nan"))
        if self.function is None:
            return torch.tensor(values[0], dtype=self.dtype)
        return torch.as_tensor(self.function(torch.tensor(values, dtype=self.dtype)))


def fold(kind: str, a: tuple[float, float, list[float]], b: tuple[float, float, list[float]]) -> tuple[float, float, list[float]]:
    """Merge what two ranks have of one key."""
    values = [*a[2], *b[2]]
    if kind in ("min", "max") and values:
        tensor = torch.tensor(values, dtype=torch.float64)
        values = [(tensor.min() if kind == "min" else tensor.max()).item()]
    return a[0] + b[0], a[1] + b[1], values


class MetricEntry(Entry):
    """A metric, or one of the keys of its result: the epoch's value is its ``compute`` over all of the epoch's data."""

    def __init__(
        self, book: Book, scope: Scope, name: str, args: tuple[Any, ...], metric: Any, path: tuple[Any, ...], where: str | None
    ) -> None:
        super().__init__(book, scope, name, args)
        self.metric, self.path = metric, path
        self.where = where  # its name in the module: None for a formula that was built on the way

    def declaration(self) -> tuple[Any, ...]:
        return (*super().declaration(), self.where, self.path)

    def saved(self) -> dict[str, Any]:
        return {**super().saved(), "where": self.where, "path": tuple(self.path)}

    def reset(self) -> None:
        super().reset()
        self.taken = None

    def add(self, value: Any, batch_size: int | None) -> None:  # noqa: ARG002  # a metric weighs by itself
        book = self.book
        is_result = isinstance(value, Tensor | Mapping | list | tuple)
        metric = value
        if is_result:
            found = foreign.owner_of(value)
            if found is None:
                _changed(self, "a plain number" if isinstance(value, Tensor) else f"a {type(value).__name__}")
            metric = found[0]
        elif not hasattr(metric, "compute"):
            _changed(self, f"a {type(value).__name__}")
        if metric is not self.metric:
            self._renew(metric)
        self.seen = True
        if self.scope.rule.epoch_only:
            self.taken = book.taken(metric, value if is_result else None)
        elif self.on_step:
            step = value if is_result else follow(book.batch_value(metric), self.path)
            if step is not None:
                self.stamp(step.detach() if isinstance(step, Tensor) else step)
                self.notice(step)

    def _renew(self, metric: Any) -> None:
        """A formula may be built anew at each step; two metrics of the module under one key are a mistake."""
        if self.where is not None or self.book.where(metric) is not None:
            _changed(self, f"another {type(metric).__name__}")
        self.metric = metric


def follow(value: Any, path: Sequence[Any]) -> Any:
    """The part of a result that the keys lead to."""
    for key in path:
        value = value[key]
    return value


def expanded(name: str, value: Any, fork: str = "", suffix: str = "") -> dict[str, Any]:
    """A result as keys, ``fork`` and ``suffix`` at their ends.

    A dict gives its own names, in a dict of dicts behind that of the outer; a vector one for each element; a matrix or a curve
    stays whole.
    """
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for key, item in value.items():
            before = f"{key}_" if isinstance(item, Mapping) else ""
            out.update({before + leaf: part for leaf, part in expanded(str(key), item, fork, suffix).items()})
        return out
    if isinstance(value, Tensor) and value.ndim == 1 and value.numel() > 1:
        return {f"{name}{fork}_{i}{suffix}": item for i, item in enumerate(value.unbind())}
    return {name + fork + suffix: value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value}


def _meaning(args: tuple[Any, ...], rule: Rule) -> tuple[Any, ...]:
    """Arguments to compare: None is the hook's default, a reduction is what it does: a name, its function, the code of a lambda."""
    reduce_fx = args[4].lower() if isinstance(args[4], str) else args[4]
    if isinstance(reduce_fx, functools.partial):
        meaning: Any = (reduce_fx.func, reduce_fx.args, reduce_fx.keywords)
    else:
        meaning = REDUCTIONS.get(reduce_fx) or getattr(reduce_fx, "__code__", reduce_fx)
    prog_bar, logger, on_step, on_epoch = args[:4]
    on_step, on_epoch = rule.on_step if on_step is None else on_step, rule.on_epoch if on_epoch is None else on_epoch
    return (prog_bar, logger is not False, on_step, on_epoch, meaning, *args[5:])


def _function_name(function: Any) -> str | None:
    """What a reduction is called on all ranks alike."""
    if function is None:
        return None
    function = function.func if isinstance(function, functools.partial) else function
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _number(name: str, value: Any) -> float:
    if isinstance(value, Number) and not isinstance(value, complex):
        return float(value)  # type: ignore[arg-type]  # numpy's scalars are Numbers, too
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return float(value.item())
    raise TypeError(check.message(f"self.log({name!r})", f"value is {_kind(value)}", ACCEPTED, "Pass a float."))


def _kind(value: Any) -> str:
    return f"the string {value!r}" if isinstance(value, str) else f"a {type(value).__name__}"


def _changed(entry: Entry, came: str) -> NoReturn:
    was = f"the metric {entry.where or 'that a formula built'}" if isinstance(entry, MetricEntry) else "a number"
    raise ValueError(
        check.message(
            f"self.log({entry.name!r})", f"value is {came}", f"this key was {was} before", "Use one key for one quantity."
        )
    )


class Scalars(Metric):
    """All numbers of an epoch as one metric: a table by key, whose merge is a union by name.

    A rank that logged nothing under a key contributes nothing to it; a key that two ranks declared differently is an error on all.
    """

    def merge(self, a: State, b: State) -> State:
        table = dict(a["table"])
        for key, (declared, folded) in b["table"].items():
            if key not in table:
                table[key] = (declared, folded)
                continue
            other, before = table[key]
            if other != declared:
                here, there = _differing(declared, other)
                check.fail(
                    f"self.log({key[2]!r})",
                    f"in {key[0]} one rank said {here}",
                    f"another said {there}",
                    "Log a key with the same arguments on all ranks.",
                )
            table[key] = (declared, folded if before is None else fold(declared[-2], before, folded))
        return {"table": table, "touched": a["touched"] | b["touched"]}


DECLARED = ("name", *NAMES[:4], "sync_dist=False", "add_dataloader_idx", "kind", "of")


def _differing(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[str, str]:
    """What two ranks declared differently, in words."""
    pairs = [(name, x, y) for name, x, y in zip(DECLARED, a, b, strict=True) if x != y]
    return ", ".join(f"{name}={x!r}" for name, x, _ in pairs), ", ".join(f"{name}={y!r}" for name, _, y in pairs)
