"""A metric shows what it was built with, as users of torchmetrics read it: ``metric.num_classes``, ``metric.threshold``."""

from __future__ import annotations

import importlib
import pickle

import pytest
import torch

from epochal.classification import Accuracy, BinaryF1Score, MulticlassAccuracy, MultilabelROC
from tests.laws.test_signatures import CLASSES, CONTRACT, OURS, parsed

INIT = {name: (room, parsed(facts["init"])) for room, found in CONTRACT["metrics"].items() for name, facts in found.items()}
GIVEN = {"num_classes": 3, "num_labels": 3, "beta": 2.0, "data_range": 1.0, "p": 2}
NOT_KEPT = {"normalization": "logits= says the same", "validate_args": "only of those that have values to check"}


def theirs_of(name: str) -> type | None:
    return getattr(importlib.import_module(f"torchmetrics.{INIT[name][0]}"), name, None)


def comparable() -> list[str]:
    """Metrics that both libraries build from numbers."""
    found = []
    for name in CLASSES:
        _, arguments = INIT[name]
        needed = {p.name for p in arguments if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
        if needed <= set(GIVEN) and theirs_of(name):
            found.append(name)
    return found


@pytest.mark.filterwarnings("ignore")  # torchmetrics'
@pytest.mark.parametrize("name", comparable())
def test_arguments_are_attributes_where_they_are_in_torchmetrics(name):
    _, arguments = INIT[name]
    given = {p.name: GIVEN[p.name] for p in arguments if p.name in GIVEN}
    ours, theirs = OURS[name](**given), theirs_of(name)(**given)
    kept = [p.name for p in arguments if p.name not in NOT_KEPT and hasattr(theirs, p.name)]
    assert [key for key in kept if not hasattr(ours, key)] == []
    assert {key: getattr(ours, key) for key in given if key in kept} == {key: given[key] for key in given if key in kept}


def test_arguments_of_a_task_are_told():
    metric = MulticlassAccuracy(3, top_k=2, ignore_index=-1)
    assert (metric.num_classes, metric.top_k, metric.ignore_index) == (3, 2, -1)
    assert pickle.loads(pickle.dumps(metric)).clone().num_classes == 3
    assert BinaryF1Score(threshold=0.7).threshold == Accuracy(threshold=0.7).threshold == 0.7
    assert MultilabelROC(4).num_labels == 4
    assert not hasattr(BinaryF1Score(), "num_classes")
    assert not hasattr(MultilabelROC(4), "threshold")


def test_arguments_of_a_task_stay_what_they_were():
    metric = BinaryF1Score()
    with pytest.raises(ValueError, match=r"threshold was set to 0\.3.* counts with 0\.5.*Build another"):
        metric.threshold = 0.3
    assert metric.threshold == 0.5


def test_a_subclass_has_attributes_of_its_own():
    class Mine(MulticlassAccuracy):
        def __init__(self, num_classes: int) -> None:
            super().__init__(num_classes)
            self.num_classes, self.threshold = num_classes, 0.25

    metric = Mine(3)
    assert (metric.num_classes, metric.threshold) == (3, 0.25)
    assert metric(torch.tensor([0, 1]), torch.tensor([0, 1])) == 1


def test_what_is_not_built_yet_has_no_arguments():
    bare = MulticlassAccuracy.__new__(MulticlassAccuracy)
    assert not hasattr(bare, "num_classes")
    assert not hasattr(MulticlassAccuracy(3), "num_labels")
