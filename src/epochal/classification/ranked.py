"""One statistic for all classification metrics that read scores at every threshold: curves, areas, operating points.

Exact (``thresholds=None``), it is the samples themselves: a score of its own precision and a small integer for the target. Scores
of half precision, of which there are 65 536, are counted instead, in constant memory; those of several classes are kept, since
they are ranked by their whole row. Binned, it is a table: how many positives and negatives lie between two thresholds.

Binary and multilabel scores are ranked as they are: a sigmoid keeps their order, and where it saturates it loses it. Scores of
several classes are ranked as they are if they are probabilities, and by ``log_softmax`` in float64 if they are logits, since a
softmax changes the order between rows. Which they are is a property of all the data (:mod:`epochal.classification.tasks`): what
lies outside of [0, 1] is counted, and a binned statistic counts under both readings.

Metrics read a :class:`Ranking`: the :class:`~epochal.classification.points.Points` of each class, or of all of them pooled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.arguments import OfTask
from epochal.classification.points import Points, RowPoints, ordered, points_of, scores_of
from epochal.classification.tables import Family
from epochal.classification.tasks import Binary, Multiclass, Multilabel
from epochal.metric import Metric, MetricOptions, State
from epochal.numeric import constant, derived, has_nan, histogram, wide

T = TypeVar("T")
Thresholds: TypeAlias = int | Sequence[float] | Tensor | None
HALVES = {torch.float16: "float16", torch.bfloat16: "bfloat16"}
VALUES = 2**16  # that have two bytes
AVERAGES = ("micro", "macro", "weighted", "none", None)


def is_outside(scores: Tensor) -> Tensor:
    """Of [0, 1], by more than a few ulps: a sigmoid or a softmax may end an ulp above 1."""
    tolerance = 4 * torch.finfo(scores.dtype).eps
    return (scores < -tolerance) | (scores > 1 + tolerance)


def log_shares(scores: Tensor) -> Tensor:
    """``log_softmax`` in float64, of infinite scores its limit: those at the top share all alike."""
    scores = wide(scores)
    top = scores.amax(1, keepdim=True)
    return torch.where(top.isinf(), torch.where(scores == top, 0.0, -torch.inf), scores).log_softmax(1)


class Rows(NamedTuple):
    """Scores (N, classes), and what they belong to."""

    scores: Tensor
    target: Tensor  # (N, classes) of 0 and 1, or (N, 1) of classes; what is left out has the next number
    left_out: Tensor | None = None  # bools of target's shape
    faults: Tensor | int = 0  # how many are left out as bad


def rows(scores: Tensor, target: Tensor, labels: int, ignore_index: int | None) -> Rows:
    """Mark what is ignored, and what is bad: a label out of range, NaN."""
    dtype = torch.uint8 if labels < 2**8 else torch.int16 if labels < 2**15 else torch.int32
    if are_whole(scores, target, labels, ignore_index):
        return Rows(scores, target.to(dtype))
    nan = scores.isnan()
    if scores.shape != target.shape:
        nan = nan.any(1, keepdim=True)
    target = target.long()
    bad = (target.clamp(0, labels - 1) != target) | nan
    left_out = bad
    if ignore_index is not None:
        ignored = target == ignore_index
        bad, left_out = bad & ~ignored, bad | ignored
    return Rows(scores, target.masked_fill(left_out, labels).to(dtype), left_out, bad.sum())


def are_whole(scores: Tensor, target: Tensor, labels: int, ignore_index: int | None) -> bool:
    """Whether nothing is left out, by the cheapest look at all of it, where one is free."""
    if (
        target.dtype is not torch.int64
        or scores.dtype is not torch.float32
        or not (check.reads_values(scores.device) and check.reads_values(target.device) and target.numel())
        or (ignore_index is not None and 0 <= ignore_index < labels)
    ):
        return False
    is_valid = target.numpy().view(np.uint64).max() < labels  # negative labels are huge
    return bool(is_valid) and not has_nan(scores.numpy(force=True))


# --- tasks: raw input as rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BinaryRanks(Binary):
    """Two classes: preds and target of one shape (N, ...)."""

    classes: ClassVar[int] = 1  # that have a curve
    by_row: ClassVar[bool] = False

    def rows(self, metric: Any, preds: Tensor, target: Tensor) -> Rows:
        self.check(metric, preds, target)
        check.floating(metric, preds=preds)
        return rows(preds.reshape(-1, 1), target.reshape(-1, 1), 2, self.ignore_index)


@dataclass(frozen=True)
class MultilabelRanks(Multilabel):
    """Any of several labels: preds and target of one shape (N, num_labels, ...)."""

    by_row: ClassVar[bool] = False

    @property
    def classes(self) -> int:
        return self.num_labels

    def rows(self, metric: Any, preds: Tensor, target: Tensor) -> Rows:
        self.check(metric, preds, target)
        check.floating(metric, preds=preds)
        preds, target = (part.movedim(1, -1).reshape(-1, self.num_labels) for part in (preds, target))
        return rows(preds, target, 2, self.ignore_index)


@dataclass(frozen=True)
class MulticlassRanks(Multiclass):
    """One of several classes, each against the others: preds (N, num_classes, ...) and target (N, ...)."""

    logits: bool | None = None
    by_row: ClassVar[bool] = True

    @property
    def classes(self) -> int:
        return self.num_classes

    def check_arguments(self, metric: Any) -> None:
        super().check_arguments(metric)
        check.choice(metric, "logits", self.logits, (None, True, False))

    def rows(self, metric: Any, preds: Tensor, target: Tensor) -> Rows:
        if not self._fits(preds, target):
            self._complain(metric, preds, target)
        check.floating(metric, preds=preds)
        preds = preds.movedim(1, -1).reshape(-1, self.num_classes)
        return rows(preds, target.reshape(-1, 1), self.num_classes, self.ignore_index)


RankedTask: TypeAlias = BinaryRanks | MultilabelRanks | MulticlassRanks


# --- readings -----------------------------------------------------------------------------------------------------------------


class Ranking:
    """What a metric reads: :attr:`each` class's points, those of all :attr:`pooled`, and how many are positive."""

    each: Sequence[Points]
    pooled: Points
    positives: Tensor

    def of(self, formula: Callable[[Points], Tensor]) -> Tensor:
        """A score for each class."""
        return torch.stack([formula(points) for points in self.each])

    def curves(self, curve: Callable[[Points], tuple[Tensor, ...]]) -> tuple[Any, ...]:
        """A curve for each class: lists, since they differ in length."""
        return tuple(list(parts) for parts in zip(*(curve(points) for points in self.each), strict=True))


