"""Scores of each sample apart, and exact match: a loop over the samples with the oracle of all data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import epochal
from epochal import check
from tests.reference import oracles
from tests.reference.data import NOT_ANY, Data, classes, ignored, yes_or_no
from tests.reference.test_classification import TABLE, computed, differences, ours, parameters

KINDS = ("positions", "ignored in positions")


def apart() -> list[Data]:
    binary = [d for d in yes_or_no("binary", (), {}) if d.name in KINDS]
    multilabel = [d for d in yes_or_no("multilabel", (5,), {"num_labels": 5}) if d.name in (*KINDS, "logits")]
    unequal = classes("ignored in positions", 5, (4,), change=lambda p, t: ignored(p, t, NOT_ANY), ignore_index=NOT_ANY)
    void = classes("class ignored in positions", 5, (4,), change=lambda p, t: ignored(p, t, 2), ignore_index=2)
    return [*binary, *multilabel, classes("positions", 5, (3, 2)), classes("positions", 70, (4,)), unequal, void]


DATA = apart()
FEW = 14  # samples: an oracle for each of them takes its time
SCORES = [metric for metric in TABLE if "multidim_average" in parameters(ours(metric, "binary")[0])]


def exact(data: Data, samplewise: bool) -> np.ndarray | float:
    deciding = {k: v for k, v in data.arguments.items() if k == "ignore_index"}
    found = oracles.decisions(data.task, *data.raw, **deciding)
    if not samplewise:
        return oracles.exact_match(data.task, found)
    return np.array([oracles.exact_match(data.task, sample) for sample in found.samples()])


@pytest.mark.parametrize("data", DATA, ids=str)
@pytest.mark.parametrize("metric", SCORES, ids=str)
def test_each_sample(metric, data):
    cls, function, family, _ = ours(metric, data.task)
    deciding = {k: v for k, v in data.arguments.items() if k == "ignore_index"}
    samples = list(oracles.decisions(data.task, *(raw[:FEW] for raw in data.raw), **deciding).samples())
    preds, target = data.preds[:FEW], data.target[:FEW]
    batches = list(zip(preds.split(5), target.split(5), strict=True))
    for average in ("none",) if data.task == "binary" else metric.averages:
        arguments = {**data.arguments, **metric.always, "multidim_average": "samplewise"}
        arguments |= {} if data.task == "binary" else {"average": average}
        given = {"average": average, **metric.always}
        expected = np.stack([metric.oracle(data.task, sample.pairs(data.task), data.size, **given) for sample in samples])
        counted = metric.integer is not None and average in metric.integer
        for found in (
            computed(cls(**arguments), batches),
            computed(family(task=data.task, **arguments), batches),
            function(preds, target, **arguments),
        ):
            assert not differences(found, expected, counted, double=False), average


# --- exact match -------------------------------------------------------------------------------------------------------------

EXACT = [
    *(d for d in DATA if d.task != "binary"),
    *(
        d
        for d in yes_or_no("multilabel", (2,), {"num_labels": 2})
        if d.name in ("probabilities", "logits", "labels", "ignored 0", "ignored NaN", "no positive target")
    ),
    classes("labels in positions", 3, (2,), change=lambda p, t: (p.argmax(1), t.byte())),
    classes("scores", 3),
    classes("one class", 3, drawn_from=[1], predicted=[1]),
]


@pytest.mark.parametrize("samplewise", [False, True], ids=["global", "samplewise"])
@pytest.mark.parametrize("data", EXACT, ids=str)
def test_exact_match(data, samplewise):
    arguments = {**data.arguments, "multidim_average": "samplewise" if samplewise else "global"}
    expected = exact(data, samplewise)
    cls = getattr(epochal.classification, f"{data.task.title()}ExactMatch")
    function = getattr(epochal.functional, f"{data.task}_exact_match")
    found = {
        "class": computed(cls(**arguments), data.batches()),
        "family": computed(epochal.classification.ExactMatch(task=data.task, **arguments), data.batches()),
        "function": function(data.preds, data.target, **arguments),
        "family's function": epochal.functional.exact_match(data.preds, data.target, task=data.task, **arguments),
    }
    with check.deferred():
        found["deferred"] = computed(cls(**arguments), data.batches())
    wrong = {way: differences(value, expected, integer=False, double=False) for way, value in found.items()}
    assert not any(wrong.values()), wrong


def test_exact_match_is_strict():
    """One wrong label of a thousand makes a sample wrong; an oracle that is too kind would not see it."""
    target = torch.zeros(2, 1000, dtype=torch.long)
    preds = target.clone()
    preds[1, 999] = 1
    assert epochal.functional.multilabel_exact_match(preds, target, num_labels=1000) == 0.5
    assert epochal.functional.multiclass_exact_match(preds, target, num_classes=2) == 0.5
