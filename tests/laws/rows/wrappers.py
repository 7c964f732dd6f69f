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