Counted: TypeAlias = tuple[Tensor, Tensor]  # ascending values, and the counts (classes, 2, values) of negatives and positives


class ExactRanking(Ranking):
    """Of rows, and of values that are counted."""

    def __init__(self, task: RankedTask, scores: Tensor, target: Tensor, counted: Sequence[Counted]) -> None:
        self.task, self.scores, self.target, self.counted = task, scores, target, counted

    @derived
    def logits(self) -> bool:
        """Whether scores are; what is ranked as it is asks for thresholds alone."""
        if self.task.logits is not None:
            return self.task.logits
        rows = is_outside(self.scores) & (self.target != self.task.labels)
        return bool(rows.any()) or any(bool((is_outside(of) & (counts > 0)).any()) for of, counts in self.counted)

    @derived
    def ranked(self) -> Tensor:
        """(classes, N), each row ranked by itself."""
        return (log_shares(self.scores) if self.task.by_row and self.logits else self.scores).T.contiguous()

    @derived
    def positive(self) -> Tensor:
        """(classes, N)."""
        classes = _columns(self.task.classes, self.target.device)[0].unsqueeze(1) if self.task.by_row else 1
        return torch.eq(self.target.T, classes)

    @derived
    def kept(self) -> Tensor:
        """(classes, N)."""
        return (self.target != self.task.labels).T.expand_as(self.ranked)

    @derived
    def leaves_out(self) -> bool:
        return not bool(self.kept.all())

    def scale(self, scores: Tensor) -> Tensor:
        """Thresholds are probabilities, as everywhere."""
        return scores if not self.logits else scores.exp() if self.task.by_row else scores.sigmoid()

    def _points(self, scores: Tensor, positive: Tensor, counted: Sequence[Counted]) -> Points:
        if not counted:
            return RowPoints(scores, positive, self.scale)
        values = torch.cat([wide(scores), *(wide(of) for of, _ in counted)])
        both = [torch.stack([~positive, positive]).long(), *(counts for _, counts in counted)]
        negative, positive = torch.cat(both, 1).unbind()
        samples = negative + positive
        found = samples.nonzero().squeeze(1)
        values, order = values[found].sort()
        points = points_of(values, positive[found][order], samples[found][order])
        points.thresholds = self.scale(points.thresholds)
        return points

    @derived
    def each(self) -> Sequence[Points]:
        out = []
        for c, (scores, positive) in enumerate(zip(self.ranked, self.positive, strict=True)):
            rows = (scores[self.kept[c]], positive[self.kept[c]]) if self.leaves_out else (scores, positive)
            out.append(self._points(*rows, [(values, counts[c]) for values, counts in self.counted]))
        return out

    @derived
    def pooled(self) -> Points:
        counted = [(values, counts.sum(0)) for values, counts in self.counted]
        return self._points(self.ranked[self.kept], self.positive[self.kept], counted)

    @derived
    def positives(self) -> Tensor:
        return torch.stack([points.positives for points in self.each])


