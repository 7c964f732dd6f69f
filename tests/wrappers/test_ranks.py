"""Wrappers over processes: what merging means where order matters, in one exchange for all the metrics inside."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.distributed as torch_dist

import epochal
from epochal import wrappers as ew
from epochal.testing import difference
from tests.laws.examples import EXAMPLES


def halved(x):
    return x / 2


def nest():
    """Ten metrics in wrappers in wrappers."""
    errors = epochal.MetricCollection([epochal.MeanSquaredError(), ew.MinMaxMetric(epochal.MeanSquaredError())])
    outputs = ew.MultioutputWrapper(ew.Running(epochal.MeanSquaredError()), 2)
    return ew.MultitaskWrapper({"a": errors, "b": ew.LambdaInputTransformer(outputs, halved)})


def counted(rank, size):
    metric, x = nest(), torch.arange(6.0).reshape(3, 2) * (rank + 1)
    if rank < 2:
        metric.update({"a": x, "b": x}, {"a": x + 1, "b": x + 2})
    with mock.patch.object(torch_dist, "all_gather", wraps=torch_dist.all_gather) as gather:
        value = metric.compute()
    return gather.call_count, value["a"]["raw"].item(), value["b"].tolist(), metric.update_count


def test_one_exchange_for_all_that_is_inside(pools):
    for rank, (gathers, raw, outputs, updates) in enumerate(pools[3].run(counted)):
        assert (gathers, raw, updates) == (1, 1.0, int(rank < 2))
        scale = torch.arange(6.0).reshape(3, 2)
        expected = torch.cat([(scale / 2 * k - scale * k - 2) ** 2 for k in (1, 2)]).mean(0)
        torch.testing.assert_close(torch.tensor(outputs), expected)


def windows(rank, size):
    """Rank 0 has taken more updates, rank 2 none."""
    pairs = [
        (ew.Running(epochal.MeanMetric(), 2), epochal.RunningMean(2)),
        (ew.Running(epochal.SumMetric(), 3), epochal.RunningSum(3)),
    ]
    out = []
    for ours, expected in pairs:
        for step in range([4, 1, 0][rank]):
            for metric in (ours, expected):
                metric.update(torch.tensor([1.0, 2.0]) * 10**step + rank)
        out.append((ours.compute(), expected.compute(), ours.compute()))
    return out


def test_a_window_over_processes_is_that_of_their_latest_steps(pools):
    for rank in pools[3].run(windows):
        for ours, expected, again in rank:
            assert difference(ours, expected) is None
            assert difference(ours, again) is None


def extremes(rank, size):
    metric = ew.MinMaxMetric(epochal.MeanMetric())
    for x in [(0.0, 10.0), (7.0, 9.0), ()][rank]:
        metric.update(x)
    return {key: value.item() for key, value in metric.compute().items()}


def test_extremes_over_processes_are_those_of_each(pools):
    assert pools[3].run(extremes) == [{"raw": 6.5, "max": 8.0, "min": 0.0}] * 3


def steps(rank, size):
    tracker = ew.MetricTracker(epochal.MetricCollection([epochal.MeanMetric(), epochal.MeanSquaredError()]), maximize=False)
    for step in range(3):
        tracker.increment()
        for index in range(rank, 4, size):  # the batches of each step, shared out
            tracker.update(torch.tensor([1.0 + step, 2.0 * index]), torch.tensor([1.0, index + 1.0]))
    return tracker.compute_all(), tracker.best_metric(return_step=True), tracker.compute()


def test_steps_over_processes_merge_step_by_step(pools):
    (alone,) = (steps(0, 1),)
    for rank in pools[2].run(steps):
        assert difference(rank, alone) is None


def uneven_steps(rank, size):
    tracker = ew.MetricTracker(epochal.SumMetric(), maximize=True)
    for _ in range(1 + rank):
        tracker.increment()
        tracker.update(1.0)
    with pytest.raises(RuntimeError, match="the ranks hold different metrics"):
        tracker.compute_all()
    return True


def test_ranks_with_other_steps_are_an_error(pools):
    assert all(pools[2].run(uneven_steps))


def local(rank, size):
    metric = ew.MinMaxMetric(epochal.MeanMetric(), sync_on_compute=False)
    metric.update(float(rank))
    before = metric.compute()["raw"].item()
    with metric.sync_context():
        merged = metric.compute()["raw"].item()
    return before, merged, metric.compute()["raw"].item()


def test_options_and_sync_context(pools):
    assert pools[2].run(local) == [(0.0, 0.5, 0.0), (1.0, 0.5, 1.0)]


@pytest.mark.parametrize("name", ["MinMaxMetric", "MetricTracker", "Running"])
def test_an_empty_process_changes_nothing(name):
    """The law of the identity, which the laws skip for what depends on order."""
    for example in EXAMPLES[name]:
        case = example.case()
        expected, alone = case.fed(case.batches).compute(), case.fed(case.batches)
        alone.merge_state(case.make())
        assert difference(alone.compute(), expected) is None
        empty = case.make()
        empty.merge_state(alone)
        assert difference(empty.compute(), expected) is None
        assert empty.update_count == len(case.batches)
