"""What goes wrong between processes is one clear error on every rank that is there, and no state is touched by it."""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as torch_dist

from epochal import dist
from epochal.collection import MetricCollection
from epochal.metric import Metric, synced
from tests import toys
from tests.dist.pool import RankError

# --- ranks that hold different metrics -------------------------------------------------------------------------------------


class Config(toys.Mean):
    """Two configurations with the same fields."""

    def __init__(self, threshold, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold

    def measured_by(self):
        return self.threshold, len


def differing(rank, size, kind):
    one = int(rank == 1)
    metrics = {
        "class": lambda: [[toys.Mean, toys.Extremes][one]()],
        "shape": lambda: [toys.Histogram(size=100 + one)],
        "configuration": lambda: [Config(0.5 + one)],
        "order": lambda: [toys.Mean(), toys.Extremes()][:: 1 - 2 * one],
        "number": lambda: [toys.Mean(), toys.Extremes()][: 1 + one],
        "one of many": lambda: [toys.Histogram(size=9 + (i == 70 and one)) for i in range(100)],
        "most of many": lambda: [[toys.Mean, toys.Extremes][one]() for _ in range(100)],
    }[kind]()
    for metric in metrics:
        metric.update(torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="different metrics") as caught, synced(metrics):
        pass
    whole = toys.Mean()  # the group goes on
    whole.update(torch.tensor([float(rank)]))
    return str(caught.value), [(metric.update_count, metric._held) for metric in metrics], float(whole.compute())


SHAPES = "Histogram(counts: sum torch.int64 ({0},), peak: max torch.float32 ({0},), measured by {0})"


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("class", ["metric 1 of 1: Mean on ranks 0, 2, Extremes on rank 1"]),
        ("shape", [f"metric 1 of 1: {SHAPES.format(100)} on ranks 0, 2, {SHAPES.format(101)} on rank 1"]),
        (
            "configuration",
            [
                "metric 1 of 1: Config(measured by (0.5, <built-in function len>)) on ranks 0, 2, "
                "Config(measured by (1.5, <built-in function len>)) on rank 1"
            ],
        ),
        (
            "order",
            ["metric 1 of 2: Mean on ranks 0, 2, Extremes on rank 1", "metric 2 of 2: Extremes on ranks 0, 2, Mean on rank 1"],
        ),
        (
            "number",
            [
                "the number of metrics: holds 1 on ranks 0, 2, holds 2 on rank 1",
                "metric 2 of 2: none on ranks 0, 2, Extremes on rank 1",
            ],
        ),
        ("one of many", [f"metric 71 of 100: {SHAPES.format(9)} on ranks 0, 2, {SHAPES.format(10)} on rank 1"]),
        ("most of many", [*(f"metric {i} of 100: Mean on ranks 0, 2, Extremes on rank 1" for i in range(1, 6)), "and 95 more"]),
    ],
)
def test_different_metrics_are_an_error_on_every_rank_that_names_the_difference(pools, kind, lines):
    for text, kept, value in pools[3].run(differing, kind):
        first, *middle, last = text.split("\n")
        assert first.endswith("all ranks must synchronise the same ones in the same order.")
        assert [line.strip() for line in middle] == lines
        assert last == "Build the same metrics on every rank, and call compute on all of them."
        assert set(kept) == {(1, False)}
        assert value == 1.0


# --- states that do not merge, or cannot be sent ----------------------------------------------------------------------------


class Free(Metric):
    """A field of any kind; the update puts what it is given."""

    def __init__(self, default, reduction="sum", **kwargs):
        super().__init__(**kwargs)
        self.add_state("field", default, dist_reduce_fx=reduction)

    def update(self, x):
        self.field = x

    def compute(self):
        return self.field


def refuses(stacked):
    raise ArithmeticError("not these")


