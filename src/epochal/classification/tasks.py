"""What raw input means: each task is a frozen value that turns predictions and targets into the cells of a table.

A cell is a pair (target, prediction); :mod:`epochal.classification.tables` counts how often each occurs and reads tp, fp, tn,
fn or the confusion matrix back. Nothing here looks at a value: a label out of range or a NaN falls into a spare cell, a
sample to ignore weighs nothing.

Whether float predictions of a binary or multilabel metric are probabilities or logits is a property of all the data. The cell
of a prediction says on which side of the threshold it lies under either reading, and whether it lies outside of [0, 1]; once
any of all the data has been outside, they were logits. ``logits=True`` or ``False`` fixes the reading.

Longer than other files by a little: the tasks are one list, each beside those that it is like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from epochal import check
from epochal.classification.outcomes import Counts, GivenCounts, MatrixCounts, ThresholdedCounts
from epochal.numeric import Numbers, constant, has_nan, histogram, numbers, signed, stack, tabulated, where, within
from epochal.states import LARGE


class Cells(NamedTuple):
    """The cell of each element, and its weight (None: 1 each)."""

    cell: Tensor  # (N, X), or (N, num_labels, X); any shape where a task has one table of all
    weight: Tensor | None


def in_range(labels: Tensor, classes: int) -> Tensor:
    """Labels as int64, those outside of 0 .. classes-1 as ``classes``."""
    return labels.long().clamp(-1, classes).remainder(classes + 1)


def _rows(labels: Tensor) -> Tensor:
    """(N, ...) as (N, X)."""
    return labels.flatten(1) if labels.ndim > 1 else labels.reshape(-1, 1)


def valid_target(target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """Target as int64 and its weight; what is ignored is a valid label without weight."""
    target = target if target.dtype == torch.int64 else target.long()
    if ignore_index is None:
        return target, None
    ignored = target == ignore_index
    return target.masked_fill(ignored, 0), (~ignored).long()


def is_scores(preds: Tensor) -> bool:
    return preds.is_floating_point()


class Task:
    """The common part: the shape of a table, and where its spare cells are."""

    cells: int  # of one table; the last is spare: no pair of valid labels falls into it, everything out of range does
    strict = False  # whether all that is bad is out of range, so that the histogram by itself refuses it
    groups: int | None = None  # tables side by side, one for each label
    one_class_each: bool | None = False  # whether a sample has one class of several; None: both in a table
    ignore_index: int | None
    valid: str  # what labels are valid, in words

    def check_arguments(self, metric: Any) -> None:
        """Raise for arguments that suit no data."""
        if self.ignore_index is not None and not isinstance(self.ignore_index, int):
            came = f"ignore_index is {self.ignore_index!r}"
            raise TypeError(check.message(metric, came, "an integer is needed", "Pass a label, or None."))

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        raise NotImplementedError

    def table(self, metric: Any, preds: Tensor, target: Tensor) -> Tensor:
        """One table of all samples and labels."""
        index, weight = self.encode(metric, preds, target)
        return histogram(index, self.cells, weight)

    def counts(self, table: Tensor) -> Counts:
        raise NotImplementedError

    def matrix(self, table: Tensor) -> Numbers:
        raise NotImplementedError

    def faults(self, table: Tensor) -> Tensor:
        """The spare cells."""
        return table[..., -1]

    def diagnose(self, metric: Any, preds: Tensor, target: Tensor) -> None:
        """Name the values that are bad, for a message: looks at them."""
        if is_scores(preds) and bool(preds.isnan().any()):
            check.fail(metric, f"preds has {int(preds.isnan().sum())} NaN", "numbers are needed", "Check the model's output.")
        for name, labels in (("target", target), ("preds", preds)):
            if is_scores(labels):
                continue
            bad = labels[in_range(labels, self.labels) == self.labels]
            bad = bad if self.ignore_index is None else bad[bad != self.ignore_index]
            if bad.numel():
                found = ", ".join(str(v) for v in sorted(set(bad.tolist()))[:5])
                fix = (
                    f"Check the labels, or pass ignore_index={bad[0].item()}."
                    if name == "target"
                    else "Check the predicted labels."
                )
                check.fail(metric, f"{name} has the values {found}", f"{self.valid} are needed", fix)

    @property
    def labels(self) -> int:
        return 2


# --- binary and multilabel: on which side of the threshold -------------------------------------------------------------------

POSITIVE, POSITIVE_LOGIT, OUTSIDE = 1, 2, 4  # the bits of a prediction's code
CODES = 8
COLUMNS = CODES + 1  # a row for each target; its last column is spare
NOWHERE = -(2**40)  # out of range whatever is added to it


@constant
def _edges(threshold: float, logits: bool | None, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Edges that part the scores, and the code of each interval between them; behind the last, the code of NaN."""
    logit = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else math.inf if threshold >= 1 else -math.inf
    probability, logit = (logit, logit) if logits else (threshold, threshold if logits is False else logit)
    tolerance = 4 * torch.finfo(dtype).eps
    edges = sorted((probability, logit, -tolerance, 1 + tolerance))
    codes = []
    for i, (low, high) in enumerate(zip((-math.inf, *edges), (*edges, math.inf), strict=True)):  # each is (low, high]
        above = [i > 0 and low >= edge for edge in (probability, logit)]
        outside = high <= -tolerance or low >= 1 + tolerance
        codes.append(above[0] * POSITIVE + above[1] * POSITIVE_LOGIT + outside * OUTSIDE)
    return torch.tensor(edges, dtype=dtype, device=device), torch.tensor([*codes, NOWHERE], device=device)


