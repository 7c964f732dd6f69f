"""The counts family against scikit-learn: one table of (ours, oracle, arguments), and data in all their forms.

Each metric sees the data in five uneven batches (one empty, one of a single sample), as a function all at once, and through its
family with ``task=``, and once more as on a device where a look at values would wait; an oracle sees all at once. All results
must be equal to the oracle's, and of the documented dtype.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import epochal
from epochal import check
from tests.reference import oracles
from tests.reference.data import ALL, Data

TASKS = ("binary", "multiclass", "multilabel")
DECIDING = ("threshold", "top_k", "ignore_index", "logits")  # what makes labels of raw input


@dataclass(frozen=True)
class Metric:
    """A row: the metric, its oracle, and the arguments to try it with."""

    name: str
    function: str
    oracle: Callable[..., Any]
    tasks: Sequence[str] = TASKS
    averages: Sequence[str] = ("none", "micro", "macro", "weighted")
    options: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # arguments of its own, each value to try
    always: Mapping[str, Any] = field(default_factory=dict)
    integer: Sequence[str | None] | None = None  # the averages (or normalizations) for which it counts

    def __str__(self) -> str:
        return self.name


ZEROS = (0, 1, math.nan)
NORMALIZE = {"normalize": (None, "true", "pred", "all")}

TABLE = [
    Metric("Accuracy", "accuracy", oracles.accuracy),
    Metric("HammingDistance", "hamming_distance", oracles.hamming),
    Metric("Precision", "precision", oracles.PRECISION, options={"zero_division": ZEROS}),
    Metric("Recall", "recall", oracles.RECALL, options={"zero_division": ZEROS}),
    Metric("F1Score", "f1_score", oracles.F1, options={"zero_division": ZEROS}),
    Metric("FBetaScore", "fbeta_score", oracles.FBETA, options={"zero_division": (1,)}, always={"beta": 0.5}),
    Metric("FBetaScore", "fbeta_score", oracles.FBETA, always={"beta": 2.0}),
    Metric("JaccardIndex", "jaccard_index", oracles.JACCARD, options={"zero_division": ZEROS}),
    Metric("Specificity", "specificity", oracles.SPECIFICITY, options={"zero_division": ZEROS}),
    Metric(
        "NegativePredictiveValue",
        "negative_predictive_value",
        oracles.NEGATIVE_PREDICTIVE_VALUE,
        options={"zero_division": ZEROS},
    ),
    Metric("StatScores", "stat_scores", oracles.stat_scores, integer=("none", "micro")),
    Metric("ConfusionMatrix", "confusion_matrix", oracles.confusion_matrix, averages=(), options=NORMALIZE, integer=(None,)),
    Metric(
        "CohenKappa",
        "cohen_kappa",
        oracles.cohen_kappa,
        TASKS[:2],
        averages=(),
        options={"weights": (None, "linear", "quadratic")},
    ),
    Metric("MatthewsCorrCoef", "matthews_corrcoef", oracles.matthews, averages=()),
]


@functools.cache
def parameters(called: Any) -> Mapping[str, Any]:
    return inspect.signature(called).parameters


def ours(metric: Metric, task: str) -> tuple[type[Any], Any, Any, Any]:
    """The class, its function, its family, and the family's function."""
    functional = epochal.functional
    member, function = f"{task.title()}{metric.name}", f"{task}_{metric.function}"
    rooms = epochal.classification
    return getattr(rooms, member), getattr(functional, function), getattr(rooms, metric.name), getattr(functional, metric.function)


def variants(metric: Metric, data: Data) -> Iterator[dict[str, Any]]:
    options = dict(metric.options)
    if metric.averages and data.task != "binary":
        options["average"] = metric.averages[:1] if data.brief else metric.averages
    if not data.thorough and "zero_division" in options:
        options["zero_division"] = (0,)
    for values in itertools.product(*options.values()):
        yield {**dict(zip(options, values, strict=True)), **metric.always}


def fits(metric: Metric, data: Data) -> bool:
    """Whether the metric takes the arguments that belong to the data, in its class."""
    known = parameters(ours(metric, data.task)[0])
    return set(data.arguments) <= set(known)


CASES = [(metric, data) for metric in TABLE for task in metric.tasks for data in ALL[task] if fits(metric, data)]


def computed(built: Any, batches: Any) -> Tensor:
    for batch in batches:
        built.update(*batch)
    return built.compute()


def results(metric: Metric, data: Data, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The value in every way in which a user can ask for it."""
    cls, function, family, family_function = ours(metric, data.task)
    whole = [(data.preds, data.target)]
    yield "class", computed(cls(**arguments), data.batches())
    yield "family", computed(family(task=data.task, **arguments), whole)
    with check.deferred():  # formulas read counts as tensors, as on an accelerator, and not as NumPy arrays
        yield "deferred", computed(cls(**arguments), whole)
    if set(arguments) <= set(parameters(function)):
        yield "function", function(data.preds, data.target, **arguments)
        yield "family's function", family_function(data.preds, data.target, task=data.task, **arguments)


def differences(found: Tensor, expected: Any, integer: bool, double: bool) -> str:
    """Nothing, or what is wrong."""
    dtype = torch.int64 if integer else torch.float64 if double else torch.float32
    if found.dtype != dtype:
        return f"dtype {found.dtype}, {dtype} is needed"
    if found.shape != np.shape(expected):
        return f"shape {tuple(found.shape)}, {np.shape(expected)} is needed"
    tolerance = 0 if integer else 1e-12 if double else 1e-6
    if not np.allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance, equal_nan=True):
        return f"{found}, {expected} is needed"
    return ""


@pytest.mark.parametrize(("metric", "data"), CASES, ids=str)
def test_equals_the_oracle(metric, data):
    deciding = {k: v for k, v in data.arguments.items() if k in DECIDING}
    pairs = oracles.decisions(data.task, *data.raw, **deciding).pairs(data.task)
    oracle = void_aware(metric, data)
    broken = []
    for variant in variants(metric, data):
        expected = oracle(data.task, pairs, data.size, **variant)
        counted = metric.integer is not None and variant.get("average", variant.get("normalize", None)) in (*metric.integer, None)
        for way, found in results(metric, data, {**data.arguments, **variant}):
            wrong = differences(found, expected, counted, data.preds.dtype == torch.float64)
            if wrong:
                broken.append(f"{way} with {variant}: {wrong}")
    assert not broken, "\n".join(broken)


def void_aware(metric: Metric, data: Data) -> Callable[..., Any]:
    """Differs: a class that the Jaccard index ignores is void, as in segmentation. It has no part in an average even where it is
    predicted, while in all other scores a prediction of it is a false positive (scikit-learn on the samples that are left)."""
    void = data.arguments.get("ignore_index")
    if metric.name != "JaccardIndex" or data.task != "multiclass" or void is None or not 0 <= void < data.size:
        return metric.oracle
    return functools.partial(without, void)


def without(void: int, task: str, pairs: Any, size: int, average: str, zero_division: float) -> Any:
    """The Jaccard index over the other classes: scikit-learn's labels= leaves a class out of the averages."""
    true, pred = pairs[0]
    if average == "none":
        each = oracles.JACCARD(task, pairs, size, "none", zero_division)
        each[void] = zero_division  # neither predicted nor true
        return each
    occurring = sorted({*true, *pred} - {void})
    score = oracles.sk.jaccard_score
    zero = {} if math.isnan(zero_division) else {"zero_division": zero_division}  # a class that occurs has a score
    return score(true, pred, labels=occurring, average=average, **zero)
