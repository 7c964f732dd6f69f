"""Ratios of two of the four counts: precision, recall, specificity and negative predictive value."""

from __future__ import annotations

from torch import Tensor

from epochal.classification.counts import BinaryScore, MulticlassScore, MultilabelScore, Score
from epochal.classification.outcomes import Counts
from epochal.metric import fixed
from epochal.numeric import Numbers


class Precision(Score):
    r"""Of what is predicted as positive, how much is.

    .. math:: \frac{tp}{tp + fp}
    """

    higher_is_better = True

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(counts.tp, counts.predicted)


class BinaryPrecision(BinaryScore, Precision):
    """Precision in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryPrecision()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassPrecision(MulticlassScore, Precision):
    """Precision in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassPrecision(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.8333)
    """


class MultilabelPrecision(MultilabelScore, Precision):
    """Precision in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelPrecision(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(1.)
    """


class Recall(Score):
    r"""Of what is positive, how much is predicted as such; also called sensitivity.

    .. math:: \frac{tp}{tp + fn}
    """

    higher_is_better = True

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(counts.tp, counts.true)


class BinaryRecall(BinaryScore, Recall):
    """Recall in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryRecall()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassRecall(MulticlassScore, Recall):
    """Recall in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassRecall(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.8333)
    """


class MultilabelRecall(MultilabelScore, Recall):
    """Recall in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelRecall(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.7500)
    """


class Specificity(Score):
    r"""Of what is negative, how much is predicted as such: the recall of the negative class.

    .. math:: \frac{tn}{tn + fp}
    """

    higher_is_better = True
    needs_negatives = True

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(counts.tn, counts.total - counts.true)


class BinarySpecificity(BinaryScore, Specificity):
    """Specificity in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinarySpecificity()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassSpecificity(MulticlassScore, Specificity):
    """Specificity in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassSpecificity(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.8889)
    """


class MultilabelSpecificity(MultilabelScore, Specificity):
    """Specificity in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelSpecificity(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.5000)
    """


class NegativePredictiveValue(Score):
    r"""Of what is predicted as negative, how much is: the precision of the negative class.

    .. math:: \frac{tn}{tn + fn}
    """

    higher_is_better = True
    needs_negatives = True

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(counts.tn, counts.total - counts.predicted)


class BinaryNegativePredictiveValue(BinaryScore, NegativePredictiveValue):
    """Negative predictive value in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryNegativePredictiveValue()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """


class MulticlassNegativePredictiveValue(MulticlassScore, NegativePredictiveValue):
    """Negative predictive value in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassNegativePredictiveValue(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.8889)
    """


class MultilabelNegativePredictiveValue(MultilabelScore, NegativePredictiveValue):
    """Negative predictive value in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelNegativePredictiveValue(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.5000)
    """


def binary_precision(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`BinaryPrecision`."""
    return fixed(BinaryPrecision, threshold, multidim_average, ignore_index, validate_args, zero_division=zero_division).of(
        preds, target
    )


def multiclass_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MulticlassPrecision`."""
    return fixed(
        MulticlassPrecision, num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division=zero_division
    ).of(preds, target)


def multilabel_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MultilabelPrecision`."""
    return fixed(
        MultilabelPrecision,
        num_labels,
        threshold,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)


def precision(
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
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`Precision`."""
    return fixed(
        Precision,
        task,
        threshold,
        num_classes,
        num_labels,
        average,
        multidim_average,
        top_k,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)


def binary_recall(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`BinaryRecall`."""
    return fixed(BinaryRecall, threshold, multidim_average, ignore_index, validate_args, zero_division=zero_division).of(
        preds, target
    )


def multiclass_recall(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MulticlassRecall`."""
    return fixed(
        MulticlassRecall, num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division=zero_division
    ).of(preds, target)


def multilabel_recall(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MultilabelRecall`."""
    return fixed(
        MultilabelRecall, num_labels, threshold, average, multidim_average, ignore_index, validate_args, zero_division=zero_division
    ).of(preds, target)


def recall(
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
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`Recall`."""
    return fixed(
        Recall,
        task,
        threshold,
        num_classes,
        num_labels,
        average,
        multidim_average,
        top_k,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)


def binary_specificity(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinarySpecificity`."""
    return fixed(BinarySpecificity, threshold, multidim_average, ignore_index, validate_args).of(preds, target)


def multiclass_specificity(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassSpecificity`."""
    return fixed(MulticlassSpecificity, num_classes, top_k, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def multilabel_specificity(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelSpecificity`."""
    return fixed(MultilabelSpecificity, num_labels, threshold, average, multidim_average, ignore_index, validate_args).of(
        preds, target
    )


def specificity(
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
    """Functional form of :class:`Specificity`."""
    return fixed(
        Specificity, task, threshold, num_classes, num_labels, average, multidim_average, top_k, ignore_index, validate_args
    ).of(preds, target)


def binary_negative_predictive_value(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`BinaryNegativePredictiveValue`."""
    return fixed(
        BinaryNegativePredictiveValue, threshold, multidim_average, ignore_index, validate_args, zero_division=zero_division
    ).of(preds, target)


def multiclass_negative_predictive_value(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MulticlassNegativePredictiveValue`."""
    return fixed(
        MulticlassNegativePredictiveValue,
        num_classes,
        top_k,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)


def multilabel_negative_predictive_value(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MultilabelNegativePredictiveValue`."""
    return fixed(
        MultilabelNegativePredictiveValue,
        num_labels,
        threshold,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)


def negative_predictive_value(
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
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`NegativePredictiveValue`."""
    return fixed(
        NegativePredictiveValue,
        task,
        threshold,
        num_classes,
        num_labels,
        average,
        multidim_average,
        top_k,
        ignore_index,
        validate_args,
        zero_division=zero_division,
    ).of(preds, target)
