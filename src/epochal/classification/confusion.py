"""Metrics that read the confusion matrix: itself, Cohen's kappa and the Matthews correlation coefficient."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.tables import GLOBAL, Family, TableMetric, choose
from epochal.classification.tasks import Binary, MulticlassMatrix, Multilabel, Task
from epochal.metric import MetricOptions, fixed
from epochal.numeric import Numbers, integers, ratio, steps
from epochal.plot import matrix


class MatrixMetric(TableMetric, metaclass=Family):
    """A reading of the confusion matrix: rows are targets, columns predictions; one of 2 x 2 for each label of a multilabel
    task."""

    def derive(self, table: Tensor) -> dict[str, Numbers]:
        return {"matrix": self.task.matrix(table)}


class ConfusionMatrix(MatrixMetric):
    r"""How often each class is predicted for each true class: entry (i, j) counts samples of class i predicted as j.

    ``normalize``: "true" divides by the row (what each true class became), "pred" by the column, "all" by the number of
    samples; None or "none" counts. ``compute()``: ``(C, C)``, or ``(num_labels, 2, 2)``; int64 counts, or floats if
    normalized, 0 where nothing was counted.
    """

    plot = matrix

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        normalize: str | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def __init__(
        self, task: Task, normalize: str | None = None, validate_args: bool = True, **kwargs: Unpack[MetricOptions]
    ) -> None:
        super().__init__(task, GLOBAL, validate_args, **kwargs)
        check.choice(self, "normalize", normalize, ("true", "pred", "all", "none", None))
        self.normalize = normalize

    def value(self, matrix: Numbers) -> Numbers:
        if self.normalize in ("none", None):
            return integers(matrix)
        over: dict[str | None, Any] = {"true": -1, "pred": -2, "all": (-2, -1)}
        return ratio(matrix, matrix.sum(over[self.normalize], keepdims=True))


class BinaryConfusionMatrix(ConfusionMatrix):
    """Confusion matrix of a binary task; ``preds`` and ``target`` as in :class:`~epochal.classification.counts.BinaryScore`.

    >>> metric = BinaryConfusionMatrix()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor([[1, 1],
            [1, 1]])
    """

    task_name = "binary"

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(Binary(threshold, ignore_index, logits), normalize, validate_args, **kwargs)


class MulticlassConfusionMatrix(ConfusionMatrix):
    """Confusion matrix of a multiclass task; ``preds`` and ``target`` as in
    :class:`~epochal.classification.counts.MulticlassScore`.

    >>> metric = MulticlassConfusionMatrix(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor([[1, 0, 0],
            [0, 1, 1],
            [0, 0, 1]])
    """

    task_name = "multiclass"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(MulticlassMatrix(num_classes, 1, ignore_index), normalize, validate_args, **kwargs)


class MultilabelConfusionMatrix(ConfusionMatrix):
    """Confusion matrix of a multilabel task; ``preds`` and ``target`` as in
    :class:`~epochal.classification.counts.MultilabelScore`.

    >>> metric = MultilabelConfusionMatrix(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]])).tolist()
    [[[0, 0], [1, 1]], [[1, 0], [0, 1]]]
    """

    task_name = "multilabel"
    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        normalize: str | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(Multilabel(num_labels, threshold, ignore_index, logits), normalize, validate_args, **kwargs)


class CohenKappa(MatrixMetric):
    r"""Agreement beyond chance.

    .. math:: \kappa = 1 - \frac{\sum_{ij} w_{ij} p_{ij}}{\sum_{ij} w_{ij} p_i q_j}

    with :math:`p` the confusion matrix divided by its sum, :math:`p_i, q_j` its margins, and the weights of a disagreement
    :math:`w_{ij}`: 1 off the diagonal, :math:`|i - j|` (``weights="linear"``) or :math:`(i - j)^2` ("quadratic"). NaN where
    chance alone explains all. Source: Cohen (1960, 1968).
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = -1.0, 1.0

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        weights: str | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def __init__(self, task: Task, weights: str | None = None, validate_args: bool = True, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(task, GLOBAL, validate_args, **kwargs)
        check.choice(self, "weights", weights, ("linear", "quadratic", "none", None))
        self.weights = weights

    def value(self, matrix: Numbers) -> Numbers:
        if self.weights in ("none", None):  # with the diagonal alone the sums are short
            total = matrix.sum()
            chance = ratio(matrix.sum(0) @ matrix.sum(1), total)
            return 1 - ratio(total - matrix.diagonal().sum(), total - chance, math.nan)
        classes = steps(matrix)
        apart = abs(classes - classes[:, None])
        weight = apart if self.weights == "linear" else apart**2
        chance = ratio(matrix.sum(1)[:, None] * matrix.sum(0), matrix.sum())
        return 1 - ratio((weight * matrix).sum(), (weight * chance).sum(), math.nan)


class BinaryCohenKappa(CohenKappa):
    """Cohen's kappa of a binary task; ``preds`` and ``target`` as in :class:`~epochal.classification.counts.BinaryScore`.

    >>> metric = BinaryCohenKappa()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.)
    """

    task_name = "binary"

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        weights: str | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(Binary(threshold, ignore_index, logits), weights, validate_args, **kwargs)


class MulticlassCohenKappa(CohenKappa):
    """Cohen's kappa of a multiclass task; ``preds`` and ``target`` as in :class:`~epochal.classification.counts.MulticlassScore`.

    >>> metric = MulticlassCohenKappa(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.6364)
    """

    task_name = "multiclass"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        weights: str | None = None,
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(MulticlassMatrix(num_classes, 1, ignore_index), weights, validate_args, **kwargs)


class MatthewsCorrCoef(MatrixMetric):
    r"""The correlation of prediction and target as class indicators.

    .. math:: \frac{c s - \sum_k p_k t_k}{\sqrt{(s^2 - \sum_k p_k^2)(s^2 - \sum_k t_k^2)}}

    with c right of s samples, and :math:`p_k, t_k` the numbers of predictions and targets of class k. 0 where a margin has a
    single class, as in scikit-learn. Labels of a multilabel task are pooled. Source: Matthews (1975), Gorodkin (2004).
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = -1.0, 1.0

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Any:
        return choose(cls, task, {name: value for name, value in locals().items() if name not in ("cls", "task")})

    def __init__(self, task: Task, validate_args: bool = True, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(task, GLOBAL, validate_args, **kwargs)

    def value(self, matrix: Numbers) -> Numbers:
        matrix = matrix.sum(0) if matrix.ndim > 2 else matrix
        predicted, true, total = matrix.sum(0), matrix.sum(1), matrix.sum()
        spread = (total**2 - predicted @ predicted) * (total**2 - true @ true)
        return ratio(matrix.diagonal().sum() * total - predicted @ true, spread**0.5)


class BinaryMatthewsCorrCoef(MatthewsCorrCoef):
    """Matthews correlation coefficient of a binary task; ``preds`` and ``target`` as in
    :class:`~epochal.classification.counts.BinaryScore`.

    >>> metric = BinaryMatthewsCorrCoef()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.)
    """

    task_name = "binary"

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(Binary(threshold, ignore_index, logits), validate_args, **kwargs)


class MulticlassMatthewsCorrCoef(MatthewsCorrCoef):
    """Matthews correlation coefficient of a multiclass task; ``preds`` and ``target`` as in
    :class:`~epochal.classification.counts.MulticlassScore`.

    >>> metric = MulticlassMatthewsCorrCoef(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.7000)
    """

    task_name = "multiclass"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(MulticlassMatrix(num_classes, 1, ignore_index), validate_args, **kwargs)


class MultilabelMatthewsCorrCoef(MatthewsCorrCoef):
    """Matthews correlation coefficient of a multilabel task; ``preds`` and ``target`` as in
    :class:`~epochal.classification.counts.MultilabelScore`.

    >>> metric = MultilabelMatthewsCorrCoef(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.5774)
    """

    task_name = "multilabel"

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(Multilabel(num_labels, threshold, ignore_index, logits), validate_args, **kwargs)


def binary_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryConfusionMatrix`."""
    return fixed(BinaryConfusionMatrix, threshold, ignore_index, normalize, validate_args).of(preds, target)


