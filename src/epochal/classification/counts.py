"""Scores that read true and false positives and negatives: the machinery they share, and those of all four counts.

A score is its formula on these counts, :meth:`Score.score`; averaging, thresholds, top-k and ``ignore_index`` are the same
for all and stand here once. For each class (or label) c, tp counts samples of c predicted as c, fp samples of others
predicted as c, fn samples of c predicted as others, and tn the rest.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.classification.inferred import Inferred
from epochal.classification.outcomes import Counts
from epochal.classification.tables import GLOBAL, SAMPLEWISE, Family, TableMetric, choose
from epochal.classification.tasks import (
    FEW_CLASSES,
    Binary,
    Multiclass,
    MulticlassCorrect,
    MulticlassMargins,
    MulticlassMatrix,
    Multilabel,
    Task,
)
from epochal.metric import MetricOptions
from epochal.numeric import Numbers, ratio, weighted_mean, where

AVERAGES = ("micro", "macro", "weighted", "none", None)


class Score(TableMetric, metaclass=Family):
    """A formula on tp, fp, tn and fn, averaged over the classes.

    ``average``: "micro" pools the counts of all classes; "macro" is the mean over classes, in a multiclass task over those
    that occur in target or prediction; "weighted" weighs them by how often they occur in target; "none" returns one value for
    each. ``zero_division``: the score of a class whose denominator is 0; NaN leaves the class out of the mean.
    """

    plot_lower_bound = 0.0
    plot_upper_bound: float | None = 1.0

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
        **kwargs: Any,
    ) -> Any:
        arguments = {name: value for name, value in locals().items() if name not in ("cls", "task")}
        return choose(cls, task, arguments, without_task)

    def __init__(
        self,
        task: Task,
        average: str | None = "none",
        multidim_average: str = GLOBAL,
        validate_args: bool = True,
        *,
        zero_division: float = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(task, multidim_average, validate_args, **kwargs)
        check.choice(self, "average", average, AVERAGES)
        if not isinstance(zero_division, int | float):
            raise TypeError(check.message(self, f"zero_division is {zero_division!r}", "a number is needed", "Pass 0, 1 or nan."))
        self.average, self.zero_division = average, float(zero_division)

    needs_negatives: ClassVar[bool] = False  # true negatives, which cannot be counted where the classes are not known

    def score(self, counts: Counts) -> Numbers:
        """The formula, for each class."""
        raise NotImplementedError

    def derive(self, table: Tensor, decision: Tensor | None = None) -> dict[str, Counts]:
        if decision is not None and isinstance(self.task, Inferred):
            return {"counts": self.task.counts_of(table, decision)}
        return {"counts": self.task.counts(table if self.plain else self.rows(table))}

    def value(self, counts: Counts) -> Numbers:
        if self.average == "macro" and self.task.one_class_each is not False:
            return self.mean(self.score(counts), counts.present)
        if self.average == "micro" and counts.tp.ndim > (self.multidim_average == SAMPLEWISE):
            return self.score(counts.pooled)
        scores = self.score(counts)
        if self.average == "macro":
            return self.mean(scores, 1 + 0 * counts.tp)  # scores may be NaN
        return self.mean(scores, counts.true) if self.average == "weighted" else scores

    def mean(self, scores: Numbers, weights: Numbers) -> Numbers:
        """The weighted mean over classes; classes without a score do not count."""
        if math.isnan(self.zero_division):
            defined = scores == scores
            weights, scores = weights * defined, where(defined, scores, 0.0 * weights)
        return weighted_mean(scores, weights, self.zero_division)

    def ratio(self, numerator: Numbers, denominator: Numbers) -> Numbers:
        return ratio(numerator, denominator, self.zero_division)


def without_task(owner: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a family's form without a task, where the first batch decides.

    The average is micro over all of it: macro over two pools, of which one is empty (:class:`Inferred`).
    """
    options = dict(arguments["kwargs"])
    if arguments.get("average", "micro") != "micro" or arguments["multidim_average"] != GLOBAL:
        check.fail(
            owner, f"average is {arguments['average']!r}, multidim_average {arguments['multidim_average']!r}", "task is None"
        )
    logits = options.pop("logits", None)
    task = Inferred(owner, arguments["threshold"], arguments["top_k"], arguments["ignore_index"], logits)
    more = {name: arguments[name] for name in ("beta", "zero_division") if name in arguments}
    return {"task": task, "average": "macro", "validate_args": arguments["validate_args"], **more, **options}


class BinaryScore(Score):
    """A score of a binary task.

    ``update(preds, target)``: of one shape ``(N, ...)``; ``preds`` are floats (probabilities or logits) or labels 0 and 1,
    ``target`` labels. ``threshold``: a probability above it is positive. ``ignore_index``: a value in target that leaves the
    sample out. ``logits``: whether floats are logits; None: they are if any of all the data lies outside of [0, 1].
    ``compute()``: a scalar, or ``(N,)`` with ``multidim_average="samplewise"``.
    """

    task_name = "binary"

    def __init__(
        self,
        threshold: float = 0.5,
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        zero_division: float = 0,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = Binary(threshold, ignore_index, logits)
        super().__init__(task, "none", multidim_average, validate_args, zero_division=zero_division, **kwargs)


class MulticlassScore(Score):
    """A score of a multiclass task.

    ``update(preds, target)``: ``preds`` are scores ``(N, num_classes, ...)`` (probabilities or logits; the highest counts) or
    labels ``(N, ...)``, ``target`` labels ``(N, ...)``. ``num_classes``: None is possible for a micro average. ``top_k``: a
    target among the k highest scores is right. ``ignore_index``: a value in target that leaves the sample out; it need not be
    a class. ``compute()``: a scalar, ``(num_classes,)`` with ``average="none"``; ``(N,)`` or ``(N, num_classes)`` with
    ``multidim_average="samplewise"``.
    """

    task_name = "multiclass"
    plot_legend_name = "Class"

    def __init__(
        self,
        num_classes: int | None = None,
        top_k: int = 1,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        zero_division: float = 0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task: Multiclass
        if num_classes is None:
            if self.needs_negatives:
                check.fail(self, "num_classes is None", "true negatives depend on it", "Pass num_classes=.")
            if average != "micro":
                check.fail(self, "num_classes is None", f"average is {average!r}", "Pass num_classes=, or average='micro'.")
            task = MulticlassCorrect(0, top_k, ignore_index)
        else:
            check.whole(self, "num_classes", num_classes, 2)
            apart = multidim_average == SAMPLEWISE or num_classes > FEW_CLASSES
            task = (MulticlassMargins if apart else MulticlassMatrix)(num_classes, top_k, ignore_index)
        super().__init__(task, average, multidim_average, validate_args, zero_division=zero_division, **kwargs)


class MultilabelScore(Score):
    """A score of a multilabel task.

    ``update(preds, target)``: of one shape ``(N, num_labels, ...)``; ``preds`` are floats (probabilities or logits) or 0 and
    1, ``target`` 0 and 1. ``threshold``, ``logits``: as in :class:`BinaryScore`. ``ignore_index``: a value in target that
    leaves that label of the sample out. ``compute()``: a scalar, ``(num_labels,)`` with ``average="none"``; ``(N,)`` or ``(N,
    num_labels)`` with ``multidim_average="samplewise"``.
    """

    task_name = "multilabel"
    plot_legend_name = "Label"

    def __init__(
        self,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = GLOBAL,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        zero_division: float = 0,
        logits: bool | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        task = Multilabel(num_labels, threshold, ignore_index, logits)
        super().__init__(task, average, multidim_average, validate_args, zero_division=zero_division, **kwargs)
