"""Whether float predictions are probabilities or logits is a property of all the data, never of one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import accuracy_score, f1_score

import epochal
from epochal import classification as ec
from epochal import functional as ef
from tests.reference.test_classification import computed

# As probabilities the first two are positive, as logits all that are above 0. One of the last two says which they are.
PREDS, TARGET = torch.tensor([0.9, 0.6, 0.2, 0.4, 3.0, -2.0]), torch.tensor([1, 1, 0, 0, 1, 0])
INSIDE = slice(0, 4)
LOGITS = accuracy_score(TARGET, PREDS > 0)
PROBABILITIES = accuracy_score(TARGET[INSIDE], PREDS[INSIDE] > 0.5)
METRICS = {
    "BinaryAccuracy": lambda **more: ec.BinaryAccuracy(**more),
    "family": lambda **more: epochal.Accuracy(task="binary", **more),
    "no task": lambda **more: epochal.Accuracy(**more),
}


def test_the_data_tell_the_readings_apart():
    assert accuracy_score(TARGET[INSIDE], PREDS[INSIDE] > 0) != PROBABILITIES
    assert accuracy_score(TARGET, PREDS > 0.5) != LOGITS


@pytest.mark.parametrize("build", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize(
    "cuts", [[], [4], [5], [1, 2, 3, 4, 5], [4, 5]], ids=["one batch", "in, out", "mixed, out", "alone", "in, out, out"]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_any_split_gives_the_same(build, cuts, backwards):
    batches = list(zip(PREDS.tensor_split(cuts), TARGET.tensor_split(cuts), strict=True))
    assert computed(build(), batches[::-1] if backwards else batches) == pytest.approx(LOGITS)
    merged, other = build(), build()
    for metric, part in ((merged, batches[:1]), (other, batches[1:])):
        for batch in part:
            metric.update(*batch)
    if batches[1:]:
        merged.merge_state(other)
    assert merged.compute() == pytest.approx(LOGITS)


@pytest.mark.parametrize("build", METRICS.values(), ids=METRICS)
def test_the_reading_of_a_value_may_change_with_later_data(build):
    """The value after a first batch is right for what is known then; the next batch tells more, also of the first."""
    metric = build()
    assert metric(PREDS[INSIDE], TARGET[INSIDE]) == PROBABILITIES
    assert metric.compute() == PROBABILITIES
    metric.update(PREDS[4:], TARGET[4:])
    assert metric.compute() == pytest.approx(LOGITS)
    metric.reset()
    metric.update(PREDS[INSIDE], TARGET[INSIDE])
    assert metric.compute() == PROBABILITIES


@pytest.mark.parametrize("build", METRICS.values(), ids=METRICS)
def test_what_is_ignored_has_no_say(build):
    target = TARGET.clone()
    target[4:] = -1
    for split in (6, 4):
        batches = list(zip(PREDS.split(split), target.split(split), strict=True))
        assert computed(build(ignore_index=-1), batches) == PROBABILITIES


@pytest.mark.parametrize("build", METRICS.values(), ids=METRICS)
def test_the_reading_can_be_fixed(build):
    inside = (PREDS[INSIDE], TARGET[INSIDE])
    assert computed(build(logits=True), [inside]) == accuracy_score(inside[1], inside[0] > 0)
    assert computed(build(logits=False), [(PREDS, TARGET)]) == accuracy_score(TARGET, PREDS > 0.5)
    assert build(logits=True)(*inside) == accuracy_score(inside[1], inside[0] > 0)


def test_a_metric_of_another_reading_does_not_merge():
    with pytest.raises(ValueError, match=r"^BinaryAccuracy: .+, but .+"):
        ec.BinaryAccuracy(logits=True).merge_state(ec.BinaryAccuracy())


def test_one_sample_beyond_0_and_1_decides_for_every_label_and_position():
    g = torch.Generator().manual_seed(0)
    preds, target = torch.rand(20, 3, 2, generator=g), torch.randint(2, (20, 3, 2), generator=g)
    preds[17, 0, 1] = 1.5
    expected = [f1_score(target[:, i].flatten(), preds[:, i].flatten() > 0) for i in range(3)]
    found = computed(ec.MultilabelF1Score(3, average="none"), zip(preds.split(6), target.split(6), strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    apart = computed(
        ec.MultilabelAccuracy(3, average="micro", multidim_average="samplewise"), zip(preds.split(6), target.split(6), strict=True)
    )
    by_hand = ((preds > 0) == target.bool()).flatten(1).double().mean(1)
    np.testing.assert_allclose(apart, by_hand, rtol=1e-6)


def test_labels_beside_scores():
    """Predicted labels are what they are; scores of other batches do not change their reading."""
    batches = [(PREDS, TARGET), (torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1]))]
    expected = accuracy_score([*TARGET, 1, 1, 1], [*(PREDS > 0), 1, 0, 1])
    assert computed(ec.BinaryAccuracy(), batches) == pytest.approx(expected)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_random_splits(data):
    """Any data, cut anywhere into batches and these dealt to any of three metrics, which then merge in any order."""
    size = data.draw(st.integers(1, 24))
    quarters = st.integers(-16, 16) if data.draw(st.booleans()) else st.integers(0, 4)  # exact, also at the thresholds
    preds = torch.tensor(data.draw(st.lists(quarters, min_size=size, max_size=size))) / 4
    target = torch.tensor(data.draw(st.lists(st.sampled_from([0, 1, -1]), min_size=size, max_size=size)))
    threshold = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0]))
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=5)))
    metrics = [ec.BinaryStatScores(threshold, ignore_index=-1) for _ in range(3)]
    for batch in zip(preds.tensor_split(cuts), target.tensor_split(cuts), strict=True):
        data.draw(st.sampled_from(metrics)).update(*batch)
    first, *others = data.draw(st.permutations(metrics))
    for other in others:
        first.merge_state(other)
    once = ef.binary_stat_scores(preds, target, threshold=threshold, ignore_index=-1)
    assert first.compute().tolist() == once.tolist()
    assert once.tolist() == by_hand(preds.double().numpy(), target.numpy(), threshold)


def by_hand(scores, target, threshold):
    """tp, fp, tn, fn and the support."""
    scores, target = scores[target >= 0], target[target >= 0]
    as_logits = ((scores < 0) | (scores > 1)).any()
    said = (expit(scores) if as_logits else scores) > threshold
    tp, fp = (said & (target == 1)).sum(), (said & (target == 0)).sum()
    positive = (target == 1).sum()
    return [tp, fp, len(target) - positive - fp, positive - tp, positive]
