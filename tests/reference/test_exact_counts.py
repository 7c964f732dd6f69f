"""Counts stay exact where float32 (2**24) and int32 (2**31) stop counting.

A metric merged with its own copy holds its data twice; thirty times so, 2**30 times.
"""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from epochal import check
from epochal import classification as ec
from epochal import functional as ef


def doubled(metric, times):
    for _ in range(times):
        metric.merge_state(metric.clone())
    return metric


ONE_OF_EACH = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 1])  # tp, fp, tn, fn
ONE_MORE = torch.tensor([1]), torch.tensor([1])


@pytest.mark.parametrize("times", [24, 25, 31, 40])
@pytest.mark.parametrize("deferred", [False, True])
def test_stat_scores(times, deferred):
    many = 2**times
    metric = ec.BinaryStatScores()
    metric.update(*ONE_OF_EACH)
    doubled(metric, times)
    metric.update(*ONE_MORE)
    expected = [many + 1, many, many, many, 2 * many + 1]
    if deferred:
        with check.deferred():
            assert metric.compute().tolist() == expected
    assert metric.compute().tolist() == expected


@pytest.mark.parametrize("times", [24, 31, 40])
def test_confusion_matrices(times):
    many = 2**times
    binary, multiclass, multilabel = ec.BinaryConfusionMatrix(), ec.MulticlassConfusionMatrix(3), ec.MultilabelConfusionMatrix(2)
    pairs = {"preds": torch.stack([ONE_OF_EACH[0]] * 2, 1), "target": torch.stack([ONE_OF_EACH[1]] * 2, 1)}
    for metric, batch in ((binary, ONE_OF_EACH), (multiclass, ONE_OF_EACH), (multilabel, pairs.values())):
        metric.update(*batch)
        doubled(metric, times)
    binary.update(*ONE_MORE)
    multiclass.update(torch.tensor([2]), torch.tensor([0]))
    multilabel.update(torch.tensor([[1, 0]]), torch.tensor([[1, 1]]))
    assert binary.compute().tolist() == [[many, many], [many, many + 1]]
    assert multiclass.compute().tolist() == [[many, many, 1], [many, many, 0], [0, 0, 0]]
    assert multilabel.compute().tolist() == [[[many, many], [many, many + 1]], [[many, many], [many + 1, many]]]


def test_many_classes_and_unknown_ones():
    """The other statistics: margins beyond 64 classes, and right or wrong."""
    many = 2**31
    margins = ec.MulticlassStatScores(70, average="none")
    margins.update(torch.tensor([69, 3]), torch.tensor([69, 2]))
    doubled(margins, 31).update(torch.tensor([69]), torch.tensor([69]))
    found = margins.compute()
    assert found[69].tolist() == [many + 1, 0, many, 0, many + 1]
    assert found[3].tolist() == [0, many, many + 1, 0, 0]
    unknown = ec.MulticlassAccuracy(None, average="micro").set_dtype(torch.float64)
    unknown.update(torch.tensor([5, 4]), torch.tensor([5, 5]))
    doubled(unknown, 31).update(torch.tensor([5]), torch.tensor([5]))
    assert unknown.compute() == (many + 1) / (2 * many + 1)


def test_ratios_of_large_counts():
    """Four equal counts and one more, in float64: what a float32 sum cannot tell from a half."""
    many = 2**26
    for name, expected in {
        "Accuracy": (2 * many + 1) / (4 * many + 1),
        "Precision": (many + 1) / (2 * many + 1),
        "F1Score": (2 * many + 2) / (4 * many + 2),
        "JaccardIndex": (many + 1) / (3 * many + 1),
    }.items():
        metric = getattr(ec, f"Binary{name}")().set_dtype(torch.float64)
        metric.update(*ONE_OF_EACH)
        doubled(metric, 26).update(*ONE_MORE)
        assert metric.compute().item() == pytest.approx(expected, rel=1e-15), name
        assert expected != 0.5


@pytest.mark.parametrize("times", [0, 16, 31, 40])
def test_products_of_large_counts(times):
    """Kappa and the correlation multiply margins: they do not change with the size of the data, and do not overflow."""
    g = torch.Generator().manual_seed(0)
    target = torch.randint(3, (60,), generator=g)
    preds = torch.where(torch.rand(60, generator=g) < 0.6, target, torch.randint(3, (60,), generator=g))
    matthews, kappa = ec.MulticlassMatthewsCorrCoef(3), ec.MulticlassCohenKappa(3, weights="quadratic")
    for metric in (matthews, kappa):
        metric.update(preds, target)
    assert doubled(matthews, times).compute() == pytest.approx(matthews_corrcoef(target, preds), rel=1e-6)
    assert doubled(kappa, times).compute() == pytest.approx(cohen_kappa_score(target, preds, weights="quadratic"), rel=1e-6)


def test_a_state_from_elsewhere():
    """``merge_state`` with a state near 2**31, as another process sends it."""
    metric, other = ec.BinaryStatScores(), ec.BinaryStatScores()
    other.update(*ONE_OF_EACH)
    metric.merge_state({name: field * (2**31 - 1) for name, field in other.metric_state.items()})
    metric.update(*ONE_OF_EACH)
    metric.update(*ONE_MORE)
    assert metric.compute().tolist() == [2**31 + 1, 2**31, 2**31, 2**31, 2**32 + 1]


def test_one_batch_of_more_than_2_to_the_24():
    size = 2**24 + 3
    preds = torch.ones(size, dtype=torch.bool)
    target = preds.clone()
    target[0] = False
    assert ef.binary_stat_scores(preds, target).tolist() == [size - 1, 1, 0, 0, size - 1]


def test_exact_match_of_many():
    metric = ec.MultilabelExactMatch(2).set_dtype(torch.float64)
    metric.update(torch.tensor([[1, 1], [1, 0]]), torch.tensor([[1, 1], [1, 1]]))
    doubled(metric, 26).update(torch.tensor([[1, 1]]), torch.tensor([[1, 1]]))
    assert metric.compute() == (2**26 + 1) / (2**27 + 1)
    assert not math.isclose(metric.compute(), 0.5, rel_tol=1e-9)
