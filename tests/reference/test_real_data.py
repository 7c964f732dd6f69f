"""Real data: digits, tumours and irises of scikit-learn, predicted by simple models; what a user would compare by hand."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import epochal
from epochal import classification as ec
from tests.reference import oracles
from tests.reference.data import Data
from tests.reference.test_classification import TABLE, computed, differences, ours


class Predicted(NamedTuple):
    scores: Tensor  # probabilities
    logits: Tensor
    labels: Tensor
    target: Tensor


@functools.cache
def predicted(name: str) -> Predicted:
    """Every second sample is for training, the rest is predicted."""
    images, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    generator = np.random.default_rng(0)
    images = images + generator.normal(0, images.std(0), images.shape)  # hard enough for mistakes
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(images[::2], target[::2])
    labels = KNeighborsClassifier(1).fit(images[::2], target[::2]).predict(images[1::2])
    scores, logits = model.predict_proba(images[1::2]), model.decision_function(images[1::2])
    return Predicted(*(torch.as_tensor(x) for x in (scores, logits, labels, target[1::2])))


def sets() -> list[Data]:
    made = []
    for name, count in (("digits", 10), ("iris", 3)):
        got = predicted(name)
        for kind in ("scores", "logits", "labels"):
            made.append(Data(f"{name} {kind}", "multiclass", getattr(got, kind), got.target, {"num_classes": count}))
    tumours = predicted("breast_cancer")
    for kind, preds in (("scores", tumours.scores[:, 1]), ("logits", tumours.logits), ("labels", tumours.labels)):
        made.append(Data(f"tumours {kind}", "binary", preds, tumours.target))
    digits = predicted("digits")
    properties = torch.stack([digits.target % 2 == 0, digits.target > 4, digits.target % 3 == 0], 1).long()  # even, large, of three
    membership = torch.stack([properties[digits.target == digit][0] for digit in range(10)]).double()
    made.append(Data("digits' properties", "multilabel", digits.scores @ membership, properties, {"num_labels": 3}))
    return made


DATA = sets()


CASES = [(metric, data) for metric in TABLE for data in DATA if data.task in metric.tasks]


@pytest.mark.parametrize(("metric", "data"), CASES, ids=str)
def test_equals_scikit_learn(metric, data):
    cls, function, *_ = ours(metric, data.task)
    pairs = oracles.decisions(data.task, *data.raw).pairs(data.task)
    assert all((true != pred).any() for true, pred in pairs), "predictions without a mistake would compare nothing"
    for average in metric.averages or (None,):
        extra = {"average": average} if average and data.task != "binary" else {}
        expected = metric.oracle(data.task, pairs, data.size, **extra, **metric.always)
        arguments = {**data.arguments, **metric.always, **extra}
        counted = metric.integer is not None and extra.get("average") in (*metric.integer, None)
        for found in (
            computed(cls(**arguments), zip(data.preds.split(100), data.target.split(100), strict=True)),
            function(data.preds, data.target, **arguments),
        ):
            assert not differences(found, expected, counted, double=data.preds.dtype == torch.float64), average


@pytest.mark.parametrize("k", [2, 3, 5])
def test_top_k_of_digits(k):
    got = predicted("digits")
    expected = sk.top_k_accuracy_score(got.target, got.scores, k=k)
    metric = ec.MulticlassAccuracy(10, top_k=k, average="micro")
    assert computed(metric, zip(got.scores.split(64), got.target.split(64), strict=True)) == pytest.approx(expected)


def test_a_report():
    """What ``classification_report`` prints, by a collection over batches."""
    got = predicted("digits")
    collection = epochal.MetricCollection(
        {
            "precision": ec.MulticlassPrecision(10, average="none"),
            "recall": ec.MulticlassRecall(10, average="none"),
            "f1-score": ec.MulticlassF1Score(10, average="none"),
            "support": ec.MulticlassStatScores(10, average="none"),
        }
    )
    for batch in zip(got.labels.split(128), got.target.split(128), strict=True):
        collection.update(*batch)
    report = sk.classification_report(got.target, got.labels, output_dict=True)
    found = collection.compute()
    for digit in range(10):
        for name, value in report[str(digit)].items():
            ours_is = found[name][digit, 4] if name == "support" else found[name][digit]
            assert ours_is == pytest.approx(value), (digit, name)
