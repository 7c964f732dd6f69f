"""compute over processes: the value of one process that saw everything, in a constant number of collectives, or one clear error."""

from __future__ import annotations

import contextlib
import types
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as torch_dist

from epochal import dist
from epochal.aggregation import MeanMetric
from epochal.collection import MetricCollection
from epochal.metric import Metric, leaves, synced
from epochal.packing import pack
from epochal.training.rank_zero import rank_zero_only
from tests import toys

# --- the value -----------------------------------------------------------------------------------------------------------


def shares(batches, size, how):
    """The batches of each rank."""
    if how == "even":
        return [batches[rank::size] for rank in range(size)]
    if how == "one rank has all":
        return [batches if rank == size - 1 else [] for rank in range(size)]
    return [batches[: 1 if rank == 0 else 0] or (batches[1:] if rank == 1 else []) for rank in range(size)]


def value_of_share(rank, size, cls, batches, how):
    metric = cls()
    for batch in shares(batches, size, how)[rank]:
        metric.update(*batch)
    before, count = metric.snapshot(), metric.update_count
    values = [metric.compute(), metric.compute()]
    after = metric.snapshot()
    same = before.state.keys() == after.state.keys() and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else len(a) == len(b) and all(map(torch.equal, a, b))
        for a, b in zip(before.state.values(), after.state.values(), strict=True)
    )
    return values, same and count == metric.update_count


@pytest.mark.parametrize("how", ["even", "uneven", "one rank has all"])
@pytest.mark.parametrize("cls", toys.TOYS, ids=lambda cls: cls.__name__)
def test_equals_one_process(pool, cls, how):
    batches, oracle = toys.TOYS[cls]
    for values, state_is_unaltered in pool.run(value_of_share, cls, batches, how):
        for value in values:
            toys.equal(value, oracle(*toys.joined(batches)))
        assert state_is_unaltered


def test_mean_is_weighted_by_updates(pair):
    batches = toys.floats(3, 3, 3)
    expected = np.mean([batch.double().mean() for (batch,) in batches])
    for values, _ in pair.run(value_of_share, toys.MeanOfBatches, batches, "uneven"):
        toys.equal(values[0], expected)


class Stacked(Metric):
    """None: the fields of all ranks, stacked in their order."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("field", torch.zeros(2), dist_reduce_fx=None)

    def merge(self, a, b):
        return {"field": a["field"] + b["field"]}

    def merge_ranks(self, states):
        return {"field": torch.stack([state["field"] for state in states])}

    def measure(self, x):
        return {"field": x}

    def value(self, field):
        return field


def stack(rank, size):
    metric = Stacked()
    metric.update(torch.tensor([1.0, 2.0]) * (rank + 1))
    return metric.compute()


def test_ranks_stack_in_order(pool):
    expected = torch.tensor([[1.0, 2.0]]) * torch.arange(1, pool.size + 1)[:, None]
    assert all(torch.equal(value, expected) for value in pool.run(stack))


class ClassicNone(Metric):
    """The classic way with no reduction: compute finds the ranks' fields stacked."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("best", torch.tensor(0.0), dist_reduce_fx=None)

    def update(self, x):
        self.best = torch.maximum(self.best, x.max())

    def compute(self):
        return self.best.max(), torch.tensor(self.best.ndim)


def classic_none(rank, size):
    metric = ClassicNone()
    metric.update(torch.tensor([1.0, 5.0 - rank]))
    return metric.compute()


def test_classic_without_reduction(pair):
    assert pair.run(classic_none) == [(torch.tensor(5.0), torch.tensor(1))] * 2


# --- float64, and large fields -----------------------------------------------------------------------------------------


def precision(rank, size, cls):
    metric = cls()
    if rank == 1:
        metric.update(torch.rand(4, dtype=torch.float64))
    return metric.compute(), metric.update_count


@pytest.mark.parametrize("cls", [toys.Mean, toys.Histogram], ids=lambda cls: cls.__name__)
def test_float64_of_one_rank_is_float64_on_all(pair, cls):
    for value, count in pair.run(precision, cls):
        tensor = value["share"] if isinstance(value, dict) else value
        assert tensor.dtype == torch.float64
        assert count < 2


def many_large(rank, size):
    """Sums, maxima and minima that are reduced, beside small fields that are gathered."""
    metrics = [toys.Histogram(), toys.Histogram(size=30_000), toys.Extremes()]
    (x,) = toys.floats(40 + rank, seed=rank)[0]
    for metric in metrics:
        metric.update(x)
    with synced(metrics):
        return [metric.compute() for metric in metrics]