def multiclass_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassConfusionMatrix`."""
    return fixed(MulticlassConfusionMatrix, num_classes, ignore_index, normalize, validate_args).of(preds, target)


def multilabel_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelConfusionMatrix`."""
    return fixed(MultilabelConfusionMatrix, num_labels, threshold, ignore_index, normalize, validate_args).of(preds, target)


def confusion_matrix(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`ConfusionMatrix`."""
    return fixed(ConfusionMatrix, task, threshold, num_classes, num_labels, normalize, ignore_index, validate_args).of(
        preds, target
    )


def binary_cohen_kappa(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    weights: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryCohenKappa`."""
    return fixed(BinaryCohenKappa, threshold, ignore_index, weights, validate_args).of(preds, target)


def multiclass_cohen_kappa(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    weights: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassCohenKappa`."""
    return fixed(MulticlassCohenKappa, num_classes, ignore_index, weights, validate_args).of(preds, target)


def cohen_kappa(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    weights: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`CohenKappa`."""
    return fixed(CohenKappa, task, threshold, num_classes, weights, ignore_index, validate_args).of(preds, target)


def binary_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`BinaryMatthewsCorrCoef`."""
    return fixed(BinaryMatthewsCorrCoef, threshold, ignore_index, validate_args).of(preds, target)


def multiclass_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MulticlassMatthewsCorrCoef`."""
    return fixed(MulticlassMatthewsCorrCoef, num_classes, ignore_index, validate_args).of(preds, target)


def multilabel_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MultilabelMatthewsCorrCoef`."""
    return fixed(MultilabelMatthewsCorrCoef, num_labels, threshold, ignore_index, validate_args).of(preds, target)


def matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Functional form of :class:`MatthewsCorrCoef`."""
    return fixed(MatthewsCorrCoef, task, threshold, num_classes, num_labels, ignore_index, validate_args).of(preds, target)