READINGS = np.array(
    [[bool(c & POSITIVE), bool(c & POSITIVE_LOGIT), bool(c & OUTSIDE), True] for c in range(CODES)], dtype=np.float64
)


@constant
def _readings_on(device: torch.device) -> tuple[Tensor]:
    return (torch.tensor(READINGS.tolist(), dtype=torch.float64, device=device),)


def _readings(like: Numbers) -> Numbers:
    """(codes, 4): whether a code is positive as a probability, as a logit, outside of [0, 1], and 1."""
    return _readings_on(like.device)[0] if isinstance(like, Tensor) else READINGS


class Thresholded(Task):
    """What binary and multilabel tasks share: yes or no, by a threshold."""

    cells = 2 * COLUMNS
    threshold: float
    logits: bool | None
    valid = "labels 0 and 1"

    def check_arguments(self, metric: Any) -> None:
        super().check_arguments(metric)
        check.number(metric, "threshold", self.threshold, 0, 1)
        check.choice(metric, "logits", self.logits, (None, True, False))

    def check(self, metric: Any, preds: Tensor, target: Tensor) -> None:
        check.pair(metric, preds, target)
        check.integers(metric, target=target)

    def codes(self, preds: Tensor) -> Tensor:
        if not is_scores(preds):
            label = in_range(preds, 2)
            return (label * (POSITIVE | POSITIVE_LOGIT)).masked_fill_(label == 2, NOWHERE)
        edges, codes = _edges(self.threshold, self.logits, preds.dtype, preds.device)
        scores = preds.detach() if preds.requires_grad else preds
        interval = torch.bucketize(scores.contiguous(), edges)  # of a column, as probabilities[:, 1], it would warn
        return codes[interval.masked_fill_(preds != preds, codes.shape[0] - 1)]  # NaN alone differs from itself

    def pairs(self, preds: Tensor, target: Tensor) -> Cells:
        target, weight = valid_target(target, self.ignore_index)
        return Cells(torch.add(self.codes(preds), target, alpha=COLUMNS), weight)

    def faults(self, table: Tensor) -> Tensor:
        return table[..., CODES::COLUMNS]

    def counts(self, table: Tensor) -> ThresholdedCounts:
        pairs = numbers(table).reshape(*table.shape[:-1], 2, COLUMNS)[..., :CODES]
        pairs = pairs @ _readings(pairs)  # (..., 2 targets, 4)
        if self.logits is not None:  # both readings are the one that was asked for
            return ThresholdedCounts(pairs[..., 0], pairs[..., 3])
        as_logits = pairs[..., 2].sum() > 0
        return ThresholdedCounts(where(as_logits, pairs[..., 1], pairs[..., 0]), pairs[..., 3])

    def matrix(self, table: Tensor) -> Numbers:
        counts = self.counts(table)
        return stack([counts.of - counts.positive, counts.positive])


