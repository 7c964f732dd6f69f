"""sync, unsync, sync_context and the options of a metric that decide who merges, when and how: alone and in a collection."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import pytest
import torch
import torch.distributed as torch_dist

from epochal import dist
from epochal.aggregation import CatMetric, MaxMetric, MeanMetric
from epochal.collection import MetricCollection
from epochal.metric import Metric
from tests import toys

# --- the names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sync", "unsync", "sync_context"])
def test_arguments_are_those_of_torchmetrics(verb):
    import torchmetrics  # here: the processes do not need it

    def arguments(cls):
        return [(p.name, p.default) for p in inspect.signature(getattr(cls, verb)).parameters.values()]

    assert arguments(Metric) == arguments(torchmetrics.Metric)


# --- in one process, with a gather of the user's own ---------------------------------------------------------------------------


def yes():
    return True


def twice(tensor, *, group):
    """Two ranks that hold the same; by keyword, as users write it."""
    return [tensor, tensor + 0]


class Lists(Metric):
    """Lists with and without a reduction; the classic way."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("kept", [], dist_reduce_fx=None)
        self.add_state("joined", [], dist_reduce_fx=torch.cat)

    def update(self, x):
        self.rows.append(x)
        self.kept.append(x)
        self.joined.append(x)

    def compute(self):
        return len(self.kept), torch.as_tensor([*self.rows][0] if self.rows else torch.zeros(0))


def test_a_gather_of_the_users_own():
    metric = Lists()
    metric.update(torch.tensor([1.0, 2.0]))
    metric.update(torch.tensor([3.0]))
    with metric.sync_context(dist_sync_fn=twice, distributed_available=yes):
        assert torch.cat(metric.rows).tolist() == [1, 2, 3, 1, 2, 3]
        assert sorted(x.tolist() for x in metric.kept) == [[1, 2], [1, 2], [3], [3]]
        assert sorted(metric.joined.tolist()) == [1, 1, 2, 2, 3, 3]
        assert metric.update_count == 4
    assert len(metric.kept) == 2
    with metric.sync_context(dist_sync_fn=twice, distributed_available=yes):
        assert len(metric.kept) == 4
    empty = Lists(dist_sync_fn=twice, distributed_available_fn=yes)
    with empty.sync_context():
        assert [*empty.rows, *empty.kept, *empty.joined] == []


def one_has_rows(tensor, group=None):
    """The second rank has integers, this one nothing yet."""
    return [tensor, torch.tensor([[5, 6]]) if tensor.ndim == 1 and not tensor.numel() else tensor]


def test_a_rank_without_rows_does_not_change_their_dtype():
    metric = Lists(dist_sync_fn=one_has_rows, distributed_available_fn=yes)
    with metric.sync_context():
        assert torch.equal(torch.cat(metric.rows), torch.tensor([[5, 6]]))


def test_options_of_the_metric_hold_for_sync_too():
    metric = toys.Mean(dist_sync_fn=twice, distributed_available_fn=yes)
    metric.update(torch.ones(3))
    metric.sync()
    assert metric.count == 6
    metric.unsync()
    assert metric.count == 3


def merged():
    metric = toys.Mean(dist_sync_fn=twice, distributed_available_fn=yes)
    metric.update(torch.tensor([1.0, 2.0, 6.0]))
    metric.sync()
    return metric


def test_sync_twice_and_unsync_without_sync_are_errors():
    metric = merged()
    with pytest.raises(RuntimeError, match=r"^Mean: sync was called, but the state is merged already\. Call unsync\(\) first\.$"):
        metric.sync()
    assert metric.count == 6
    metric.unsync()
    with pytest.raises(RuntimeError, match=r"^Mean: unsync was called, but the state is the local one\. Call sync\(\) first\.$"):
        metric.unsync()
    metric.unsync(should_unsync=False)
    assert metric.count == 3


@pytest.mark.parametrize("verb", ["update", "forward", "merge_state"])
@pytest.mark.parametrize("cls", [toys.Mean, toys.MyAccuracy], ids=lambda cls: cls.__name__)
def test_data_for_a_merged_state_are_refused_not_lost(cls, verb):
    batch = toys.TOYS[cls][0][0]
    metric = cls(dist_sync_fn=twice, distributed_available_fn=yes)
    metric.update(*batch)
    value = metric.compute()
    metric.sync()
    with pytest.raises(RuntimeError, match=rf"^{cls.__name__}: an update came, but the state is merged .*unsync"):
        getattr(metric, verb)(*([metric.clone()] if verb == "merge_state" else batch))
    toys.equal(metric.compute(), value)
    assert metric.update_count == 2
    metric.unsync()
    metric.update(*batch)
    assert metric.update_count == 2
    toys.equal(metric.of(*batch), cls().of(*batch))


