"""An example of every public metric, by the name of its class: how it is built, and data. A metric without one fails the suite.

A row is a list of :class:`Example`. Families share generators: for a classification metric one call of :func:`classification`
writes the rows of its tasks, each with the variants that matter (averages, top_k, samples apart, ignored samples, logits).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import epochal
from epochal.metric import Metric
from epochal.testing import Case

SIZES = (7, 1, 12, 4)
CLASSES, MANY, LABELS, POSITIONS = 4, 70, 3, 3


@dataclass(frozen=True)
class Example:
    """A metric with arguments, data, its functional form, and options of :class:`~epochal.testing.Case`."""

    cls: str
    variant: str
    arguments: Mapping[str, Any]
    batches: Callable[[], Sequence[Any]]
    function: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[..., Metric] | None = None

    def make(self) -> Metric:
        return (self.build or public(self.cls))(**self.arguments)

    def case(self) -> Case:
        function = functools.partial(getattr(epochal.functional, self.function), **self.arguments) if self.function else None
        return Case(self.make, self.batches(), function, **self.options)

    def __str__(self) -> str:
        return f"{self.cls}-{self.variant}"


def public(name: str) -> Any:
    """A class by its name, from the library or a domain of it."""
    modules = (getattr(epochal, room) if room else epochal for room in ROOMS)
    return next(getattr(module, name) for module in modules if name in module.__all__)


ROOMS = ("", "classification", "regression", "aggregation")
ABSTRACT = {"Metric", "Score", "BinaryScore", "MulticlassScore", "MultilabelScore"}  # exported for those who derive from them

# --- data ----------------------------------------------------------------------------------------------------------------


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def each(row: Callable[[int, torch.Generator], tuple[Tensor, ...]], seed: int = 0) -> Callable[[], list[tuple[Tensor, ...]]]:
    def batches() -> list[tuple[Tensor, ...]]:
        generator = source(seed)
        return [row(size, generator) for size in SIZES]

    return batches


def labels(classes: int, *shape: int, g: torch.Generator, ignored: int | None = None) -> Tensor:
    drawn = torch.randint(classes, shape, generator=g)
    return drawn if ignored is None else drawn.masked_fill(torch.rand(shape, generator=g) < 0.25, ignored)


def yes_or_no(*shape: int, ignored: int | None = None) -> dict[str, Callable[[], Any]]:
    """Binary or multilabel data, one entry for each form of the predictions."""

    def logits(n: int, g: torch.Generator) -> Tensor:
        drawn = 3 * torch.randn(n, *shape, generator=g)
        return drawn.sigmoid() if n == SIZES[0] else drawn  # a batch that could be probabilities, if the others were not known

    target = functools.partial(labels, 2, ignored=ignored)
    return {
        "probabilities": each(lambda n, g: (torch.rand(n, *shape, generator=g), target(n, *shape, g=g))),
        "logits": each(lambda n, g: (logits(n, g), target(n, *shape, g=g))),
        "labels": each(lambda n, g: (labels(2, n, *shape, g=g), target(n, *shape, g=g))),
    }


def one_of_many(*shape: int, classes: int = CLASSES, ignored: int | None = None) -> dict[str, Callable[[], Any]]:
    target = functools.partial(labels, classes, ignored=ignored)
    return {
        "scores": each(lambda n, g: (torch.randn(n, classes, *shape, generator=g), target(n, *shape, g=g))),
        "labels": each(lambda n, g: (labels(classes, n, *shape, g=g), target(n, *shape, g=g))),
    }


def numbers(*shape: int, inputs: int = 1) -> Callable[[], list[tuple[Tensor, ...]]]:
    return each(lambda n, g: tuple(1 + 2 * torch.randn(n, *shape, generator=g) for _ in range(inputs)))


# --- rows ----------------------------------------------------------------------------------------------------------------

EXAMPLES: dict[str, list[Example]] = {}


def row(
    cls: str,
    variant: str,
    batches: Callable[[], Sequence[Any]],
    arguments: Mapping[str, Any] | None = None,
    function: str | None = None,
    build: Callable[..., Metric] | None = None,
    **options: Any,
) -> None:
    EXAMPLES.setdefault(cls, []).append(Example(cls, variant, arguments or {}, batches, function, options, build))


def classification(
    name: str,
    function: str,
    tasks: Sequence[str] = ("binary", "multiclass", "multilabel"),
    averages: bool = True,
    samples: bool = True,
    without_task: bool = True,
    negatives: bool = False,
    variants: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    **arguments: Any,
) -> None:
    """The rows of a metric in all its tasks, and of the family.

    ``averages``, ``samples``: whether it has ``average`` (and ``top_k``), and ``multidim_average``. ``negatives``: whether it
    counts true negatives, for which the number of classes must be known. ``variants``: more arguments to try, by task; "all" for
    each of them. ``arguments``: what it always needs.
    """
    rows = {"binary": _binary, "multiclass": _multiclass, "multilabel": _multilabel}
    for task in tasks:
        cls, form = f"{task.title()}{name}", f"{task}_{function}"
        more = [*(variants or {}).get("all", ()), *(variants or {}).get(task, ())]
        for variant, batches, extra, options in rows[task](averages, samples, more):
            if negatives and variant == UNKNOWN:
                continue
            row(cls, variant, batches, {**arguments, **extra}, form, **options)
    if without_task:
        for variant, data in (("binary", yes_or_no()), ("multilabel", yes_or_no(LABELS)), ("multiclass", one_of_many())):
            for kind, batches in data.items():
                if kind != "labels" or (variant == "multiclass" and not negatives):
                    row(name, f"{variant}-{kind}", batches, arguments, function)
    else:
        size = {"multiclass": {"num_classes": CLASSES}}
        row(name, "multiclass", one_of_many()["scores"], {"task": "multiclass", **size["multiclass"], **arguments}, function)


Rows = list[tuple[str, Callable[[], Any], dict[str, Any], dict[str, Any]]]
ROWS = {"rows": True}
UNKNOWN = "any number of classes"


def _text(arguments: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in arguments.items())


def _binary(averages: bool, samples: bool, more: Sequence[Mapping[str, Any]]) -> Rows:
    out: Rows = [(kind, batches, {}, {}) for kind, batches in yes_or_no().items()]
    out += [("threshold", yes_or_no()["logits"], {"threshold": 0.3}, {})]
    out += [("ignored", yes_or_no(ignored=-1)["logits"], {"ignore_index": -1}, {})]
    out += [("positions", yes_or_no(POSITIONS)["probabilities"], {}, {})]
    out += [(_text(extra), yes_or_no()["probabilities"], dict(extra), {}) for extra in more]
    if samples:
        apart = {"multidim_average": "samplewise"}
        out += [(f"samplewise-{kind}", yes_or_no(POSITIONS)[kind], apart, ROWS) for kind in ("probabilities", "logits")]
    return out


def _multiclass(averages: bool, samples: bool, more: Sequence[Mapping[str, Any]]) -> Rows:
    size = {"num_classes": CLASSES}
    out: Rows = [(kind, batches, size, {}) for kind, batches in one_of_many().items()]
    out += [(f"ignored {i}", one_of_many(ignored=i)["scores"], {**size, "ignore_index": i}, {}) for i in (-1, 0)]
    out += [("positions", one_of_many(POSITIONS)["scores"], size, {})]
    out += [("many classes", one_of_many(classes=MANY)["scores"], {"num_classes": MANY}, {})]
    out += [(_text(extra), one_of_many()["scores"], {**size, **extra}, {}) for extra in more]
    if averages:
        out += [(f"{a}", one_of_many()["scores"], {**size, "average": a}, {}) for a in ("micro", "weighted", "none")]
    if averages and samples:
        out += [("top 2", one_of_many()["scores"], {**size, "top_k": 2}, {})]
        out += [("top 2 of many", one_of_many(classes=MANY)["scores"], {"num_classes": MANY, "top_k": 2, "average": "micro"}, {})]
        out += [(UNKNOWN, one_of_many()["labels"], {"num_classes": None, "average": "micro"}, {})]
        for average in ("micro", "none"):
            apart = {**size, "multidim_average": "samplewise", "average": average}
            out += [(f"samplewise {average}", one_of_many(POSITIONS)["scores"], apart, ROWS)]
    elif samples:
        out += [("samplewise", one_of_many(POSITIONS)["scores"], {**size, "multidim_average": "samplewise"}, ROWS)]
    return out


def _multilabel(averages: bool, samples: bool, more: Sequence[Mapping[str, Any]]) -> Rows:
    size = {"num_labels": LABELS}
    out: Rows = [(kind, batches, size, {}) for kind, batches in yes_or_no(LABELS).items()]
    out += [("ignored", yes_or_no(LABELS, ignored=-1)["logits"], {**size, "ignore_index": -1}, {})]
    out += [("positions", yes_or_no(LABELS, POSITIONS)["probabilities"], {**size, "threshold": 0.3}, {})]
    out += [(_text(extra), yes_or_no(LABELS)["probabilities"], {**size, **extra}, {}) for extra in more]
    if averages:
        out += [(f"{a}", yes_or_no(LABELS)["logits"], {**size, "average": a}, {}) for a in ("micro", "weighted", "none")]
    if samples:
        apart = {**size, "multidim_average": "samplewise"}
        out += [("samplewise", yes_or_no(LABELS, POSITIONS)["logits"], apart, ROWS)]
    return out


ZERO: dict[str, Any] = {"all": [{"zero_division": 1.0}], "multiclass": [{"zero_division": float("nan")}]}

classification("StatScores", "stat_scores", negatives=True)
classification("Accuracy", "accuracy")
classification("HammingDistance", "hamming_distance")
classification("Precision", "precision", variants=ZERO)
classification("Recall", "recall", variants=ZERO)
classification("Specificity", "specificity", negatives=True)
classification("NegativePredictiveValue", "negative_predictive_value", negatives=True, variants=ZERO)
classification("FBetaScore", "fbeta_score", variants=ZERO, beta=2.0)
classification("F1Score", "f1_score", variants=ZERO)
EXAMPLES["F1"] = EXAMPLES["F1Score"]
classification("JaccardIndex", "jaccard_index", samples=False, without_task=False, variants=ZERO)
classification("ExactMatch", "exact_match", ["multiclass", "multilabel"], averages=False, without_task=False)
NORMALIZED = {"all": [{"normalize": how} for how in ("true", "pred", "all")]}
classification("ConfusionMatrix", "confusion_matrix", averages=False, samples=False, without_task=False, variants=NORMALIZED)
classification("MatthewsCorrCoef", "matthews_corrcoef", averages=False, samples=False, without_task=False)
classification(
    "CohenKappa",
    "cohen_kappa",
    ["binary", "multiclass"],
    averages=False,
    samples=False,
    without_task=False,
    variants={"all": [{"weights": how} for how in ("linear", "quadratic")]},
)

row("MeanSquaredError", "scalar", numbers(inputs=2), function="mean_squared_error")
row("MeanSquaredError", "root", numbers(5, inputs=2), {"squared": False}, function="mean_squared_error")
row("MeanSquaredError", "outputs", numbers(3, inputs=2), {"num_outputs": 3}, function="mean_squared_error")

for aggregate in ("SumMetric", "MeanMetric", "MaxMetric", "MinMetric", "CatMetric"):
    apart = ROWS if aggregate == "CatMetric" else {}
    row(aggregate, "vectors", numbers(), **apart)
    row(aggregate, "matrices", numbers(3), **apart)
    row(aggregate, "scalars", lambda: [(b[0][0],) for b in numbers()()], **apart)
    row(aggregate, "numbers", lambda: [(b[0][0].item(),) for b in numbers()()], **apart)
row("MeanMetric", "weighted", each(lambda n, g: (torch.randn(n, generator=g), torch.rand(n, generator=g) + 0.5)))
row("MeanMetric", "one weight", lambda: [(b[0], float(len(b[0]))) for b in numbers()()], resplit=False)
row("RunningMean", "window 2", numbers(), {"window": 2})
row("RunningSum", "window 2", numbers(), {"window": 2})


def formula() -> Metric:
    return 2 * epochal.MeanSquaredError() + abs(-epochal.MeanSquaredError(squared=False)) / 3


row("CompositionalMetric", "formula", numbers(inputs=2), build=formula)
row("CompositionalMetric", "two statistics", numbers(), build=lambda: epochal.SumMetric() - 2 * epochal.MaxMetric())