@dataclass(frozen=True)
class Binary(Thresholded):
    """Two classes: preds and target of one shape (N, ...)."""

    strict = True
    threshold: float = 0.5
    ignore_index: int | None = None
    logits: bool | None = None

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        self.check(metric, preds, target)
        index, weight = self.pairs(preds, target)
        return Cells(_rows(index), weight)


@dataclass(frozen=True)
class Multilabel(Thresholded):
    """Any of several labels: preds and target of one shape (N, num_labels, ...)."""

    num_labels: int
    threshold: float = 0.5
    ignore_index: int | None = None
    logits: bool | None = None

    def check_arguments(self, metric: Any) -> None:
        check.whole(metric, "num_labels", self.num_labels, 2)
        super().check_arguments(metric)

    @property
    def groups(self) -> int:  # type: ignore[override]
        return self.num_labels

    def check(self, metric: Any, preds: Tensor, target: Tensor) -> None:
        super().check(metric, preds, target)
        if preds.ndim < 2 or preds.shape[1] != self.num_labels:
            came = f"preds has shape {check.shape(preds)}"
            check.fail(metric, came, f"num_labels is {self.num_labels}, in dim 1", "Pass preds and target as (N, num_labels, ...).")

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        self.check(metric, preds, target)
        index, weight = self.pairs(preds, target)
        return Cells(index.flatten(2) if index.ndim > 2 else index.unsqueeze(-1), weight)


# --- multiclass --------------------------------------------------------------------------------------------------------------

FEW_SCORES = 1 << 15  # of a batch, up to which NumPy is faster, also than torch on several threads
FEW_CLASSES = 64  # up to here the whole confusion matrix is the cheapest statistic, and all metrics share it