def test_reset_of_a_merged_state_is_a_reset():
    metric = merged()
    metric.reset()
    assert metric.count == 0
    with pytest.raises(RuntimeError, match="unsync was called"):
        metric.unsync()
    metric.update(torch.ones(2))
    assert metric.count == 2


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "clone"])
def test_a_copy_of_a_merged_metric_has_both_states(way):
    metric = merged()
    twin = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "deepcopy": copy.deepcopy, "clone": Metric.clone}[way](metric)
    assert twin.count == 6
    twin.unsync()
    assert twin.count == 3
    assert metric.count == 6
    metric.unsync()
    assert metric.count == 3


def test_a_checkpoint_of_a_merged_metric_holds_all_data():
    metric = toys.Mean(dist_sync_fn=twice, distributed_available_fn=yes)
    metric.persistent(True)
    metric.update(torch.tensor([1.0, 2.0]))
    file = io.BytesIO()
    with metric.sync_context():
        torch.save(metric.state_dict(), file)
    file.seek(0)
    other = toys.Mean()
    other.persistent(True)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert (int(other.count), other.update_count) == (4, 2)
    assert metric.count == 2


# --- over processes -------------------------------------------------------------------------------------------------------------


def by_hand(rank, size):
    metric = toys.Mean()
    metric.update(torch.full((rank + 1,), float(rank)))
    local = metric.count.clone()
    out = {}
    metric.sync()
    out["synced"] = int(metric.count), metric.compute()
    metric.unsync()
    out["local"] = torch.equal(metric.count, local)
    with metric.sync_context():
        out["inside"] = int(metric.count)
    out["after"] = torch.equal(metric.count, local)
    with pytest.raises(ZeroDivisionError), metric.sync_context():
        raise ZeroDivisionError
    out["after an exception"] = torch.equal(metric.count, local)
    with metric.sync_context():
        metric.unsync()
        out["back early"] = torch.equal(metric.count, local)
    metric.sync(should_sync=False)
    out["not asked to"] = torch.equal(metric.count, local)
    with metric.sync_context(distributed_available=lambda: False):
        out["not available"] = torch.equal(metric.count, local)
    with dist.alone():
        metric.sync()
        out["on one rank alone"] = torch.equal(metric.count, local)
    with metric.sync_context(should_unsync=False):
        pass
    out["kept"] = int(metric.count)
    metric.unsync()
    metric.update(torch.ones(1))
    out["updated"] = int(metric.count) - rank
    return out


def test_sync_by_hand(pool):
    n = pool.size
    total, count = sum((r + 1) * r for r in range(n)), n * (n + 1) // 2
    for out in pool.run(by_hand):
        summed, value = out.pop("synced")
        assert summed == out.pop("inside") == out.pop("kept") == count
        assert value == torch.tensor(total / count)
        assert out.pop("updated") == 2
        assert all(out.values()), out


class Pair(Metric):
    """A metric with metrics inside, one of which merges over a group of its own."""

    def __init__(self, group, **kwargs):
        super().__init__(**kwargs)
        self.all, self.some = toys.Mean(), toys.Mean(process_group=group)

    def update(self, x):
        self.all.update(x)
        self.some.update(x)

    def compute(self):
        return self.all.compute(), self.some.compute()


