"""Examples of wrappers: each around metrics that share little, and around other wrappers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

import epochal
from epochal import classification as ec
from epochal import wrappers as ew
from epochal.metric import Metric
from tests.laws.data import CLASSES, numbers, one_of_many, row, yes_or_no

scores, pairs = one_of_many()["scores"], numbers(inputs=2)


def wrapped(wrapper: Callable[..., Metric], metric: Callable[[], Metric], *args: Any, **kwargs: Any) -> Callable[..., Metric]:
    """How to build a wrapper around a metric of its own."""
    return lambda **options: wrapper(metric(), *args, **kwargs, **options)


accuracy = functools.partial(ec.MulticlassAccuracy, CLASSES, average=None)
matrix = functools.partial(ec.MulticlassConfusionMatrix, CLASSES)
formula = lambda: epochal.MeanSquaredError() / (1 + epochal.MeanSquaredError(squared=False))  # noqa: E731


def halved(x: Any) -> Any:
    return x / 2 if isinstance(x, torch.Tensor) else x


row("ClasswiseWrapper", "accuracy", scores, build=wrapped(ew.ClasswiseWrapper, accuracy))
row("ClasswiseWrapper", "matrix", scores, build=wrapped(ew.ClasswiseWrapper, matrix, [*"abcd"], "row_", "!"))
row("ClasswiseWrapper", "extremes", scores, build=wrapped(ew.ClasswiseWrapper, wrapped(ew.MinMaxMetric, accuracy)))

row("MinMaxMetric", "error", pairs, build=wrapped(ew.MinMaxMetric, epochal.MeanSquaredError))
row("MinMaxMetric", "each class", scores, build=wrapped(ew.MinMaxMetric, accuracy))
row("MinMaxMetric", "classwise", scores, build=wrapped(ew.MinMaxMetric, wrapped(ew.ClasswiseWrapper, accuracy)))
row("MinMaxMetric", "formula", pairs, build=wrapped(ew.MinMaxMetric, formula))

row("MetricInputTransformer", "as it is", pairs, build=wrapped(ew.MetricInputTransformer, epochal.MeanSquaredError))
row("LambdaInputTransformer", "both", pairs, build=wrapped(ew.LambdaInputTransformer, formula, halved, halved))
row("LambdaInputTransformer", "one", numbers(), build=wrapped(ew.LambdaInputTransformer, epochal.SumMetric, halved))
row("BinaryTargetTransformer", "error", pairs, build=wrapped(ew.BinaryTargetTransformer, epochal.MeanSquaredError, 0.5))
row("BinaryTargetTransformer", "labels", yes_or_no()["logits"], build=wrapped(ew.BinaryTargetTransformer, ec.BinaryAccuracy))

row("Running", "error", pairs, build=wrapped(ew.Running, epochal.MeanSquaredError, window=2))
row("Running", "formula", pairs, build=wrapped(ew.Running, formula, window=3))
row("Running", "rows", numbers(), build=wrapped(ew.Running, epochal.CatMetric, window=2))
row("Running", "classwise", scores, build=wrapped(ew.Running, wrapped(ew.ClasswiseWrapper, accuracy), window=2))

two = numbers(2, inputs=2)
row("MultioutputWrapper", "errors", two, build=wrapped(ew.MultioutputWrapper, epochal.MeanSquaredError, 2))
row("MultioutputWrapper", "NaN and all", two, build=wrapped(ew.MultioutputWrapper, epochal.MeanSquaredError, 2, remove_nans=False))
row("MultioutputWrapper", "rows", numbers(2), build=wrapped(ew.MultioutputWrapper, epochal.SumMetric, 2, squeeze_outputs=False))
row("MultioutputWrapper", "running", two, build=wrapped(ew.MultioutputWrapper, wrapped(ew.Running, epochal.MeanSquaredError), 2))


def several() -> Metric:
    return epochal.MetricCollection([epochal.MeanSquaredError(), formula()], prefix="x_")


row("MultioutputWrapper", "collection", two, build=wrapped(ew.MultioutputWrapper, several, 2))


def tasks(**options: Any) -> Metric:
    return ew.MultitaskWrapper({"depth": several(), "class": accuracy()}, "val_", **options)


def both() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [({"depth": x[0], "class": y[0]}, {"depth": x[1], "class": y[1]}) for x, y in zip(pairs(), scores(), strict=True)]


row("MultitaskWrapper", "two", both, build=tasks)


def tracked(metric: Callable[[], Any], **arguments: Any) -> Callable[[], Metric]:
    def build() -> Metric:
        tracker = ew.MetricTracker(metric(), **arguments)
        tracker.increment()
        return tracker

    return build


row("MetricTracker", "error", pairs, build=tracked(epochal.MeanSquaredError))
row("MetricTracker", "collection", pairs, build=tracked(several, maximize=False))
row("MetricTracker", "extremes", pairs, build=tracked(wrapped(ew.MinMaxMetric, epochal.MeanSquaredError)))
