"""Examples of classification metrics of labels: all forms of data, and the variants that matter.

One call of :func:`classification` writes the rows of a metric in all its tasks (averages, top_k, samples apart, ignored samples,
logits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.laws.data import CLASSES, EXAMPLES, LABELS, MANY, POSITIONS, one_of_many, row, yes_or_no


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