class BinnedRanking(Ranking):
    """Of counts (classes, 2, bins) of negatives and positives, between thresholds."""

    def __init__(self, thresholds: Tensor, counts: Tensor) -> None:
        self.thresholds, self.counts = thresholds, counts

    def _points(self, counts: Tensor) -> Points:
        least = wide(counts.flip(-1).cumsum(-1).flip(-1))
        (negatives, positives), (fp, tp) = least[..., 0].unbind(-1), least[..., 1:].unbind(-2)
        return Points(self.thresholds, tp, fp, positives, negatives)

    @derived
    def together(self) -> Points:
        """All classes at once."""
        return self._points(self.counts)

    @derived
    def each(self) -> Sequence[Points]:
        return [self._points(counts) for counts in self.counts]

    @derived
    def pooled(self) -> Points:
        return self._points(self.counts.sum(0))

    @derived
    def positives(self) -> Tensor:
        return self.together.positives

    def of(self, formula: Callable[[Points], Tensor]) -> Tensor:
        return formula(self.together)

    def curves(self, curve: Callable[[Points], tuple[Tensor, ...]]) -> tuple[Any, ...]:
        """A curve for each class: tensors with a row for each, of shared thresholds."""
        return curve(self.together)


# --- thresholds ---------------------------------------------------------------------------------------------------------------


def hashable(thresholds: Thresholds) -> Any:
    """Thresholds as functions pass them on, which build a metric for each configuration once."""
    if isinstance(thresholds, Tensor):
        return tuple(thresholds.tolist()) if thresholds.ndim == 1 else thresholds
    return tuple(thresholds) if isinstance(thresholds, list) else thresholds


def edges_of(metric: Any, thresholds: Thresholds, bounded: bool) -> tuple[float, ...] | None:
    """Thresholds in ascending order; of a number, so many from 0 to 1. ``bounded``: they are probabilities."""
    if thresholds is None:
        return None
    if isinstance(thresholds, int):
        check.whole(metric, "thresholds", thresholds, 2)
        return tuple(i / (thresholds - 1) for i in range(thresholds))
    edges = thresholds.tolist() if isinstance(thresholds, Tensor) else thresholds
    came = f"thresholds is {thresholds!r}"
    if not isinstance(edges, list | tuple) or any(isinstance(edge, bool) or not isinstance(edge, int | float) for edge in edges):
        raise TypeError(check.message(metric, came, "a number of thresholds, a list or a tensor (T,) of them is needed"))
    low, high = (0.0, 1.0) if bounded else (-math.inf, math.inf)
    if not edges or not all(low <= edge <= high for edge in edges):
        fix = "Pass probabilities." if bounded else ""
        check.fail(metric, came, f"numbers from {low:g} to {high:g} are needed", fix)
    return tuple(sorted(float(edge) for edge in edges))


