"""True and false positives and negatives, in the forms in which the tasks' tables hold them."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor


class Counts:
    """What a table says of each class or label: float64 of shape (..., classes), or (...) for a binary task.

    Derived when a formula asks for it, once: ``tp``, ``fp``, ``tn``, ``fn``, ``predicted`` (tp + fp), ``true`` (tp + fn) and
    ``total`` (all). A task derives the first four of these its own way.
    """

    tp: Tensor
    predicted: Tensor
    true: Tensor
    total: Tensor

    @cached_property
    def fp(self) -> Tensor:
        return self.predicted - self.tp

    @cached_property
    def fn(self) -> Tensor:
        return self.true - self.tp

    @cached_property
    def tn(self) -> Tensor:
        return self.total - self.predicted - self.fn

    @cached_property
    def both(self) -> Tensor:
        """How often a class is predicted or true, what is both counted twice."""
        return self.predicted + self.true

    @cached_property
    def present(self) -> Tensor:
        """1 for a class that occurs at all, else 0."""
        return self.both.clamp_max(1.0)

    @cached_property
    def pooled(self) -> Counts:
        """All classes together, as a micro average takes them: each a decision of its own."""
        return PooledCounts(self)


class GivenCounts(Counts):
    """The numbers themselves."""

    def __init__(self, tp: Tensor, predicted: Tensor, true: Tensor, total: Tensor | None = None) -> None:
        self.tp, self.predicted, self.true = tp, predicted, true
        if total is not None:
            self.total = total

    @cached_property
    def total(self) -> Tensor:  # type: ignore[override]
        """Of one class each: the sum of their true numbers."""
        return self.true.sum(-1, keepdim=True)


class PooledCounts(Counts):
    def __init__(self, each: Counts) -> None:
        self.each = each

    tp = cached_property(lambda self: self.each.tp.sum(-1))
    predicted = cached_property(lambda self: self.each.predicted.sum(-1))
    true = cached_property(lambda self: self.each.true.sum(-1))
    total = cached_property(lambda self: self.each.total.expand_as(self.each.tp).sum(-1))


class MatrixCounts(Counts):
    """Of a confusion matrix, rows true and columns predicted."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    tp = cached_property(lambda self: self.matrix.diagonal())
    predicted = cached_property(lambda self: self.matrix.sum(0))
    true = cached_property(lambda self: self.matrix.sum(1))
    total = cached_property(lambda self: self.matrix.sum())


class ThresholdedCounts(Counts):
    """Of (..., 2 targets): how many of each are predicted positive, and how many there are."""

    def __init__(self, positive: Tensor, of: Tensor) -> None:
        self.positive, self.of = positive, of

    tp = cached_property(lambda self: self.positive[..., 1])
    predicted = cached_property(lambda self: self.positive.sum(-1))
    true = cached_property(lambda self: self.of[..., 1])
    total = cached_property(lambda self: self.of.sum(-1))