def unmergeable(rank, size, kind):
    small, large = torch.zeros(2), torch.zeros(1 << 15)
    one = int(rank == 1)
    metric, x = {
        "shape": lambda: (Free(small), torch.zeros(2 + one)),
        "a shape that would broadcast": lambda: (Free(small, "max"), torch.zeros(1 + one)),
        "shape of a large field": lambda: (Free(large), torch.zeros((1 << 15) + one)),
        "shape, stacked": lambda: (Free(small, None), torch.zeros(2 + one)),
        "dtype of a large field": lambda: (Free(large), large.to([torch.int32, torch.uint32][one])),
        "meta": lambda: (Free(small), torch.zeros(2, device=["cpu", "meta"][one])),
        "meta, a large field": lambda: (Free(large), torch.zeros(1 << 15, device=["cpu", "meta"][one])),
        "sparse": lambda: (Free(small), torch.eye(2).to_sparse() if one else torch.eye(2)),
        "object": lambda: (Free([], None), [lambda: None] if one else []),
        "reduction": lambda: (Free(small, refuses), small),
        "complex maximum": lambda: (Free(large, "max"), large.cfloat()),
    }[kind]()
    metric.update(x)
    own = metric.field
    with pytest.raises((RuntimeError, ArithmeticError)) as caught:
        metric.compute()
    whole = toys.Mean()
    whole.update(torch.tensor([float(rank)]))
    return str(caught.value), type(caught.value).__name__, metric.field is own and not metric._held, float(whole.compute())


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("shape", r"Free: state 'field' has shape \(2,\) on ranks 0, 2, has shape \(3,\) on rank 1, but sum .* needs one shape"),
        ("a shape that would broadcast", r"shape \(1,\) on ranks 0, 2, has shape \(2,\) on rank 1, but max"),
        ("shape of a large field", r"shape \(32768,\) on ranks 0, 2, has shape \(32769,\) on rank 1"),
        ("shape, stacked", r"shape \(2,\) on ranks 0, 2, has shape \(3,\) on rank 1, but stacking"),
        ("dtype of a large field", r"is torch.int32 on ranks 0, 2, is torch.uint32 on rank 1, but sum over ranks needs one dtype"),
        ("meta", r"rank 1 failed: Free: its state is on 'meta', but one with values is needed. Call metric.to_empty"),
        ("meta, a large field", r"rank 1 failed: Free: its state is on 'meta'"),
        ("sparse", "rank 1 failed: Free: a state is a tensor of torch.sparse_coo, but dense ones are needed"),
        ("object", r"rank 1 failed: Free: a state holds what pickle refuses"),
        ("reduction", r"^not these$"),
        ("complex maximum", r"is torch.complex64 on ranks 0, 1, 2, but max over ranks needs real numbers"),
    ],
)
def test_states_that_do_not_merge_are_an_error_on_every_rank(pools, kind, pattern):
    for text, cls, intact, value in pools[3].run(unmergeable, kind):
        assert re.search(pattern, text), text
        assert cls == ("ArithmeticError" if kind == "reduction" else "RuntimeError")
        assert intact
        assert value == 1.0


def grows(rank, size):
    """A scalar that becomes a vector with the first batch, on a rank without any."""
    metric = Free(torch.tensor(0.0))
    if rank:
        metric.update(torch.tensor([1.0, 2.0]))
    return metric.compute()


def test_a_rank_without_data_may_hold_the_identity_in_another_shape(pools):
    assert all(torch.equal(value, torch.tensor([2.0, 4.0])) for value in pools[3].run(grows))


# --- ranks that do not come --------------------------------------------------------------------------------------------------


def absent(rank, size):
    """The ranks of a group of their own, of which the last one misses a collective and comes too late for the next."""
    group = torch_dist.new_group(timeout=timedelta(seconds=1))
    members = {"mean": toys.Mean, "median": toys.Median, "welford": toys.Welford, "extremes": toys.Extremes}
    metric = MetricCollection({name: cls(process_group=group) for name, cls in members.items()})
    metric.update(torch.arange(rank + 1.0))
    torch_dist.barrier()  # the new group is connected, so that its timeout is that of the exchange
    before = {name: member.snapshot() for name, member in metric.items()}
    errors = []
    for call in range(2):
        if rank == size - 1 and call == 0:
            torch_dist.barrier()
            continue
        with pytest.raises(RuntimeError) as caught:
            metric.compute()
        errors.append((str(caught.value), isinstance(caught.value.__cause__, RuntimeError)))
        if call == 0:
            torch_dist.barrier()
    same = all(
        all(a is b or list(a) == list(b) for a, b in zip(before[name].state.values(), member.metric_state.values(), strict=True))
        and not member._held
        for name, member in metric.items()
    )
    with dist.alone():
        local = float(metric["mean"].compute())
    whole = toys.Mean()
    whole.update(torch.tensor([float(rank)]))
    return errors, same, local, float(whole.compute())