def test_large_fields_are_reduced(pool):
    data = [toys.floats(40 + rank, seed=rank)[0] for rank in range(pool.size)]
    (x,) = toys.joined(data)
    for small, large, extremes in pool.run(many_large):
        for result in (small, large):
            toys.equal(result, toys.TOYS[toys.Histogram][1](x))
        toys.equal(extremes, {"low": x.min(), "high": x.max()})


# --- cost ----------------------------------------------------------------------------------------------------------------


COLLECTIVES = [
    name for name in dir(torch_dist)
    if any(word in name for word in ("gather", "reduce", "broadcast", "barrier", "scatter", "all_to_all", "send", "recv"))
    and type(vars(torch_dist).get(name)) is types.FunctionType
]  # fmt: skip
KINDS = {
    "small": [toys.Mean, toys.Welford, toys.MyAccuracy, toys.MyPearson, toys.Extremes],
    "lists": [toys.Median, toys.Kept],
    "large": [toys.Histogram],
    "all": [toys.Mean, toys.Welford, toys.Median, toys.MyAccuracy, toys.Histogram, toys.Product],
}


def collectives(rank, size, kind, number):
    """Which collectives a synchronisation of so many metrics makes; the second rank has no data."""
    kinds = KINDS[kind]
    metrics = [kinds[index % len(kinds)]() for index in range(number)]
    for metric in metrics:
        if rank != 1:
            metric.update(*toys.TOYS[type(metric)][0][0])
    with contextlib.ExitStack() as stack:
        counted = {
            name: stack.enter_context(mock.patch.object(torch_dist, name, wraps=getattr(torch_dist, name))) for name in COLLECTIVES
        }
        with synced(metrics):
            pass
    return {name: call.call_count for name, call in counted.items() if call.call_count}


@pytest.mark.parametrize(
    ("kind", "reductions"),
    [("small", {}), ("lists", {}), ("large", {"all_reduce": 2}), ("all", {"all_reduce": 2})],  # sums of int64, maxima of float32
)
def test_collectives_are_constant(pair, kind, reductions):
    """As many for one metric of each class as for a hundred."""
    for number in (len(KINDS[kind]), 10, 100):
        for counted in pair.run(collectives, kind, number):
            assert counted == {"all_gather": 1, **reductions}


def a_large_payload(rank, size):
    metric = toys.Median()
    if rank == 0:
        metric.update(torch.arange(100_001.0))
    with mock.patch.object(torch_dist, "all_gather", wraps=torch_dist.all_gather) as gather:
        value = metric.compute()
    return gather.call_count, float(value["median"]), int(value["seen"])


def test_what_is_too_large_to_travel_with_the_sizes_takes_a_second_gather(pair):
    assert pair.run(a_large_payload) == [(2, 50_000.0, 100_001)] * 2


def test_one_object_twice_is_exchanged_once(pair):
    assert all(pair.run(shared_bytes))


def sent(metrics):
    packed = pack([(metric, metric.snapshot()) for metric in metrics], [], torch.device("cpu"))
    return len(packed.contents) + sum(chunk.numel() for chunk in packed.chunks)


def shared_bytes(rank, size):
    metrics = [toys.Median(), toys.Median()]
    metrics[0].update(torch.randn(10_000))
    metrics[1].restore(metrics[0].snapshot())
    single = sent(metrics[:1])
    both = sent(metrics)
    return both < single * 1.1


# --- nobody waits --------------------------------------------------------------------------------------------------------


def waits_for_nobody(rank, size, cls):
    """Only rank 0 calls compute: with anything but a local read, it would wait for the others."""
    batch = toys.TOYS[cls][0][rank]
    if rank:
        return None
    out = []
    for options, context in (({"sync_on_compute": False}, None), ({}, dist.alone()), ({"distributed_available_fn": never}, None)):
        metric = cls(**options)
        metric.update(*batch)
        if context is None:
            out.append(metric.compute())
        else:
            with context:
                out.append(metric.compute())
    metric = cls()
    out.append(metric(*batch))
    out.append(metric.of(*batch))
    out.append(metric.batch_value())
    return out


def never():
    return False


@pytest.mark.parametrize("cls", [toys.Mean, toys.MyAccuracy, toys.MyFastAccuracy, toys.MyPearson], ids=lambda cls: cls.__name__)
def test_nobody_waits(pair, cls):
    batches, oracle = toys.TOYS[cls]
    values, _ = pair.run(waits_for_nobody, cls)
    assert len(values) == 6
    for value in values:
        toys.equal(value, oracle(*toys.joined(batches[:1])))


@rank_zero_only
def on_rank_zero(metric, batch):
    """All that would wait for the others, if they were to take part."""
    collection = MetricCollection({"one": toys.Mean(dist_sync_on_step=True), "two": toys.Extremes()})
    values = [metric.compute(), metric(*batch), collection(*batch)["one"], collection.compute()["one"], (metric + 1).compute() - 1]
    metric.sync()
    with metric.sync_context():
        return [float(value) for value in (*values, metric.compute())]


