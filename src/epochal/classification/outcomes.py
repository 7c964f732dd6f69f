"""True and false positives and negatives, in the forms in which the tasks' tables hold them."""

from __future__ import annotations

from epochal.numeric import Numbers, at_most_one, derived, totals


class Counts:
    """What a table says of each class or label: float64 numbers of shape (..., classes), or (...) for a binary task.

    Derived when a formula asks for it, once: ``tp``, ``fp``, ``tn``, ``fn``, ``predicted`` (tp + fp), ``true`` (tp + fn) and
    ``total`` (all). A task derives the first four of these its own way.
    """

    tp: Numbers
    predicted: Numbers
    true: Numbers
    total: Numbers

    @derived
    def fp(self) -> Numbers:
        return self.predicted - self.tp

    @derived
    def fn(self) -> Numbers:
        return self.true - self.tp

    @derived
    def tn(self) -> Numbers:
        return self.total - self.predicted - self.fn

    @derived
    def both(self) -> Numbers:
        """How often a class is predicted or true, what is both counted twice."""
        return self.predicted + self.true

    @derived
    def present(self) -> Numbers:
        """1 for a class that occurs at all, else 0."""
        return at_most_one(self.both)

    @derived
    def pooled(self) -> Counts:
        """All classes together, as a micro average takes them: each a decision of its own."""
        return PooledCounts(self)


class GivenCounts(Counts):
    """The numbers themselves."""

    def __init__(self, tp: Numbers, predicted: Numbers, true: Numbers, total: Numbers = None) -> None:
        self.tp, self.predicted, self.true = tp, predicted, true
        if total is not None:
            self.total = total

    @derived
    def total(self) -> Numbers:
        """Of one class each: the sum of their true numbers."""
        return self.true.sum(-1, keepdims=True)


class PooledCounts(Counts):
    def __init__(self, each: Counts) -> None:
        self.each = each

    tp = derived(lambda self: self.each.tp.sum(-1))
    predicted = derived(lambda self: self.each.predicted.sum(-1))
    true = derived(lambda self: self.each.true.sum(-1))
    total = derived(lambda self: (self.each.total + 0 * self.each.tp).sum(-1))


class MatrixCounts(Counts):
    """Of a confusion matrix, rows true and columns predicted."""

    def __init__(self, matrix: Numbers) -> None:
        self.matrix = matrix

    tp = derived(lambda self: self.matrix.diagonal())
    predicted = derived(lambda self: totals(self.matrix.T))
    true = derived(lambda self: totals(self.matrix))
    total = derived(lambda self: self.matrix.sum())


class ThresholdedCounts(Counts):
    """Of (..., 2 targets): how many of each are predicted positive, and how many there are."""

    def __init__(self, positive: Numbers, of: Numbers) -> None:
        self.positive, self.of = positive, of

    tp = derived(lambda self: self.positive[..., 1])
    predicted = derived(lambda self: self.positive.sum(-1))
    true = derived(lambda self: self.of[..., 1])
    total = derived(lambda self: self.of.sum(-1))