def _logit(p: float) -> float:
    return math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)


SCALES: dict[str, Callable[[float], float]] = {
    "probability": float,
    "logit": _logit,
    "log": lambda p: math.log(p) if p > 0 else -math.inf,
}
Scales: TypeAlias = tuple[str, ...]  # of one kind of scores, on which thresholds may be


@constant
def _edges(edges: tuple[float, ...], scales: Scales, dtype: torch.dtype, device: torch.device) -> tuple[Tensor]:
    """Thresholds on the scales of the scores, of all scales in one order."""
    return (torch.tensor(sorted(SCALES[scale](edge) for scale in scales for edge in edges), dtype=dtype, device=device),)


@constant
def _intervals(edges: tuple[float, ...], scales: Scales, which: int, device: torch.device) -> tuple[Tensor]:
    """Between which thresholds of one scale lies what is counted between those of all."""
    order = sorted((SCALES[scale](edge), place == which) for place, scale in enumerate(scales) for edge in edges)
    return (torch.tensor([0, *accumulate(int(own) for _, own in order)], device=device),)


@constant
def _columns(classes: int, device: torch.device) -> tuple[Tensor]:
    return (torch.arange(classes, device=device),)


@constant
def _values(dtype: torch.dtype, device: torch.device) -> tuple[Tensor]:
    """All values of half precision, in the order of :func:`~epochal.classification.points.ordered`."""
    whole = torch.arange(-VALUES // 2, VALUES // 2, device=device).to(torch.int16)
    return (scores_of(whole, dtype),)


# --- the statistic ------------------------------------------------------------------------------------------------------------


class RankedMetric(OfTask, Metric, metaclass=Family):
    """A metric that reads scores at every threshold.

    ``thresholds``: None keeps all samples and is exact; a number of them from 0 to 1, or a list or tensor of probabilities, counts
    in constant memory. Scores that equal a threshold are positive. ``logits``: whether scores are logits; None: they are if any of
    all the data lies outside of [0, 1]. ``ignore_index``: a value in target that leaves the sample (or label of it) out.
    ``average``: "micro" pools the samples of all classes, each a decision of its own; "macro" is the mean over the classes that
    have a value, "weighted" weighs them by how many are positive; "none" or None returns each.
    ``validate_args=False`` skips the check of values: labels out of range and NaN are then left out in silence.
    """

    is_differentiable = False
    plot_lower_bound: float | None = 0.0
    plot_upper_bound: float | None = 1.0
    task_name: ClassVar[str | None] = None

    def __init__(
        self,
        task: RankedTask,
        thresholds: Thresholds = None,
        average: str | None = "none",
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        task.check_arguments(self)
        check.choice(self, "average", average, AVERAGES)
        self.task, self.average, self.validate_args = task, average, validate_args
        self.thresholds = edges_of(self, thresholds, bounded=task.logits is not False)
        if self.thresholds is None:
            self.add_state("scores", [], dist_reduce_fx="cat")
            self.add_state("target", [], dist_reduce_fx="cat")
            for name in () if task.by_row else HALVES.values():
                self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")  # a table, from the first such scores on
        else:
            shape = (len(self.scales), task.classes, 2, len(self.scales[0]) * len(self.thresholds) + 1)
            self.add_state("table", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state("outside", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("faults", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def scales(self) -> list[Scales]:
        """Of the thresholds that each table counts between: those of both readings at once, where both see the same scores."""
        logits = "log" if self.task.by_row else "logit"
        if self.task.logits is not None:
            return [(logits if self.task.logits else "probability",)]
        return [("probability",), (logits,)] if self.task.by_row else [("probability", logits)]

    def measured_by(self) -> Hashable:
        return self.task, self.thresholds, self.validate_args

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Keep the samples, or count them. ``preds``, ``target``: as the task says."""
        found = self.task.rows(self, preds.detach() if isinstance(preds, Tensor) else preds, target)
        state = self._binned(found) if self.thresholds is not None else self._exact(found)
        return {**state, "faults": found.faults}

    def _exact(self, found: Rows) -> State:
        half = None if self.task.by_row else HALVES.get(found.scores.dtype)
        nothing: State = {} if self.task.by_row else dict.fromkeys(HALVES.values(), 0)
        if half is None:
            return {**nothing, "scores": found.scores, "target": found.target}
        value = ordered(found.scores).long() + VALUES // 2
        return {**nothing, "scores": [], "target": [], half: self._counted(value, VALUES, found)}

    def _binned(self, found: Rows) -> State:
        thresholds, scores = self.thresholds or (), found.scores
        tables = []
        for scales in self.scales:
            ranked = log_shares(scores) if scales == ("log",) else scores.contiguous()
            edges = _edges(thresholds, scales, ranked.dtype, ranked.device)[0]
            tables.append(self._counted(torch.bucketize(ranked, edges, right=True), len(edges) + 1, found))
        outside = is_outside(scores)
        return {
            "table": torch.stack(tables),
            "outside": (outside if found.left_out is None else outside & ~found.left_out).sum(),
        }

    def _counted(self, cell: Tensor, cells: int, found: Rows) -> Tensor:
        """(classes, 2, cells): how often each cell of (N, classes) occurs among negatives and positives."""
        column = _columns(self.task.classes, cell.device)[0]
        positive = found.target == (column if self.task.by_row else 1)
        size = self.task.classes * 2 * cells
        index = cell + cells * (2 * column + positive)
        if found.left_out is not None:
            index = index.masked_fill(found.left_out, size)
        return histogram(index, size + 1)[:-1].view(self.task.classes, 2, cells)

    def _read(self, table: Tensor, outside: Tensor) -> Tensor:
        """(classes, 2, bins): counted as probabilities, or as logits if any score lies outside of them."""
        if self.task.logits is not None:
            return table[0]
        if self.task.by_row:
            return torch.where(outside > 0, table[1], table[0])
        scales, thresholds = self.scales[0], self.thresholds or ()
        intervals = [_intervals(thresholds, scales, which, table.device)[0] for which in range(2)]
        interval = torch.where(outside > 0, intervals[1], intervals[0])
        return table.new_zeros(*table.shape[1:-1], len(thresholds) + 1).index_add(-1, interval, table[0])

    def verify(self, state: State) -> None:
        if self.validate_args and state["faults"]:
            came = f"{int(state['faults'])} values are labels out of range or NaN"
            check.fail(self, came, f"{self.task.valid} and numbers are needed")

    def diagnose(self, preds: Tensor, target: Tensor) -> None:
        self.task.diagnose(self, preds, target)

    def derive(self, faults: Tensor, **state: Any) -> dict[str, Ranking]:  # noqa: ARG002  # verified
        if self.thresholds is not None:
            edges = _edges(self.thresholds, ("probability",), torch.float64, state["table"].device)[0]
            return {"ranking": BinnedRanking(edges, self._read(state["table"], state["outside"]))}
        task = self.task
        scores = state["scores"].reshape(-1, task.classes)
        target = state["target"].reshape(-1, 1 if task.by_row else task.classes)
        counted = [
            (_values(dtype, state[name].device)[0], state[name])
            for dtype, name in HALVES.items()
            if isinstance(state.get(name), Tensor) and state[name].ndim
        ]
        return {"ranking": ExactRanking(task, scores, target, counted)}

    def extra_repr(self) -> str:
        return f"{self.task}, thresholds={self.thresholds}"


class BinaryRanked(RankedMetric):
    """Of a binary task: ``update(preds, target)`` with scores and labels 0 and 1 of one shape ``(N, ...)``.

    ``normalization``: "sigmoid", or None where scores outside of [0, 1] are no logits: their thresholds are then scores, too.
    """

    task_name = "binary"

    def __init__(
        self,
        thresholds: Thresholds = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        normalization: str | None = "sigmoid",
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check.choice(self, "normalization", normalization, ("sigmoid", None))
        if normalization is None:
            if logits:
                check.fail(self, "normalization is None", "logits is True", "Pass one of the two.")
            logits = False
        super().__init__(BinaryRanks(0.5, ignore_index, logits), thresholds, "none", validate_args, **kwargs)