def for_one_rank(rank, size):
    metric, batch = toys.Mean(dist_sync_on_step=True), (torch.tensor([float(rank), 1.0]),)
    metric.update(*batch)
    return on_rank_zero(metric, batch), float(metric.compute())


def test_code_for_rank_zero_computes_locally(pair):
    (values, first), (nothing, second) = pair.run(for_one_rank)
    assert values == [0.5] * 6
    assert nothing is None
    assert first == second == pytest.approx(2 / 3)  # together again: four values of rank 0, two of rank 1


def alone_then_together(rank, size):
    metric = toys.Mean()
    metric.update(torch.full((1,), float(rank)))
    with dist.alone():
        local = float(metric.compute())
    return local, float(metric.compute())


def test_a_local_value_is_not_kept_for_all(pair):
    assert pair.run(alone_then_together) == [(0.0, 0.5), (1.0, 0.5)]


# --- groups and gathers ----------------------------------------------------------------------------------------------------


def in_groups(rank, size):
    even = torch_dist.new_group([0, 2])
    odd = torch_dist.new_group([1, 3])
    metric = toys.Mean(process_group=even if rank % 2 == 0 else odd)
    whole = toys.Mean()
    for one in (metric, whole):
        one.update(torch.full((rank + 1,), float(rank)))
    with synced([metric, whole]):
        together = float(metric.compute()), float(whole.compute())
    copied = metric.clone().process_group is metric.process_group
    return float(metric.compute()), float(whole.compute()), together, copied


def test_process_groups(pools):
    everybody = (1 * 0 + 2 * 1 + 3 * 2 + 4 * 3) / 10
    for rank, (value, whole, together, copied) in enumerate(pools[4].run(in_groups)):
        expected = (3 * 2) / 4 if rank % 2 == 0 else (2 * 1 + 4 * 3) / 6
        assert value == pytest.approx(expected)
        assert whole == pytest.approx(everybody)
        assert together == pytest.approx((expected, everybody))
        assert copied


def gather(tensor, group=None):
    """A gather as users write it; counts its calls."""
    gather.calls += 1
    out = [torch.zeros_like(tensor) for _ in range(torch_dist.get_world_size(group))]
    torch_dist.all_gather(out, tensor, group=group)
    return out


gather.calls = 0


def with_gather(rank, size, cls, batches):
    gather.calls = 0
    metric = cls(dist_sync_fn=gather)
    metric.update(*batches[rank])
    value, calls = metric.compute(), gather.calls
    other = cls()
    other.update(*batches[rank])
    other.sync(dist_sync_fn=gather)
    by_hand = other.compute()
    other.unsync()
    return value, by_hand, calls


@pytest.mark.parametrize("cls", [toys.Mean, toys.Welford, toys.Median, toys.MyAccuracy, toys.MyPearson], ids=lambda c: c.__name__)
def test_dist_sync_fn(pair, cls):
    batches = (toys.pairs if cls is toys.MyAccuracy else toys.float_pairs if cls is toys.MyPearson else toys.floats)(6, 6)
    for value, by_hand, calls in pair.run(with_gather, cls, batches):
        toys.equal(value, toys.TOYS[cls][1](*toys.joined(batches)))
        toys.equal(by_hand, toys.TOYS[cls][1](*toys.joined(batches)))
        assert calls > 0


class Nested(Metric):
    """A metric with metrics inside: each leaf merges, then the formula reads them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = toys.Mean()
        self.other = toys.Extremes()

    def update(self, x):
        self.inner.update(x)
        self.other.update(2 * x)

    def compute(self):
        return self.inner.compute() + self.other.compute()["high"]


def nested(rank, size):
    metric = Nested()
    metric.update(torch.tensor([float(rank), 1.0]))
    assert len(leaves(metric)) == 3
    local = metric.batch_value()
    return float(metric.compute()), float(local), float(metric(torch.tensor([7.0])))


def test_metrics_inside_metrics(pair):
    assert pair.run(nested) == [(0.75 + 2, 0.5 + 2, 21.0), (0.75 + 2, 1.0 + 2, 21.0)]


def news_on_one_rank(rank, size):
    metric = MeanMetric()
    metric.update(float(rank))
    metric.compute()
    if rank == 0:  # between two computes, one rank has new data and the others have none
        metric.update(100.0)
    return float(metric.compute())


def test_a_second_compute_with_new_data_on_one_rank(pool):
    expected = (sum(range(pool.size)) + 100.0) / (pool.size + 1)
    assert pool.run(news_on_one_rank) == pytest.approx([expected] * pool.size)
