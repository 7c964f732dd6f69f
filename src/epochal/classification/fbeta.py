"""The F scores: what is right, weighed against what is predicted and what is true."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.counts import BinaryScore, MulticlassScore, MultilabelScore, Score, without_task
from epochal.classification.outcomes import Counts
from epochal.classification.tables import GLOBAL, choose
from epochal.metric import MetricOptions, fixed
from epochal.numeric import Numbers


class FBetaScore(Score):
    r"""The weighted harmonic mean of precision and recall; recall counts ``beta`` times as much.

    .. math:: F_\beta = \frac{(1 + \beta^2) tp}{(1 + \beta^2) tp + \beta^2 fn + fp}

    ``beta``: a positive number. Source: van Rijsbergen, Information Retrieval (1979).
    """

    higher_is_better = True

    def __new__(
        cls,
        task: str | None = None,
        beta: float = 1.0,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = GLOBAL,
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Any,
    ) -> Any:
        arguments = {name: value for name, value in locals().items() if name not in ("cls", "task")}
        return choose(cls, task, arguments, without_task)

    def __init__(self, task: Any, *args: Any, beta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(task, *args, **kwargs)
        self.weigh(beta)

    def weigh(self, beta: float) -> None:
        check.number(self, "beta", beta, 0)
        if beta in (0, math.inf):
            alone = "Recall" if beta else "Precision"
            check.fail(self, f"beta is {beta!r}", "a positive number is needed", f"For {alone.lower()} alone use {alone}.")
        self.beta = float(beta)

    def score(self, counts: Counts) -> Numbers:
        weight = self.beta**2
        return self.ratio((1 + weight) * counts.tp, counts.predicted + weight * counts.true)


class BinaryFBetaScore(BinaryScore, FBetaScore):
    """F-beta score in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryFBetaScore(beta=2.0)
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    def __init__(
        self,
        beta: float,
        threshold: float = 0.5,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            threshold, multidim_average, ignore_index, validate_args, zero_division=zero_division, logits=logits, **kwargs
        )
        self.weigh(beta)


class MulticlassFBetaScore(MulticlassScore, FBetaScore):
    """F-beta score in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassFBetaScore(beta=2.0, num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.7963)
    """

    def __init__(
        self,
        beta: float,
        num_classes: int,
        top_k: int = 1,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division=zero_division, **kwargs
        )
        self.weigh(beta)


class MultilabelFBetaScore(MultilabelScore, FBetaScore):
    """F-beta score in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelFBetaScore(beta=2.0, num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.7778)
    """

    def __init__(
        self,
        beta: float,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_labels,
            threshold,
            average,
            multidim_average,
            ignore_index,
            validate_args,
            zero_division=zero_division,
            logits=logits,
            **kwargs,
        )
        self.weigh(beta)


class F1Score(Score):
    r"""The harmonic mean of precision and recall: :class:`FBetaScore` with ``beta=1``.

    .. math:: F_1 = \frac{2 tp}{2 tp + fn + fp}
    """

    higher_is_better = True

    def __new__(
        cls,
        task: str | None = None,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = GLOBAL,
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Any,
    ) -> Any:
        arguments = {name: value for name, value in locals().items() if name not in ("cls", "task")}
        return choose(cls, task, arguments, without_task)

    def score(self, counts: Counts) -> Numbers:
        return self.ratio(2 * counts.tp, counts.both)


class BinaryF1Score(BinaryScore, F1Score):
    """F1 score in a binary task; arguments and shapes as in :class:`BinaryScore`.

    >>> metric = BinaryF1Score()
    >>> metric(torch.tensor([0.1, 0.6, 0.8, 0.4]), torch.tensor([0, 1, 0, 1]))
    tensor(0.5000)
    """

    def __init__(
        self,
        threshold: float = 0.5,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            threshold, multidim_average, ignore_index, validate_args, zero_division=zero_division, logits=logits, **kwargs
        )


class MulticlassF1Score(MulticlassScore, F1Score):
    """F1 score in a multiclass task; arguments and shapes as in :class:`MulticlassScore`.

    >>> metric = MulticlassF1Score(num_classes=3)
    >>> metric(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    tensor(0.7778)
    """

    def __init__(
        self,
        num_classes: int,
        top_k: int = 1,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division=zero_division, **kwargs
        )


class MultilabelF1Score(MultilabelScore, F1Score):
    """F1 score in a multilabel task; arguments and shapes as in :class:`MultilabelScore`.

    >>> metric = MultilabelF1Score(num_labels=2)
    >>> metric(torch.tensor([[0.9, 0.2], [0.4, 0.7]]), torch.tensor([[1, 0], [1, 1]]))
    tensor(0.8333)
    """

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0,
        *,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_labels,
            threshold,
            average,
            multidim_average,
            ignore_index,
            validate_args,
            zero_division=zero_division,
            logits=logits,
            **kwargs,
        )


F1 = F1Score


def binary_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`BinaryFBetaScore`."""
    return fixed(BinaryFBetaScore, beta, threshold, multidim_average, ignore_index, validate_args, zero_division).of(preds, target)


def multiclass_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
    num_classes: int,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MulticlassFBetaScore`."""
    return fixed(
        MulticlassFBetaScore, beta, num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division
    ).of(preds, target)


def multilabel_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`MultilabelFBetaScore`."""
    return fixed(
        MultilabelFBetaScore, beta, num_labels, threshold, average, multidim_average, ignore_index, validate_args, zero_division
    ).of(preds, target)


def fbeta_score(
    preds: Tensor,
    target: Tensor,
    task: str | None = None,
    beta: float = 1.0,
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
    """Functional form of :class:`FBetaScore`."""
    return fixed(
        FBetaScore,
        task,
        beta,
        threshold,
        num_classes,
        num_labels,
        average,
        multidim_average,
        top_k,
        ignore_index,
        validate_args,
        zero_division,
    ).of(preds, target)


def binary_f1_score(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0,
) -> Tensor:
    """Functional form of :class:`BinaryF1Score`."""
    return fixed(BinaryF1Score, threshold, multidim_average, ignore_index, validate_args, zero_division).of(preds, target)


def multiclass_f1_score(
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
    """Functional form of :class:`MulticlassF1Score`."""
    return fixed(MulticlassF1Score, num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division).of(
        preds, target
    )


def multilabel_f1_score(
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
    """Functional form of :class:`MultilabelF1Score`."""
    return fixed(
        MultilabelF1Score, num_labels, threshold, average, multidim_average, ignore_index, validate_args, zero_division
    ).of(preds, target)


def f1_score(
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
    """Functional form of :class:`F1Score`."""
    return fixed(
        F1Score,
        task,
        threshold,
        num_classes,
        num_labels,
        average,
        multidim_average,
        top_k,
        ignore_index,
        validate_args,
        zero_division,
    ).of(preds, target)
