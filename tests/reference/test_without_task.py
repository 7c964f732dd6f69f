"""The 0.x way, without a task: shapes and dtypes of the first batch decide what the data are. Micro average, by scikit-learn."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import epochal
from epochal import check
from tests.reference import oracles
from tests.reference.test_classification import computed

CUTS = [5, 6, 20]


def micro(score):
    return lambda true, pred: score(true, pred, average="micro", zero_division=0)


# (metric, its function, scikit-learn of one of several, scikit-learn of yes or no)
TABLE = [
    (epochal.Accuracy, epochal.functional.accuracy, sk.accuracy_score, lambda t, p: (t == p).mean()),
    (epochal.HammingDistance, epochal.functional.hamming_distance, sk.hamming_loss, lambda t, p: (t != p).mean()),
    (epochal.Precision, epochal.functional.precision, micro(sk.precision_score), sk.precision_score),
    (epochal.Recall, epochal.functional.recall, micro(sk.recall_score), sk.recall_score),
    (epochal.F1Score, epochal.functional.f1_score, micro(sk.f1_score), sk.f1_score),
    (epochal.FBetaScore, epochal.functional.fbeta_score, micro(sk.f1_score), sk.f1_score),
]


def source() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def known(target, g):
    return 2 * torch.randn(target.shape, generator=g) + 2 * target - 1


def inputs():
    """(preds, target, true labels, predicted labels, whether they are yes or no) of each kind that 0.x knew."""
    g = source()
    yes = torch.randint(2, (40,), generator=g)
    many = torch.randint(2, (40, 3), generator=g)
    several = torch.randint(4, (40,), generator=g)
    spread = torch.randint(4, (40, 2, 3), generator=g)
    logits, labels = known(yes, g), known(many, g)
    scores = torch.randn(40, 4, generator=g) + 2 * torch.eye(4)[several]
    maps = torch.randn(40, 4, 2, 3, generator=g)
    guessed = torch.randint(4, (40,), generator=g)
    return {
        "binary probabilities (N,)": (logits.sigmoid(), yes, yes, logits > 0, True),
        "binary logits (N,)": (logits, yes, yes, logits > 0, True),
        "multiclass scores (N, C)": (scores, several, several, scores.argmax(1), False),
        "multiclass probabilities (N, C)": (scores.softmax(1), several, several, scores.argmax(1), False),
        "labels (N,)": (guessed, several, several, guessed, False),
        "multilabel probabilities (N, L)": (labels.sigmoid(), many, many, labels > 0, True),
        "multilabel logits (N, L)": (labels, many, many, labels > 0, True),
        "multiclass scores (N, C, X, Y)": (maps, spread, spread, maps.argmax(1), False),
        "labels (N, X, Y)": (maps.argmax(1), spread, spread, maps.argmax(1), False),
    }


INPUTS = inputs()


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].__name__)
def test_micro_average(row, kind):
    cls, function, several, yes_or_no = row
    preds, target, true, pred, binary = INPUTS[kind]
    true, pred = true.numpy().ravel(), pred.numpy().ravel().astype(int)
    expected = (yes_or_no if binary else several)(true, pred)
    for ignored in (None, -1):
        batches = list(zip(preds.tensor_split(CUTS), target.tensor_split(CUTS), strict=True))
        found = computed(cls(ignore_index=ignored), batches)
        assert found.dtype == torch.float32
        assert found == pytest.approx(expected, abs=1e-6)
    assert function(preds, target) == pytest.approx(expected, abs=1e-6)
    assert cls()(preds, target) == pytest.approx(expected, abs=1e-6)
    with check.deferred():
        assert computed(cls(), batches) == pytest.approx(expected, abs=1e-6)


NEGATIVES = [
    (epochal.Specificity, oracles.SPECIFICITY),
    (epochal.NegativePredictiveValue, oracles.NEGATIVE_PREDICTIVE_VALUE),
    (epochal.StatScores, oracles.stat_scores),
]


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("cls", "oracle"), NEGATIVES, ids=[cls.__name__ for cls, _ in NEGATIVES])
def test_true_negatives(cls, oracle, kind):
    """Of several classes each sample is a decision for every class; of labels alone nobody knows how many these are."""
    preds, target, true, pred, binary = INPUTS[kind]
    batches = list(zip(preds.tensor_split(CUTS), target.tensor_split(CUTS), strict=True))
    if not preds.is_floating_point():
        with pytest.raises(ValueError, match=rf"^{cls.__name__}: .+unknown classes, but .+\."):
            computed(cls(), batches)
        return
    pairs = [(true.numpy().ravel(), pred.numpy().ravel().astype(int))]
    expected = oracle("binary" if binary else "multiclass", pairs, preds.shape[-1] if binary else 4, average="micro")
    np.testing.assert_allclose(computed(cls(), batches), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [k for k in INPUTS if "scores" in k])
def test_top_k(kind):
    preds, target, *_ = INPUTS[kind]
    scores = np.moveaxis(preds.numpy(), 1, -1).reshape(-1, 4)
    expected = sk.top_k_accuracy_score(target.numpy().ravel(), scores, k=2, labels=range(4))
    batches = list(zip(preds.tensor_split(CUTS), target.tensor_split(CUTS), strict=True))
    assert computed(epochal.Accuracy(top_k=2), batches) == pytest.approx(expected, abs=1e-6)


def test_ignored_samples_do_not_count():
    preds, target, true, pred, _ = INPUTS["multiclass scores (N, C)"]
    kept = torch.arange(40) % 3 > 0
    found = epochal.Accuracy(ignore_index=255)(preds, target.masked_fill(~kept, 255))
    assert found == pytest.approx(sk.accuracy_score(true[kept], pred[kept]))


# --- what does not go together -------------------------------------------------------------------------------------------------

CONFLICTS = [
    ("binary logits (N,)", "multiclass scores (N, C)", ["binary scores", "scores of 4 classes"]),
    ("multiclass scores (N, C)", "labels (N,)", ["scores of 4 classes", "integer labels"]),
    ("multilabel logits (N, L)", "binary probabilities (N,)", ["scores of 3 labels", "binary scores"]),
]


def state(metric):
    return {name: field.clone() for name, field in metric.metric_state.items()}


def unchanged(metric, before, count):
    return metric.update_count == count and all(torch.equal(field, before[name]) for name, field in metric.metric_state.items())


@pytest.mark.parametrize("cls", [row[0] for row in TABLE], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(("first", "second", "words"), CONFLICTS, ids=[f"{a}, then {b}" for a, b, _ in CONFLICTS])
def test_two_kinds_are_an_error_that_names_both(cls, first, second, words):
    metric = cls()
    metric.update(*INPUTS[first][:2])
    before, value = state(metric), metric.compute()
    with pytest.raises(ValueError, match=rf"^{cls.__name__}: .+, but .+\.") as caught:
        metric.update(*INPUTS[second][:2])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert unchanged(metric, before, 1)
    with pytest.raises(ValueError, match=f"^{cls.__name__}: "):
        metric(*INPUTS[second][:2])
    other = cls()
    other.update(*INPUTS[second][:2])
    with pytest.raises(ValueError, match=rf"^{cls.__name__}: .+, but .+\.") as caught:
        metric.merge_state(other)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert unchanged(metric, before, 1)
    assert metric.compute() == value
    metric.update(*INPUTS[first][:2])
    assert metric.compute() == value  # the same data twice


def test_two_numbers_of_classes_are_an_error():
    metric = epochal.Accuracy()
    metric.update(torch.rand(5, 4), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"scores of 4 classes.+scores of 5 classes"):
        metric.update(torch.rand(5, 5), torch.zeros(5, dtype=torch.long))
    assert metric.compute().isfinite()


def test_deferred_two_kinds_are_found_at_compute():
    metric = epochal.Accuracy()
    with check.deferred():
        metric.update(*INPUTS["binary logits (N,)"][:2])
        metric.update(*INPUTS["labels (N,)"][:2])
    with pytest.raises(ValueError, match=r"^Accuracy: .*binary scores.+integer labels"):
        metric.compute()


def test_reset_forgets():
    metric = epochal.F1Score()
    metric.update(*INPUTS["labels (N,)"][:2])
    metric.reset()
    preds, target, true, pred, _ = INPUTS["binary logits (N,)"]
    metric.update(preds, target)
    assert metric.compute() == pytest.approx(sk.f1_score(true, pred))


def test_nothing_yet_agrees_with_all():
    """A metric that has seen no data, as on a rank without any, is the identity of the merge."""
    for kind in INPUTS:
        fed, empty = epochal.Accuracy(), epochal.Accuracy()
        fed.update(*INPUTS[kind][:2])
        value = fed.compute()
        fed.merge_state(epochal.Accuracy())
        empty.merge_state(fed)
        assert fed.compute() == value == empty.compute()


def test_the_decision_travels():
    metric = epochal.Precision()
    metric.update(*INPUTS["multilabel logits (N, L)"][:2])
    for twin in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone()):
        assert twin.compute() == metric.compute()
        with pytest.raises(ValueError, match="scores of 3 labels"):
            twin.update(*INPUTS["labels (N,)"][:2])
