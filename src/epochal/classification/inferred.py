"""No task given: what the first batch's shapes and dtypes say, as in torchmetrics before 0.11."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from epochal import check
from epochal.classification.outcomes import Counts, GivenCounts
from epochal.classification.tasks import Binary, Cells, MulticlassCorrect, Multilabel, Task, Thresholded, is_scores
from epochal.numeric import numbers, stack, where, within

KINDS = ("", "binary scores", "scores of {} labels", "scores of {} classes", "integer labels")
UNDECIDED = (2**62, 0)


@dataclass(frozen=True)
class Inferred(Task):
    """What the first batch's shapes and dtypes say: float scores with the shape of target are binary (N,) or multilabel (N,
    L, ...), with one dimension more multiclass (N, C, ...); integers are the labels of a multiclass task.

    The decision is part of the state: it merges, and two that differ are an error. Counts are pooled (a micro average).
    """

    owner: str
    threshold: float = 0.5
    top_k: int = 1
    ignore_index: int | None = None
    logits: bool | None = None
    one_class_each = None
    cells = Thresholded.cells + MulticlassCorrect.cells  # those of a thresholded task, then right and wrong
    valid = "valid labels"

    def check_arguments(self, metric: Any) -> None:
        for kind in (1, 3):
            self.task(kind, 0).check_arguments(metric)

    def decide(self, metric: Any, preds: Tensor, target: Tensor) -> tuple[int, int]:
        """(kind, number of labels or classes)."""
        check.tensors(metric, preds=preds, target=target)
        if is_scores(preds) and preds.shape == target.shape:
            return (1, 0) if preds.ndim < 2 else (2, preds.shape[1])
        if is_scores(preds) and preds.ndim == target.ndim + 1 > 1:
            return 3, preds.shape[1]
        return 4, 0

    def task(self, kind: int, size: int) -> Task:
        if kind == 1:
            return Binary(self.threshold, self.ignore_index, self.logits)
        if kind == 2:
            return Multilabel(size, self.threshold, self.ignore_index, self.logits)
        return MulticlassCorrect(size, self.top_k, self.ignore_index)

    def encode(self, metric: Any, preds: Tensor, target: Tensor) -> Cells:
        kind, size = self.decide(metric, preds, target)
        index, weight = self.task(kind, size).encode(metric, preds, target)
        return Cells(index + Thresholded.cells if kind > 2 else within(index, Thresholded.cells), weight)

    def faults(self, table: Tensor) -> Tensor:
        return torch.cat([Binary().faults(table[: Thresholded.cells]), table[-1:]])

    def decision(self, metric: Any, preds: Tensor, target: Tensor) -> Tensor:
        kind, size = self.decide(metric, preds, target)
        if kind == 4 and metric.needs_negatives:
            fix = 'Pass task="multiclass" and num_classes=.'
            check.fail(metric, "preds are integer labels of unknown classes", "true negatives depend on their number", fix)
        return torch.full((2,), (kind << 32) + size, device=target.device)  # filled there: a copy from the host would wait

    def agree(self, decisions: Tensor) -> Tensor:
        """Merge decisions, each the lowest and the highest code seen: the same for all, or an error that names both."""
        low, high = torch.stack([decisions[:, 0].min(), decisions[:, 1].max()]).unbind()
        if check.reads_values(decisions.device):
            self.verify_decision(torch.stack([low, high]))
        return torch.stack([low, high])

    def verify_decision(self, decision: Tensor) -> None:
        low, high = decision.tolist()
        if low < high:
            first, second = (KINDS[code >> 32].format(code & 0xFFFFFFFF) for code in (low, high))
            check.fail(
                self.owner, f"one batch has {first} and another {second}", "all must be of one kind", "Pass task=, or reset()."
            )

    def counts_of(self, table: Tensor, decision: Tensor) -> Counts:
        """Of shape (2,): what was counted as yes or no, and as one of several classes; one of the two is empty."""
        kind, classes = numbers(decision[1] >> 32), numbers(decision[1] & 0xFFFFFFFF)
        first = Binary().counts(table[: Thresholded.cells])
        cells = numbers(table[Thresholded.cells : -1])
        right, samples = cells[1], cells.sum()
        second = (right, samples, samples, where(kind > 2, samples * classes, samples))
        return GivenCounts(
            *(stack(pair) for pair in zip((first.tp, first.predicted, first.true, first.total), second, strict=True))
        )

    def diagnose(self, metric: Any, preds: Tensor, target: Tensor) -> None:
        self.task(*self.decide(metric, preds, target)).diagnose(metric, preds, target)


def as_labels(metric: Any, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and targets as labels of one shape, for a metric that only compares them.

    Scores (N, C, ...) of targets (N, ...) become the class of the greatest; those of target's shape are probabilities, 1 above 0.5.
    """
    check.tensors(metric, preds=preds, target=target)
    if is_scores(preds) and preds.ndim == target.ndim + 1 > 1:
        preds = preds.argmax(1)
    elif is_scores(preds):
        if check.reads_values(preds.device) and not bool(((preds >= 0) & (preds <= 1)).all()):
            check.fail(metric, "preds has values outside of [0, 1]", "probabilities are needed", "Pass torch.sigmoid(preds).")
        preds = (preds > 0.5).to(target.dtype)
    check.same_shape(metric, preds=preds, target=target)
    return preds, target
