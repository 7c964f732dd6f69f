"""What all four counts say at once: the counts themselves, accuracy and Hamming distance."""

from __future__ import annotations

from torch import Tensor

from epochal.classification.counts import BinaryScore, MulticlassScore, MultilabelScore, Score
from epochal.classification.inferred import Inferred
from epochal.classification.outcomes import Counts
from epochal.classification.tables import SAMPLEWISE
from epochal.metric import fixed
from epochal.numeric import Numbers, integers, ratio, stack


class StatScores(Score):
    r"""True positives, false positives, true negatives, false negatives and the support (tp + fn).

    .. math:: (tp, fp, tn, fn, tp + fn)

    ``compute()``: int64 of shape ``(..., 5)``; float means over classes for ``average="macro"`` and "weighted".
    """

    needs_negatives = True
    plot_labels = ("tp", "fp", "tn", "fn", "support")
    plot_upper_bound = None

    def value(self, counts: Counts) -> Numbers:
        table = stack([counts.tp, counts.fp, counts.tn, counts.fn, counts.true])
        if isinstance(self.task, Inferred) or (self.average == "micro" and counts.tp.ndim > (self.multidim_average == SAMPLEWISE)):
            return integers(table.sum(-2))
        if counts.tp.ndim == (self.multidim_average == SAMPLEWISE) or self.average in ("none", None):
            return integers(table)
        weights = 1 + 0 * counts.tp if self.average == "macro" else counts.true
        return ratio((table * weights[..., None]).sum(-2), weights.sum(-1)[..., None])


class BinaryStatScores(BinaryScore, StatScores):
    """The four counts and the support in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryStatScores()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor([1, 1, 1, 1, 2])
    """


class MulticlassStatScores(MulticlassScore, StatScores):
    """The four counts and the support in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassStatScores(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor([1.0000, 0.3333, 2.3333, 0.3333, 1.3333])
    """


class MultilabelStatScores(MultilabelScore, StatScores):
    """The four counts and the support in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelStatScores(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor([1.0000, 0.0000, 0.5000, 0.5000, 1.5000])
    """


class Accuracy(Score):
    r"""How much of the prediction is right.

    .. math:: \frac{tp + tn}{tp + fp + tn + fn}

    in a binary or multilabel task. In a multiclass task, where a sample has one class, the part of the samples of a class that
    are predicted as it, :math:`tp / (tp + fn)`: with ``average="micro"`` the usual accuracy, with "macro" the balanced one.
    """

    higher_is_better = True

    def score(self, counts: Counts) -> Numbers:
        return right(self, counts)


class BinaryAccuracy(BinaryScore, Accuracy):
    """Accuracy in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryAccuracy()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassAccuracy(MulticlassScore, Accuracy):
    """Accuracy in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassAccuracy(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.8333)
    """


class MultilabelAccuracy(MultilabelScore, Accuracy):
    """Accuracy in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelAccuracy(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.7500)
    """


class HammingDistance(Score):
    r"""How much of the prediction is wrong: 1 less :class:`Accuracy`.

    .. math:: \frac{fp + fn}{tp + fp + tn + fn}

    in a binary or multilabel task; in a multiclass task :math:`fn / (tp + fn)`.
    """

    higher_is_better = False

    def score(self, counts: Counts) -> Numbers:
        return 1 - right(self, counts)


class BinaryHammingDistance(BinaryScore, HammingDistance):
    """Hamming distance in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryHammingDistance()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassHammingDistance(MulticlassScore, HammingDistance):
    """Hamming distance in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassHammingDistance(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.1667)
    """


class MultilabelHammingDistance(MultilabelScore, HammingDistance):
    """Hamming distance in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelHammingDistance(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.2500)
    """


def right(metric: Score, counts: Counts) -> Numbers:
    """The part that is right: of the samples of a class, or of all decisions where each label is one of its own."""
    if metric.task.one_class_each:
        return metric.ratio(counts.tp, counts.true)
    of_all = metric.ratio(counts.tp + counts.tn, counts.total)
    return of_all if metric.task.one_class_each is False else stack([of_all[0], metric.ratio(counts.tp, counts.true)[1]])


def binary_stat_scores(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryStatScores`."""
    return fixed(BinaryStatScores, threshold, multidim_average, ignore_index, validate_args).of(preds, target)


def multiclass_stat_scores(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassStatScores`."""
    return fixed(MulticlassStatScores, num_classes, top_k, average, multidim_average, ignore_index, validate_args).of(preds, target)


def multilabel_stat_scores(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelStatScores`."""
    return fixed(MultilabelStatScores, num_labels, threshold, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def stat_scores(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "micro",
    multidim_average: str = "global",
    top_k: int = 1,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`StatScores`."""
    return fixed(
        StatScores, task, threshold, num_classes, num_labels, average, multidim_average, top_k, ignore_index, validate_args
    ).of(preds, target)


def binary_accuracy(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryAccuracy`."""
    return fixed(BinaryAccuracy, threshold, multidim_average, ignore_index, validate_args).of(preds, target)


def multiclass_accuracy(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassAccuracy`."""
    return fixed(MulticlassAccuracy, num_classes, top_k, average, multidim_average, ignore_index, validate_args).of(preds, target)


def multilabel_accuracy(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelAccuracy`."""
    return fixed(MultilabelAccuracy, num_labels, threshold, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def accuracy(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "micro",
    multidim_average: str = "global",
    top_k: int = 1,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`Accuracy`."""
    return fixed(
        Accuracy, task, threshold, num_classes, num_labels, average, multidim_average, top_k, ignore_index, validate_args
    ).of(preds, target)


def binary_hamming_distance(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryHammingDistance`."""
    return fixed(BinaryHammingDistance, threshold, multidim_average, ignore_index, validate_args).of(preds, target)


def multiclass_hamming_distance(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassHammingDistance`."""
    return fixed(MulticlassHammingDistance, num_classes, top_k, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def multilabel_hamming_distance(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelHammingDistance`."""
    return fixed(MultilabelHammingDistance, num_labels, threshold, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def hamming_distance(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "micro",
    multidim_average: str = "global",
    top_k: int = 1,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`HammingDistance`."""
    return fixed(
        HammingDistance, task, threshold, num_classes, num_labels, average, multidim_average, top_k, ignore_index, validate_args
    ).of(preds, target)
