"""The classic way: a class that overrides update and compute and changes its states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from epochal.classic import cleaned
from epochal.metric import Metric
from tests import toys

PREDS, TARGET = torch.tensor([1, 0, 2, 2]), torch.tensor([1, 1, 2, 0])


class Counting(toys.MyAccuracy):
    updates = 0

    def update(self, preds, target):
        type(self).updates += 1
        super().update(preds, target)


@pytest.mark.parametrize(("full", "updates"), [(None, 2), (True, 2), (False, 1)])
def test_forward_updates_twice_unless_told_otherwise(full, updates):
    class Told(Counting):
        full_state_update = full

    metric = Told()
    for step in range(3):
        assert metric(PREDS[: step + 1], TARGET[: step + 1]) == (PREDS[: step + 1] == TARGET[: step + 1]).float().mean()
    assert Told.updates == 3 * updates
    assert metric.update_count == 3
    assert metric.total == 6
    assert metric.compute() == 4 / 6


class Change(Metric):
    """An update that reads what is there: the value of a batch must not, the accumulated one must."""

    full_state_update = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("last", torch.tensor(0.0), dist_reduce_fx=None)
        self.add_state("steps", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x):
        self.steps = self.steps + (x - self.last).abs()
        self.last = x

    def compute(self):
        return self.steps


def test_an_update_that_reads_the_state():
    metric = Change()
    assert [float(metric(torch.tensor(x))) for x in (1.0, 5.0, 2.0)] == [1.0, 5.0, 2.0]
    assert metric.compute() == 1 + 4 + 3


@pytest.mark.parametrize("cls", [toys.MyAccuracy, toys.MyFastAccuracy])
def test_in_place_changes_do_not_reach_the_default(cls):
    metric = cls()
    metric.update(PREDS, TARGET)
    metric.reset()
    assert metric.total == 0
    assert cls().correct == 0
    twin = metric.clone()
    metric.update(PREDS, TARGET)
    assert twin.total == 0


class Half(toys.MyAccuracy):
    """Fails when one state is changed and the other is not."""

    def update(self, preds, target):
        self.correct += torch.sum(preds == target)
        self.note = "changed"
        if preds.sum() > 100:
            raise ArithmeticError("too much")
        self.total += target.numel()


class HalfList(toys.MyPearson):
    def update(self, preds, target):
        self.preds.append(preds)
        self.target.append(target[: len(preds)])
        if len(preds) != len(target):
            raise ArithmeticError("too much")


def test_a_failed_update_leaves_states_and_attributes():
    metric = Half()
    metric.update(PREDS, TARGET)
    expected = metric.compute()
    with pytest.raises(ArithmeticError):
        metric.update(100 + PREDS, 100 + PREDS)
    assert metric.correct == 2
    assert metric.compute() == expected
    assert metric.update_count == 1
    rows = HalfList()
    rows.update(*toys.float_pairs(5)[0])
    expected, preds = rows.compute(), rows.preds
    for call in (rows.update, rows):
        with pytest.raises(ArithmeticError):
            call(torch.ones(2), torch.ones(3))
        assert len(torch.cat(rows.preds)) == len(torch.cat(rows.target)) == 5
        assert rows.compute() == expected
    assert rows.preds is preds  # whoever holds the list sees the same


class Interrupted(toys.MyAccuracy):
    def update(self, preds, target):
        self.correct += 1
        raise KeyboardInterrupt


def test_an_interrupted_update_leaves_the_state():
    metric = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        metric.update(PREDS, TARGET)
    assert metric.correct == 0


def test_compute_may_spoil_its_states():
    class Spoils(toys.MyAccuracy):
        def compute(self):
            self.correct = self.correct / self.total
            self.total.mul_(0)
            return self.correct

    class Dissolves(toys.MyPearson):
        def compute(self):
            value = super().compute()
            self.preds = torch.cat(self.preds)
            self.target.clear()
            return value

    metric = Spoils()
    metric.update(PREDS, TARGET)
    assert metric.compute() == 0.5
    assert (metric.correct, metric.total) == (2, 4)
    rows = Dissolves(compute_with_cache=False)
    rows.update(*toys.float_pairs(5)[0])
    assert rows.compute() == rows.compute()
    assert len(torch.cat(rows.preds)) == len(torch.cat(rows.target)) == 5


@pytest.mark.parametrize("cls", [toys.MyAccuracy, toys.MyFastAccuracy])
def test_inference_mode(cls):
    metric = cls()
    with torch.inference_mode():
        first = metric(PREDS, TARGET)
        metric.update(PREDS, TARGET)
        metric.reset()
        metric.update(PREDS, TARGET)
    metric.update(PREDS, TARGET)
    assert metric.compute() == first == 0.5
    assert metric.total == 8
    metric.reset()
    metric.update(PREDS, TARGET)
    assert metric.total == 4


def test_no_graph_is_kept():
    metric = toys.MyPearson()
    x = torch.randn(5, requires_grad=True)
    metric.update(x, torch.randn(5))
    assert not any(part.requires_grad for part in metric.preds)
    value = metric(x, torch.arange(5.0))
    assert not metric.compute().requires_grad
    assert value.shape == ()


class Inner(Metric):
    """Metrics and a network inside of a classic metric."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.net = nn.Linear(1, 1)
        self.mean = toys.Mean()
        self.add_state("rows", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, x):
        self.rows += len(x)
        self.mean.update(x)
        if len(x) == 3:
            raise ArithmeticError("three")

    def compute(self):
        return self.mean.compute() * self.rows


def test_metrics_inside():
    metric = Inner()
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([6.0])
    assert metric(x) == 1.5 * 2
    assert metric(y) == 6
    assert metric.compute() == 9
    assert metric.update_called
    assert metric.net is cleaned(metric).net  # a network is not copied for a batch
    with pytest.raises(ArithmeticError):
        metric.update(torch.ones(3))
    assert metric.compute() == 9
    metric.reset()
    metric(y)
    assert metric.compute() == 6


def test_super_update_counts_once():
    metric = Counting()
    metric.update(PREDS, TARGET)
    assert metric.update_count == 1


class Overridden(toys.Mean):
    """A metric of ours whose user adds to its update."""

    def update(self, x, scale):
        super().update(x * scale)


def test_an_update_around_a_measure():
    metric = Overridden()
    assert metric(torch.tensor([1.0, 2.0]), 2.0) == 3
    metric.update(torch.tensor([4.0]), 3.0)
    assert metric.update_count == 2
    assert metric.compute() == 6
    assert metric.batch_value() == 12
