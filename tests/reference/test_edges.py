"""Where a definition has an edge: no data, ties at a threshold, top-k as scikit-learn has it, classes that nobody counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score, zero_one_loss

from epochal import classification as ec
from epochal import functional as ef
from tests.reference.data import MULTICLASS, NOT_ANY, classes
from tests.reference.test_classification import TABLE, computed, differences, ours

# --- no data -----------------------------------------------------------------------------------------------------------------

EMPTY = {  # the value of nothing: of a ratio it is zero_division, 0 by default
    "CohenKappa": math.nan,
    "StatScores": 0,
    "ConfusionMatrix": 0,
}
INPUT = {
    "binary": (torch.zeros(0), torch.zeros(0, dtype=torch.long), {}),
    "multiclass": (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), {"num_classes": 4}),
    "multilabel": (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), {"num_labels": 3}),
}


@pytest.mark.parametrize("ignoring", [False, True], ids=["no sample", "all ignored"])
@pytest.mark.parametrize(("metric", "task"), [(m, t) for m in TABLE for t in m.tasks if m.name != "HammingDistance"], ids=str)
def test_no_data(metric, task, ignoring):
    preds, target, size = INPUT[task]
    if ignoring:
        preds, target = torch.ones(5, *preds.shape[1:]), torch.full((5, *target.shape[1:]), NOT_ANY)
    arguments = {**size, **metric.always, "ignore_index": NOT_ANY}
    cls, function, *_ = ours(metric, task)
    for average in metric.averages if task != "binary" else ():
        both = computed(cls(average=average, **arguments), [(preds, target)]), function(preds, target, average=average, **arguments)
        for found in both:
            assert torch.equal(found, torch.full_like(found, EMPTY.get(metric.name, 0)))
    if not metric.averages:
        for found in (computed(cls(**arguments), [(preds, target)]), function(preds, target, **arguments)):
            assert torch.allclose(found, torch.full_like(found, EMPTY.get(metric.name, 0)), equal_nan=True)


@pytest.mark.parametrize("zero", [0.0, 1.0, math.nan])
@pytest.mark.parametrize("name", ["Precision", "Recall", "F1Score", "JaccardIndex", "Specificity"])
def test_zero_division_of_no_data(name, zero):
    for task, (preds, target, size) in INPUT.items():
        found = computed(getattr(ec, f"{task.title()}{name}")(zero_division=zero, **size), [(preds, target)])
        assert torch.allclose(found, torch.tensor(zero), equal_nan=True), task


def test_a_distance_of_nothing():
    """One less the accuracy of nothing, so 1, for a class as for all of them pooled; but a mean over no class is 0, as any is."""
    for task, (preds, target, size) in INPUT.items():
        function = getattr(ef, f"{task}_hamming_distance")
        expected = {"none": 1, "micro": 1, "weighted": 0, "macro": 0 if task == "multiclass" else 1}
        for average in expected if task != "binary" else ():
            assert (function(preds, target, average=average, **size) == expected[average]).all()
    assert ef.binary_hamming_distance(*INPUT["binary"][:2]) == 1


def test_exact_match_of_no_data():
    for task, (preds, target, size) in list(INPUT.items())[1:]:
        assert getattr(ef, f"{task}_exact_match")(preds, target, **size) == 0


def test_samplewise_of_no_data():
    for task, (preds, target, size) in INPUT.items():
        if task != "binary":
            found = getattr(ef, f"{task}_accuracy")(preds, target, multidim_average="samplewise", **size)
            assert found.shape == (0,)


def test_no_data_beside_data():
    """An empty batch, at any place, is no batch."""
    data = classes("empty among others", 4)
    empty = (data.preds[:0], data.target[:0])
    once = (data.preds, data.target)
    expected = computed(ec.MulticlassF1Score(4), [once])
    for batches in ([empty, once], [once, empty], [empty, once, empty]):
        assert computed(ec.MulticlassF1Score(4), batches) == expected


# --- thresholds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_what_equals_the_threshold_is_negative(threshold, dtype):
    """In the precision of the score: 0.3 in half precision is the threshold itself, though not 0.3. Its neighbours are not."""
    at = torch.tensor([threshold], dtype=dtype)
    above, below = (torch.nextafter(at, torch.tensor([to], dtype=dtype)) for to in (2.0, -2.0))
    preds = torch.cat([below, at, above])
    found = ef.binary_stat_scores(preds, torch.ones(3, dtype=torch.long), threshold=threshold)
    assert found.tolist() == [1, 0, 0, 2, 3]


def test_a_hair_outside_is_still_a_probability():
    """A sigmoid or a softmax may end an ulp above 1."""
    target = torch.tensor([0, 0, 1])
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        one = torch.ones(1, dtype=dtype)
        hair = torch.nextafter(one, 2 * one)
        preds = torch.cat([torch.tensor([0.2, 0.4], dtype=dtype), hair])  # as logits all are positive
        assert ef.binary_accuracy(preds, target) == 1, dtype


def test_probabilities_of_zero_and_one_at_the_thresholds_that_are_0_and_1():
    preds, target = torch.tensor([0.0, 1.0]), torch.tensor([0, 1])
    assert ef.binary_stat_scores(preds, target, threshold=0).tolist() == [1, 0, 1, 0, 1]
    assert ef.binary_stat_scores(preds, target, threshold=1).tolist() == [0, 0, 1, 1, 1]


def test_infinite_logits():
    preds, target = torch.tensor([-math.inf, math.inf, 0.1, -0.1]), torch.tensor([0, 1, 1, 0])
    for threshold in (0.3, 0.5, 0.6):
        expected = (torch.sigmoid(preds) > threshold).long()
        found = ef.binary_stat_scores(preds, target, threshold=threshold)
        assert found[0] + found[1] == expected.sum()


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_views_are_as_good_as_copies(task):
    """A column of probabilities, or a transposed map, is not contiguous: no warning (they are errors here), and the same value."""
    g = torch.Generator().manual_seed(0)
    preds = {"binary": torch.rand(9, 2, generator=g)[:, 1], "multiclass": torch.rand(9, 5, 4, generator=g).mT}
    preds["multilabel"] = torch.rand(3, 9, generator=g).T
    target = {"binary": torch.randint(2, (9, 2), generator=g)[:, 0], "multiclass": torch.randint(4, (5, 9), generator=g).T}
    target["multilabel"] = torch.randint(2, (3, 9), generator=g).T
    size = {"multiclass": {"num_classes": 4}, "multilabel": {"num_labels": 3}}.get(task, {})
    assert not preds[task].is_contiguous()
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        found = getattr(ef, f"{task}_f1_score")(preds[task], target[task], **size)
    finally:
        torch.set_warn_always(always)
    assert found == getattr(ef, f"{task}_f1_score")(preds[task].contiguous(), target[task].contiguous(), **size)


# --- top-k -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [d for d in MULTICLASS if "top_k" in d.arguments and "ignore_index" not in d.arguments], ids=str)
def test_micro_top_k_is_scikit_learns(data):
    preds, target = data.raw
    scores, labels = np.moveaxis(preds, 1, -1).reshape(-1, data.size), target.reshape(-1)
    k = data.arguments["top_k"]  # of all the classes scikit-learn calls it meaningless, and warns
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(data.size)) if k < data.size else 1.0
    found = computed(ec.MulticlassAccuracy(average="micro", **data.arguments), data.batches())
    assert not differences(found, expected, integer=False, double=False)
    unknown = computed(ec.MulticlassAccuracy(None, data.arguments["top_k"], average="micro"), data.batches())
    assert unknown == found


# --- the number of classes is not known ----------------------------------------------------------------------------------------

KNOWN = [metric for metric in TABLE if metric.name in ("Accuracy", "HammingDistance", "Precision", "Recall", "F1Score")]
UNKNOWN = [d for d in MULTICLASS if d.name.startswith(("scores", "labels", "ignored outside", "positions", "torch.uint8", "top 2"))]


@pytest.mark.parametrize("data", UNKNOWN, ids=str)
@pytest.mark.parametrize("metric", [m for m in KNOWN if m.name != "F1Score"], ids=str)
def test_micro_without_the_number_of_classes(metric, data):
    """As with it, which is compared with scikit-learn."""
    cls, function, *_ = ours(metric, "multiclass")
    arguments = {**data.arguments, "average": "micro"}
    expected = function(data.preds, data.target, **arguments)
    arguments["num_classes"] = None
    assert computed(cls(**arguments), data.batches()) == expected
    batches = list(data.batches())
    halves = [cls(**arguments), cls(**arguments)]
    for half, part in zip(halves, (batches[:2], batches[2:]), strict=True):
        for batch in part:
            half.update(*batch)
    halves[0].merge_state(halves[1])
    assert halves[0].compute() == expected


@pytest.mark.parametrize("name", ["StatScores", "Specificity", "NegativePredictiveValue"])
def test_true_negatives_need_the_number_of_classes(name):
    """They cannot be counted: an error, or NaN, but never a number that is wrong."""
    with pytest.raises(ValueError, match=f"^Multiclass{name}: .*num_classes"):
        getattr(ec, f"Multiclass{name}")(num_classes=None, average="micro")


# --- beside other definitions --------------------------------------------------------------------------------------------------


def test_macro_accuracy_is_the_balanced_one_where_all_that_is_predicted_occurs():
    """Differs: balanced_accuracy_score leaves out classes that are predicted but never true; ours counts them, with 0."""
    data = classes("balanced", 6)
    pred, target = data.raw[0].argmax(1), data.raw[1]
    assert set(pred) <= set(target)
    found = ef.multiclass_accuracy(data.preds, data.target, num_classes=6, average="macro")
    assert not differences(found, balanced_accuracy_score(target, pred), integer=False, double=False)
    never_true = ef.multiclass_accuracy(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]), num_classes=4, average="macro")
    assert never_true == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_exact_match_is_one_less_the_zero_one_loss():
    g = torch.Generator().manual_seed(0)
    preds, target = (torch.randint(2, (50, 3), generator=g) for _ in range(2))
    found = ef.multilabel_exact_match(preds, target, num_labels=3)
    assert found == pytest.approx(1 - zero_one_loss(target.numpy(), preds.numpy()))


def test_ignored_class_in_a_macro_average():
    """A class that is ignored may still be predicted. Differs by metric: F1 counts it as a class without a right prediction, as
    scikit-learn does on the samples that are left; the Jaccard index leaves it out (void)."""
    preds, target = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])
    f1 = ef.multiclass_f1_score(preds, target, num_classes=3, average="macro", ignore_index=2)
    assert f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    jaccard = ef.multiclass_jaccard_index(preds, target, num_classes=3, average="macro", ignore_index=2)
    assert jaccard == pytest.approx((1 + 1 / 2) / 2)