@dataclass(frozen=True)
class Multiclass(Task):
    """One of several classes: preds as scores (N, C, ...) or labels (N, ...), target as labels (N, ...).

    ``top_k``: a prediction is right if the target is among the k highest scores, else it stands for the highest.
    """

    num_classes: int
    top_k: int = 1
    ignore_index: int | None = None
    one_class_each = True

    def check_arguments(self, metric: Any) -> None:
        super().check_arguments(metric)
        check.whole(metric, "num_classes", self.num_classes, 2)
        check.whole(metric, "top_k", self.top_k, 1)
        if self.top_k > self.num_classes:
            check.fail(metric, f"top_k is {self.top_k}", f"num_classes is {self.num_classes}")

    @property
    def labels(self) -> int:
        return self.num_classes

    @property
    def valid(self) -> str:  # type: ignore[override]
        return f"labels 0 to {self.num_classes - 1}"

    def predicted(self, metric: Any, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted labels, of target's shape, and which of them are none: NaN or out of range."""
        if not self._fits(preds, target):
            self._complain(metric, preds, target)
        if not preds.is_floating_point():
            label = in_range(preds, self.num_classes)
            return label, label == self.num_classes
        preds = preds.detach() if preds.requires_grad else preds
        top, label = preds.max(1)
        if self.top_k > 1:
            true = signed(target)
            among = (preds.topk(self.top_k, 1).indices == true.unsqueeze(1)).any(1)
            label = torch.where(among, true, label)
        return label, top.isnan()  # the maximum of a row with NaN is NaN, which alone differs from itself

    def _fits(self, preds: Tensor, target: Tensor) -> bool:
        if not isinstance(preds, Tensor) or not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
            return False
        scores, of = preds.shape, target.shape
        if preds.is_floating_point():
            return (
                len(scores) == len(of) + 1 > 1
                and scores[1] == self.num_classes
                and scores[0] == of[0]
                and (len(of) == 1 or scores[2:] == of[1:])
            )
        return scores == of and self.top_k == 1 and not preds.is_complex()

    def _complain(self, metric: Any, preds: Tensor, target: Tensor) -> None:
        check.tensors(metric, preds=preds, target=target)
        check.integers(metric, target=target)
        check.real(metric, preds=preds)
        if preds.ndim == target.ndim + 1 > 1:
            if not is_scores(preds):
                check.fail(
                    metric,
                    f"preds has shape {check.shape(preds)} and dtype {preds.dtype}, target {check.shape(target)}",
                    "scores (N, C, ...) are floats",
                    "Pass floats, or labels with the shape of target.",
                )
            if preds.shape[1] != self.num_classes:
                check.fail(
                    metric,
                    f"preds has {preds.shape[1]} classes in dim 1",
                    f"num_classes is {self.num_classes}",
                    f"Pass num_classes={preds.shape[1]}, or check the model's last layer.",
                )
        elif preds.shape == target.shape:
            need = "scores (N, C, ...) are needed for top_k > 1" if self.top_k > 1 else "labels are integers"
            fix = "Pass scores with the classes in dim 1." if self.top_k > 1 else "Pass scores (N, C, ...), or preds.long()."
            check.fail(metric, f"preds has shape {check.shape(preds)} and dtype {preds.dtype}", need, fix)
        check.fail(
            metric,
            f"preds has shape {check.shape(preds)} and target {check.shape(target)}",
            "they must be (N, C, ...) and (N, ...), or both (N, ...)",
            "Move the classes to dim 1, and pass labels, not one-hot targets.",
        )


@dataclass(frozen=True)
class MulticlassMatrix(Multiclass):
    """Counted as the whole confusion matrix, row by row; the columns behind the classes are spare."""

    strict = True

    @cached_property
    def columns(self) -> int:
        """Of a row: odd, since the least int64, which NaN becomes as an integer, times an even number is 0."""
        return self.num_classes + 1 + self.num_classes % 2

    @cached_property
    def cells(self) -> int:  # type: ignore[override]
        return self.num_classes * self.columns

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        label, bad = self.predicted(metric, preds, target)
        plain = self.ignore_index is None and target.dtype is torch.int64
        true, weight = (target, None) if plain else valid_target(target, self.ignore_index)
        index = torch.add(label, true, alpha=self.columns)  # out of range where target is
        return Cells(index.masked_fill_(bad, NOWHERE), weight)

    def table(self, metric: Any, preds: Tensor, target: Tensor) -> Tensor:
        """Of few scores, where a look is free, counted by NumPy in half the time; what is bad is for :meth:`encode` to say."""
        if self.counts_by_numpy(preds, target):
            scores, true = preds.numpy(force=True), target.numpy()
            if true.view(np.uint64).max() < self.num_classes and not has_nan(scores):  # negative labels are huge
                return torch.from_numpy(np.bincount(true * self.columns + scores.argmax(1), minlength=self.cells))
        index, weight = self.encode(metric, preds, target)
        return tabulated(index, self.cells, weight)

    def counts_by_numpy(self, preds: Tensor, target: Tensor) -> bool:
        return (
            self.top_k == 1
            and self.ignore_index is None
            and self._fits(preds, target)
            and preds.dtype is torch.float32
            and target.dtype is torch.int64
            and preds.ndim == 2
            and 0 < preds.numel() <= FEW_SCORES
            and self.cells < LARGE
            and check.reads_values(preds.device)
        )

    def faults(self, table: Tensor) -> Tensor:
        return table.view(self.num_classes, self.columns)[:, self.num_classes :]

    def matrix(self, table: Tensor) -> Numbers:
        return numbers(table).reshape(self.num_classes, self.columns)[:, : self.num_classes]

    def counts(self, table: Tensor) -> Counts:
        return MatrixCounts(self.matrix(table))


@dataclass(frozen=True)
class MulticlassMargins(Multiclass):
    """Counted as the margins and the diagonal of the confusion matrix: what tp, fp, tn and fn read, where there are many
    classes."""

    @cached_property
    def cells(self) -> int:  # type: ignore[override]
        return 3 * self.num_classes + 2  # one for what is not on the diagonal, one spare

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        classes, wrong, spare = self.num_classes, self.cells - 2, self.cells - 1
        label, bad = self.predicted(metric, preds, target)
        true, weight = valid_target(target, self.ignore_index)
        label, bad, true = _rows(label), _rows(bad), in_range(_rows(true), classes)
        both = (true + 2 * classes).masked_fill_(true != label, wrong)
        bad = bad | (true == classes)
        index = torch.cat([true.masked_fill_(bad, spare), (label + classes).masked_fill_(bad, wrong), both], 1)
        return Cells(index, None if weight is None else _rows(weight).repeat(1, 3))

    def counts(self, table: Tensor) -> Counts:
        margins = numbers(table[..., : 3 * self.num_classes]).reshape(*table.shape[:-1], 3, self.num_classes)
        return GivenCounts(margins[..., 2, :], margins[..., 1, :], margins[..., 0, :])


@dataclass(frozen=True)
class MulticlassCorrect(Multiclass):
    """Counted as right or wrong: all that a micro average of one label per sample needs, also where the classes are not known."""

    num_classes: int = 0  # 0: not known
    cells = 3  # wrong, right, spare
    strict = True

    def check_arguments(self, metric: Any) -> None:
        Task.check_arguments(self, metric)
        check.whole(metric, "top_k", self.top_k, 1)

    @property
    def labels(self) -> int:
        return self.num_classes or 2**62

    @property
    def valid(self) -> str:  # type: ignore[override]
        return f"labels 0 to {self.num_classes - 1}" if self.num_classes else "labels from 0 on"

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        known = self
        if not self.num_classes:
            check.tensors(metric, preds=preds, target=target)
            known = replace(self, num_classes=preds.shape[1] if preds.ndim == target.ndim + 1 > 1 else 2**62)
        label, bad = known.predicted(metric, preds, target)
        true, weight = valid_target(target, self.ignore_index)
        bad = bad | (true.clamp(0, known.num_classes - 1) != true)
        right = (true == label).long().masked_fill_(bad, NOWHERE)
        return Cells(right, weight)

    def counts(self, table: Tensor) -> Counts:
        cells = numbers(table[..., :2])
        right, samples = cells[..., 1], cells.sum(-1)
        return GivenCounts(right, samples, samples, samples * (self.num_classes or math.nan))


# --- exact match: a sample is one decision --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MulticlassExact(MulticlassCorrect):
    """Right if all positions of a sample are."""

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        cells, weight = super().encode(metric, preds, target)
        if cells.ndim < 2:
            return Cells(cells, weight)
        if weight is None:
            return Cells(cells.flatten(1).amin(1), None)
        weight = weight.flatten(1)
        return Cells(cells.flatten(1).masked_fill(weight == 0, 1).amin(1), weight.amax(1))  # what is ignored is not wrong

    def matches(self, table: Tensor) -> tuple[Numbers, Numbers]:
        """How many are right, of how many."""
        cells = numbers(table[..., :2])
        return cells[..., 1], cells.sum(-1)


@constant
def _verdicts(device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each cell of a thresholded task: whether it is wrong as a probability, wrong as a logit, outside of [0, 1], and spare;
    and what each of these counts for in a cell of a set of labels."""
    verdicts = []
    for cell in range(Thresholded.cells):
        target, code = divmod(cell, COLUMNS)
        wrong = [bool(code & bit) != bool(target) for bit in (POSITIVE, POSITIVE_LOGIT)]
        verdicts.append([*wrong, bool(code & OUTSIDE), False] if code < CODES else [False, False, False, True])
    return torch.tensor(verdicts, dtype=torch.int64, device=device), torch.tensor([1, 2, 4, NOWHERE], device=device)


@dataclass(frozen=True)
class MultilabelExact(Multilabel):
    """The verdicts on a set of labels: whether any is wrong, read as a probability or as a logit, and any outside of [0, 1]."""

    cells = 9
    strict = True

    @property
    def groups(self) -> None:  # type: ignore[override]
        return None

    def faults(self, table: Tensor) -> Tensor:
        return table[..., -1]

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        cells, weight = super().encode(metric, preds, target)  # (N, labels, X)
        verdicts, digits = _verdicts(cells.device)
        verdicts = verdicts[within(cells, Thresholded.cells)]
        if weight is not None:
            weight = weight.view(cells.shape)
            verdicts, weight = verdicts * weight.unsqueeze(-1), weight.amax(1)
        return Cells((verdicts.amax(1) * digits).sum(-1), weight)

    def matches(self, table: Tensor) -> tuple[Numbers, Numbers]:
        """How many are right, of how many."""
        cells = numbers(table[..., :-1])
        as_logits = (cells[..., 4:] * (self.logits is None)).sum() > 0
        right = where(as_logits, cells[..., 0] + cells[..., 1] + cells[..., 4] + cells[..., 5], cells[..., ::2].sum(-1))
        return right, cells.sum(-1)