def inside(rank, size):
    halves = [torch_dist.new_group([0, 1]), torch_dist.new_group([2, 3])]
    metric = Pair(halves[rank // 2])
    metric.update(torch.tensor([float(rank)]))
    values = [metric.compute()]
    metric.sync()
    values.append(metric.compute())
    with pytest.raises(RuntimeError, match="merged already"):
        metric.all.sync()
    with pytest.raises(RuntimeError, match="an update came"):
        metric.update(torch.tensor([1.0]))
    metric.unsync()
    metric.all.sync()
    with pytest.raises(RuntimeError, match="merged already"):
        metric.sync()
    metric.all.unsync()
    metric.sync(process_group=halves[rank // 2])
    values.append(metric.compute())
    metric.unsync()
    formula = metric.all + metric.some
    both = float(formula.compute())
    with formula.sync_context():
        return [tuple(map(float, pair)) for pair in values], both, float(formula.compute())


def test_metrics_inside_and_their_groups(pools):
    for rank, (values, both, synced) in enumerate(pools[4].run(inside)):
        half = 0.5 if rank < 2 else 2.5
        assert values == [(1.5, half), (1.5, half), (half, half)]
        assert both == synced == 1.5 + half


def on_step(rank, size, cls, options):
    metric, alone = cls(dist_sync_on_step=True, **options), cls()
    collection = MetricCollection({"first": cls(dist_sync_on_step=True, **options), "local": cls(), "third": MaxMetric()})
    steps = []
    for step in range(2):
        batch = torch.tensor([rank, step, 1]), torch.tensor([1, 1, 1])
        batch = batch if issubclass(cls, toys.MyAccuracy) else (batch[0].float(),)
        values = [metric(*batch), alone(*batch)]
        if cls is toys.Mean:
            together = collection(*batch)
            assert together["third"] == max(rank, 1)
            assert [together["first"], together["local"]] == values
        steps.append([float(value) for value in values])
    return steps, float(metric.compute()), float(alone.compute()), metric.update_count


@pytest.mark.parametrize("options", [{}, {"sync_on_compute": False}], ids=["", "only on steps"])
@pytest.mark.parametrize("cls", [toys.Mean, toys.MyAccuracy, toys.MyFastAccuracy], ids=lambda cls: cls.__name__)
def test_dist_sync_on_step(pair, cls, options):
    answers = pair.run(on_step, cls, options)
    data = torch.tensor([[[rank, step, 1] for step in range(2)] for rank in range(2)], dtype=torch.float64)
    score = data if cls is toys.Mean else (data == 1).double()
    for rank, (steps, merged, alone, count) in enumerate(answers):
        for step, (over_all, local) in enumerate(steps):
            assert over_all == pytest.approx(float(score[:, step].mean()))
            assert local == pytest.approx(float(score[rank, step].mean()))
        assert merged == pytest.approx(float((score[rank] if options else score).mean()))
        assert alone == pytest.approx(float(score.mean()))
        assert count == 2


class Refusing(toys.Mean):
    """Its formula fails on a step where it is told to."""

    fails = False

    def value(self, total, count):
        if self.fails:
            raise ArithmeticError("not today")
        return super().value(total, count)


def failing_step(rank, size):
    metric = Refusing(dist_sync_on_step=True)
    metric(torch.tensor([1.0]))
    metric.fails = rank == 1
    try:
        metric(torch.tensor([5.0]))
    except ArithmeticError:
        assert rank == 1
    metric.fails = False
    return int(metric.count), float(metric(torch.tensor([float(rank)]))), float(5 * metric.compute())


def test_a_step_that_fails_on_one_rank_adds_nothing_there(pair):
    assert pair.run(failing_step) == [(2, 0.5, 8.0), (1, 0.5, 8.0)]


def in_a_collection(rank, size):
    """Members that merge over all, over a group, by a gather, on the CPU, and not at all."""
    group = torch_dist.new_group([0, 1])
    other = torch_dist.new_group([2])
    calls = []

    def gather(tensor, group=None):
        calls.append(group)
        out = [torch.zeros_like(tensor) for _ in range(torch_dist.get_world_size(group))]
        torch_dist.all_gather(out, tensor, group=group)
        return out

    metrics = MetricCollection(
        {
            "all": MeanMetric(),
            "explicitly all": MeanMetric(process_group=torch_dist.group.WORLD),
            "some": MeanMetric(process_group=group if rank < 2 else other),
            "gathered": MeanMetric(dist_sync_fn=gather),
            "rows": CatMetric(compute_on_cpu=True),
            "local": MeanMetric(sync_on_compute=False),
            "told alone": MeanMetric(distributed_available_fn=lambda: False),
        }
    )
    metrics.update(torch.full((rank + 1,), float(rank)))
    values = {name: value.tolist() for name, value in metrics.compute().items()}
    assert calls == [None] * len(calls) != []
    with dist.alone():
        local = {name: value.tolist() for name, value in metrics.compute().items()}
    return values, local, {name: metric.update_count for name, metric in metrics.items()}


def test_options_in_a_collection(pools):
    everything = [0.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    for rank, (values, local, counts) in enumerate(pools[3].run(in_a_collection)):
        rows = values.pop("rows")
        assert rows == everything
        mean = sum(everything) / 6
        for name in ("all", "explicitly all", "gathered"):
            assert values.pop(name) == pytest.approx(mean)
        assert values == pytest.approx({"some": 2 / 3 if rank < 2 else 2.0, "local": rank, "told alone": rank})
        assert local.pop("rows") == [float(rank)] * (rank + 1)
        assert set(local.values()) == {float(rank)}
        assert set(counts.values()) == {1}