def test_a_rank_that_never_comes_is_an_error_after_the_timeout(pair):
    for rank, (errors, same, local, value) in enumerate(pair.run(absent)):
        assert len(errors) == 2 - rank
        for text, chained in errors:
            assert re.match(
                "Extremes, Mean, Median and 1 more: the states of all processes were waited for, and one did not come in time or "
                "was lost, but all 2 have to call compute .* together. The local state is as it was, but the process group is "
                "unusable from now on",
                text,
            ), text
            assert chained
        assert same
        assert local == rank / 2
        assert value == 0.5


def dies(rank, size, metric_of):
    metric = metric_of()
    metric.update(torch.arange(30_000.0))
    before = metric.snapshot()
    if rank == size - 1:
        reduce, gather = torch_dist.all_reduce, torch_dist.all_gather
        calls = []

        def gone(function):
            def called(*args, **kwargs):
                calls.append(function)
                if len(calls) == 2:  # in the middle: the first gather has happened
                    os._exit(3)
                return function(*args, **kwargs)

            return called

        torch_dist.all_reduce, torch_dist.all_gather = gone(reduce), gone(gather)
    with pytest.raises(RuntimeError, match=f"^{type(metric).__name__}: .* was lost, .* the process group is unusable"):
        metric.compute()
    assert metric.snapshot().state.keys() == before.state.keys()
    assert metric.update_count == 1
    assert not metric._held
    with dist.alone():
        metric.compute()


@pytest.mark.parametrize("metric_of", [toys.Median, toys.Histogram], ids=["second gather", "reduction"])
def test_a_rank_that_dies_in_the_middle(pair, metric_of):
    with pytest.raises(RankError, match="code 3") as caught:
        pair.run(dies, metric_of)
    assert caught.value.errors[0] is None


# --- nobody to merge with ----------------------------------------------------------------------------------------------------


def yes():
    return True


def test_without_an_initialised_group():
    metric = toys.Mean(distributed_available_fn=yes)
    metric.update(torch.ones(2))
    with pytest.raises(RuntimeError, match=r"^Mean: .*distributed_available_fn.*Call torch.distributed.init_process_group first"):
        metric.compute()
    assert not metric._held
    assert metric.update_count == 1


def outside(rank, size):
    metric = toys.Mean(process_group=torch_dist.new_group([0]))
    metric.update(torch.tensor([float(rank)]))
    if rank == 0:
        return float(metric.compute())
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="Mean: rank 1 is not in its process_group, but only members can merge"):
        metric.compute()
    return time.monotonic() - start < 20


def test_a_rank_outside_of_the_group(pair):
    assert pair.run(outside) == [0.0, True]


# --- the user's code ---------------------------------------------------------------------------------------------------------


class Moody(toys.Mean):
    """Its formula fails while it is told to."""

    fails = False

    def value(self, total, count):
        if self.fails:
            raise ArithmeticError("not today")
        return super().value(total, count)


class MoodyClassic(toys.MyAccuracy):
    fails = False

    def compute(self):
        self.total += 1
        if self.fails:
            raise ArithmeticError("not today")
        return self.correct / (self.total - 1)


def moody(rank, size, ranks, together):
    """The formula fails on some ranks, in the first of two computes; a collection of both, or each alone."""
    first, second = Moody(), MoodyClassic()
    first.update(torch.tensor([float(rank), 1.0]))
    second.update(torch.tensor([rank]), torch.tensor([0]))
    before = [metric.snapshot().state for metric in (first, second)]
    out = []
    for metric in [MetricCollection([first, second])] if together else [first, second]:
        first.fails = second.fails = rank in ranks
        if rank in ranks:
            with pytest.raises(ArithmeticError):
                metric.compute()
        else:
            metric.compute()
        first.fails = second.fails = False
        value = metric.compute()
        out.extend(value.values() if together else [value])
    after = [metric.snapshot().state for metric in (first, second)]
    return [float(value) for value in out], all(
        torch.equal(a[name], b[name]) for a, b in zip(before, after, strict=True) for name in a
    )


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a collection"])
@pytest.mark.parametrize("ranks", [(0, 1), (1,)], ids=["all ranks", "one rank"])
def test_after_a_formula_that_fails_the_next_compute_is_right(pair, ranks, together):
    assert pair.run(moody, ranks, together) == [([0.75, 0.5], True)] * 2
