"""Overlap of label maps against scikit-learn's scores of each sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from epochal import functional as ef
from epochal import segmentation as es
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut

C = 4
G = torch.Generator().manual_seed(0)
PREDS, TARGET = torch.randint(C - 1, (60, 5, 6), generator=G), torch.randint(C - 1, (60, 5, 6), generator=G)
PREDS[0] = TARGET[0] = 0  # one class alone
PREDS[1][PREDS[1] == 1], TARGET[1][TARGET[1] == 1] = 2, 2  # a class in neither; class 3 occurs nowhere
TARGET[2] = 1
PREDS[3], TARGET[3] = 1, 2  # nothing in common


def masks(labels):
    return torch.nn.functional.one_hot(labels, C).movedim(-1, 1)


FORMS = {
    "index": (PREDS, TARGET),
    "one-hot": (masks(PREDS), masks(TARGET)),
    "mixed": (masks(PREDS) + 0.1 * torch.rand(60, C, 5, 6, generator=G), TARGET),
    "mixed the other way": (PREDS, masks(TARGET)),
}


def by_class(score, background):
    """Of each sample and class by scikit-learn, NaN where the class does not occur."""
    classes = range(0 if background else 1, C)
    out = np.full((len(PREDS), len(classes)), np.nan)
    for n, (preds, target) in enumerate(zip(PREDS.flatten(1).numpy(), TARGET.flatten(1).numpy(), strict=True)):
        for i, c in enumerate(classes):
            if (preds == c).any() or (target == c).any():
                out[n, i] = score(target == c, preds == c)
    return out


def nanmean(values, axis=None):
    filled = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(filled, values, 0).sum(axis) / filled.sum(axis)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_mean_iou(form, background):
    preds, target = FORMS[form]
    arguments = {"num_classes": C, "include_background": background, "input_format": form.split()[0]}
    each = by_class(sk.jaccard_score, background)
    expected = nanmean(each, 1)
    assert np.allclose(ef.mean_iou(preds, target, **arguments), expected, atol=1e-6, equal_nan=True)
    assert np.allclose(computed(es.MeanIoU(**arguments), cut(preds, target)), nanmean(each), atol=1e-6)
    arguments["per_class"] = True
    assert np.allclose(ef.mean_iou(preds, target, **arguments), np.nan_to_num(each, nan=-1), atol=1e-6)
    found = computed(es.MeanIoU(**arguments), cut(preds, target))
    assert np.allclose(found, np.nan_to_num(nanmean(each, 0), nan=-1), atol=1e-6)
    if form != "index":
        del arguments["num_classes"]
        assert np.allclose(
            computed(es.MeanIoU(**arguments), cut(preds, target)), np.nan_to_num(nanmean(each, 0), nan=-1), atol=1e-6
        )


def averaged(each, support, average):
    if average == "macro":
        return nanmean(each, 1)
    return (np.nan_to_num(each) * support).sum(1) / support.sum(1) if average == "weighted" else each


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("average", ["macro", "weighted", "none", None])
@pytest.mark.parametrize("form", FORMS)
def test_dice_of_samples(form, average, background):
    preds, target = FORMS[form]
    arguments = {"num_classes": C, "include_background": background, "input_format": form.split()[0], "average": average}
    support = masks(TARGET).flatten(2).sum(2).numpy()[:, 0 if background else 1 :]
    with np.errstate(invalid="ignore"):
        expected = averaged(by_class(sk.f1_score, background), support, average)
    assert np.allclose(ef.dice_score(preds, target, **arguments), expected, atol=1e-6, equal_nan=True)
    found = computed(es.DiceScore(**arguments), cut(preds, target))
    assert np.allclose(found, nanmean(expected, 0), atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_dice_of_all(average):
    """Of all samples taken together it is the F1 of their places."""
    y, x = TARGET.flatten().numpy(), PREDS.flatten().numpy()
    expected = sk.f1_score(y, x, average=average)
    arguments = {"num_classes": C, "average": average, "aggregation_level": "global", "input_format": "index"}
    assert computed(es.DiceScore(**arguments), cut(PREDS, TARGET)).item() == pytest.approx(expected, abs=1e-6)
    assert ef.dice_score(PREDS, TARGET, **arguments).tolist() == pytest.approx([expected], abs=1e-6)
    each = sk.f1_score(y, x, average=None)
    found = computed(es.DiceScore(**{**arguments, "average": "none"}), cut(PREDS, TARGET))
    assert found[:3].tolist() == pytest.approx(each.tolist(), abs=1e-6)
    assert found[3].isnan()


def test_micro_of_samples():
    expected = [sk.accuracy_score(t, p) for p, t in zip(PREDS.flatten(1).numpy(), TARGET.flatten(1).numpy(), strict=True)]
    arguments = {"num_classes": C, "average": "micro", "input_format": "index"}
    assert ef.dice_score(PREDS, TARGET, **arguments).tolist() == pytest.approx(expected, abs=1e-6)
    assert computed(es.DiceScore(**arguments), cut(PREDS, TARGET)).item() == pytest.approx(np.mean(expected), abs=1e-6)


def test_samples_without_a_class_that_counts():
    nothing = torch.zeros(2, 4, 4, dtype=torch.long)
    for metric in (es.MeanIoU(C, include_background=False, input_format="index"), es.DiceScore(C, False, input_format="index")):
        assert metric(nothing, nothing).isnan()
        metric.update(PREDS[4:8], TARGET[4:8])
        alone = type(metric)(C, include_background=False, input_format="index")
        alone.update(PREDS[4:8], TARGET[4:8])
        assert metric.compute() == alone.compute()


@pytest.mark.parametrize("make", [es.MeanIoU, es.DiceScore])
def test_bad_maps(make):
    name, index = make.__name__, make(C, input_format="index")
    with_nan = masks(PREDS).float()
    with_nan[3, 1, 2, 0] = torch.nan
    for metric, preds, target, error, match in (
        (index, PREDS + 2, TARGET, ValueError, "values are no labels, but labels 0 .. 3 are needed"),
        (index, PREDS, TARGET - 1, ValueError, "values are no labels, but labels 0 .. 3 are needed"),
        (index, PREDS.float(), TARGET, TypeError, "preds has dtype torch.float32, but integer or bool labels are needed"),
        (make(C), PREDS, TARGET, ValueError, r"preds has shape \(60, 5, 6\), but \(N, 4, ...\) is needed"),
        (make(C), 2 * masks(PREDS), masks(TARGET), ValueError, "values are no labels, but labels 0 or 1 are needed"),
        (make(C, input_format="mixed"), PREDS, TARGET, ValueError, "but input_format is 'mixed'"),
        (make(C, input_format="mixed"), with_nan, TARGET, ValueError, "1 values are no labels, but labels 0 .. 3 are needed"),
    ):
        with pytest.raises(error, match=rf"^{name}: .*{match}"):
            metric.update(preds, target)
        assert metric.update_count == 0


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.float16])
def test_scores_of_any_dtype(dtype):
    for make in (es.MeanIoU, es.DiceScore):
        found = make(C, input_format="mixed")(masks(PREDS).to(dtype), TARGET)
        assert found == make(C, input_format="index")(PREDS, TARGET)
