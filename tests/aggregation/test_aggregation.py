"""The aggregations against math and numpy, and their NaN against torchmetrics."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal import check
from epochal.aggregation import CatMetric, MaxMetric, MeanMetric, MinMetric, RunningMean, RunningSum, SumMetric

SCALARS = {"SumMetric": math.fsum, "MeanMetric": lambda x: math.fsum(x) / len(x), "MaxMetric": max, "MinMetric": min}
CLASSES = {cls.__name__: cls for cls in (SumMetric, MeanMetric, MaxMetric, MinMetric, CatMetric, RunningMean, RunningSum)}
finite = st.floats(-1e6, 1e6, width=32)
lists = st.lists(st.lists(finite, max_size=4), min_size=1, max_size=6)
nan = math.nan


def fed(metric, batches):
    for batch in batches:
        metric.update(batch)
    return metric


@pytest.mark.parametrize("name", SCALARS)
@given(batches=lists.filter(lambda b: any(b)))
@settings(deadline=None, max_examples=30)
def test_any_split_gives_the_value_of_all(name, batches):
    metric = fed(CLASSES[name](), [torch.tensor(batch, dtype=torch.float32) for batch in batches]).set_dtype(torch.float64)
    flat = [x for batch in batches for x in batch]
    assert float(metric.compute()) == pytest.approx(SCALARS[name](flat), rel=1e-12, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        3,
        2.5,
        True,
        [1, 2, 3],
        [1.5, -2.0],
        torch.tensor([[1.0, 2.0], [3.0, 5.0]]),
        torch.tensor([1, 2, 7]),
        torch.tensor([True, False]),
        torch.tensor([100, 200], dtype=torch.uint8),
        torch.tensor([60000.0, 60000.0], dtype=torch.float16),
        torch.tensor([1.0, 2.0], dtype=torch.float64),
        torch.tensor([math.inf, 1.0]),
        np.array([1.0, 2.0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SCALARS)
def test_what_it_takes(name, value):
    metric = CLASSES[name]()
    numbers = np.asarray(value, dtype=np.float64).ravel().tolist()
    dtype = torch.float64 if isinstance(value, torch.Tensor) and value.dtype == torch.float64 else torch.float32
    expected = torch.tensor(SCALARS[name](numbers), dtype=dtype)
    torch.testing.assert_close(metric(value), expected)
    torch.testing.assert_close(metric.compute(), expected)
    torch.testing.assert_close(metric.of(value), expected)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("value", ["x", None, object(), torch.tensor([1 + 2j]), ["a"]], ids=lambda value: type(value).__name__)
def test_what_it_does_not_take(name, value):
    metric = CLASSES[name]()
    with pytest.raises(TypeError, match=rf"{name}: value .*(needed)"):
        metric.update(value)
    assert metric.update_count == 0


@pytest.mark.parametrize(
    ("name", "expected"), [("SumMetric", 0.0), ("MeanMetric", nan), ("MaxMetric", -math.inf), ("MinMetric", math.inf)]
)
def test_nothing_at_all(name, expected):
    metric = CLASSES[name]()
    with pytest.warns(UserWarning, match="compute was called before update"):
        torch.testing.assert_close(metric.compute(), torch.tensor(expected), equal_nan=True)
    torch.testing.assert_close(metric(torch.tensor([])), torch.tensor(expected), equal_nan=True)
    torch.testing.assert_close(metric.compute(), torch.tensor(expected), equal_nan=True)


def test_no_number_is_lost_beside_a_large_one():
    total, mean = SumMetric(), MeanMetric()
    for metric in (total, mean):
        metric.set_dtype(torch.float64)
        metric.update(torch.tensor([2.0**24]))
        metric.update(torch.ones(1))
    assert int(total.compute()) == 2**24 + 1
    assert float(mean.compute()) == (2**24 + 1) / 2
    total.update(torch.tensor([2**52]))
    assert int(total.compute()) == 2**52 + 2**24 + 1
    greatest = MaxMetric().set_dtype("float64")
    greatest.update(torch.tensor([2**53 - 1]))
    assert int(greatest.compute()) == 2**53 - 1
    small = torch.full((100_000,), 0.1)
    assert float(fed(SumMetric(), [small] * 20).compute()) == pytest.approx(20 * float(small[0]) * 100_000, rel=1e-7)


# --- weights -------------------------------------------------------------------------------------------------------------------


@given(rows=st.lists(st.lists(st.tuples(finite, st.floats(0.125, 100, width=32)), max_size=4), min_size=1, max_size=5).filter(any))
@settings(deadline=None, max_examples=50)
def test_a_weighted_mean(rows):
    metric = MeanMetric().set_dtype(torch.float64)
    for row in rows:
        values, weights = torch.tensor(row, dtype=torch.float32).reshape(-1, 2).unbind(1)
        metric.update(values, weights)
    flat = np.array([pair for row in rows for pair in row])
    assert float(metric.compute()) == pytest.approx(np.average(flat[:, 0], weights=flat[:, 1]), rel=1e-9, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), w)
        for w in (2, 0.5, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1], [3]]))
    ]
    + [(2.0, 3.0), (torch.tensor(2.0), torch.tensor(5)), ([1.0, 2.0], [1, 3])],
    ids=str,
)
def test_weights_broadcast_to_the_values(value, weight):
    v = np.asarray(value, dtype=np.float64)
    expected = np.average(v, weights=np.broadcast_to(np.asarray(weight, dtype=np.float64), v.shape))
    metric = MeanMetric()
    assert float(metric(value, weight)) == pytest.approx(expected)
    assert float(metric(value=value, weight=weight)) == pytest.approx(expected)
    assert float(metric.compute()) == pytest.approx(expected)


@pytest.mark.parametrize("value", [2.0, torch.ones(2, 3)])
def test_weights_that_do_not_fit(value):
    metric = MeanMetric()
    with pytest.raises(ValueError, match=r"MeanMetric: weight has shape \(2,\), but one that broadcasts to value's .* is needed"):
        metric.update(value, torch.ones(2))
    assert metric.update_count == 0
    with pytest.raises(TypeError, match="MeanMetric: weight is a str"):
        metric.update(value, "heavy")


def test_weights_that_sum_to_zero():
    assert math.isnan(MeanMetric()(torch.tensor([0.0, 1.0]), 0.0))
    assert float(MeanMetric()(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 1.0]))) == math.inf


# --- NaN -----------------------------------------------------------------------------------------------------------------------

BATCHES = [torch.tensor([1.0, nan, 3.0]), nan, torch.tensor([nan, nan]), torch.tensor([4.0]), torch.tensor([[nan, -7.0]])]


@pytest.mark.parametrize("strategy", ["warn", "ignore", "disable", 5.0, -2.5])
@pytest.mark.parametrize("name", [*SCALARS, "RunningMean", "RunningSum"])
@pytest.mark.filterwarnings("ignore")
def test_nan_as_torchmetrics_has_it(name, strategy):
    ours = CLASSES[name](nan_strategy=strategy)
    theirs = getattr(torchmetrics, name, None) or getattr(torchmetrics.aggregation, name)
    theirs = theirs(nan_strategy=strategy)
    for batch in BATCHES:
        torch.testing.assert_close(ours(batch), theirs(batch), equal_nan=True)
        torch.testing.assert_close(ours.compute(), theirs.compute(), equal_nan=True)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("strategy", ["ignore", 5.0, "disable"])
@pytest.mark.parametrize("name", SCALARS)
def test_nan_looked_at_or_not(name, strategy, deferred):
    """The way of accelerators, which looks at no value, gives the same."""
    values = np.concatenate([np.ravel(batch) for batch in BATCHES])
    if strategy == "ignore":
        values = values[~np.isnan(values)]
    elif strategy != "disable":
        values = np.where(np.isnan(values), strategy, values)
    metric = CLASSES[name](nan_strategy=strategy)
    if deferred:
        with check.deferred():
            fed(metric, BATCHES)
    else:
        fed(metric, BATCHES)
    expected = nan if strategy == "disable" else SCALARS[name](values.tolist())
    torch.testing.assert_close(metric.compute(), torch.tensor(expected), equal_nan=True, check_dtype=False)


@pytest.mark.parametrize("name", CLASSES)
def test_nan_is_refused(name):
    metric = CLASSES[name](nan_strategy="error")
    metric.update(torch.tensor([1.0, 2.0]))
    before = metric.compute()
    with pytest.raises(ValueError, match=rf"{name}: 2 of the values are NaN, but numbers are needed\. Look for"):
        metric.update(torch.tensor([nan, 1.0, nan]))
    assert metric.update_count == 1
    torch.testing.assert_close(metric.compute(), before)
    with check.deferred():
        metric.update(torch.tensor([nan]))
    with pytest.raises(ValueError, match="1 of the values are NaN"):
        metric.compute()


@pytest.mark.parametrize("name", CLASSES)
def test_nan_is_told_of_once(name):
    metric = CLASSES[name]()
    with pytest.warns(
        UserWarning, match=rf"{name}: 1 of the values are NaN, but NaN has no place in the result: they are left out"
    ):
        metric.update(torch.tensor([nan, 1.0]))
    assert float(metric.compute()) == 1
    assert metric.batch_value() is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with check.deferred():
            metric.update(torch.tensor([nan, nan]))
    with pytest.warns(UserWarning, match="2 of the values are NaN"):
        metric.compute()


def test_nan_in_weights():
    values, weights = torch.tensor([1.0, 2.0, nan, 4.0]), torch.tensor([nan, 1.0, 5.0, 3.0])
    for deferred in (False, True):
        for strategy, expected in (("ignore", 14 / 4), ("disable", nan), (10.0, (1 + 2 + 50 + 12) / 10)):
            metric = MeanMetric(nan_strategy=strategy)
            if deferred:
                with check.deferred():
                    metric.update(values, weights)
            else:
                metric.update(values, weights)
            assert float(metric.compute()) == pytest.approx(expected, nan_ok=True)
    with pytest.warns(UserWarning, match="2 of the values are NaN"):
        MeanMetric().update(values, weights)


def test_infinities_that_cancel_are_no_nan_of_the_data():
    metric = SumMetric(nan_strategy="error")
    assert math.isnan(metric(torch.tensor([math.inf, -math.inf])))


@pytest.mark.parametrize(
    ("strategy", "error"),
    [("foo", ValueError), (None, TypeError), (True, TypeError), (nan, ValueError), (torch.tensor(1.0), TypeError)],
)
@pytest.mark.parametrize("name", CLASSES)
def test_strategies_that_are_none(name, strategy, error):
    with pytest.raises(error, match=f"{name}: nan_strategy is .*needed"):
        CLASSES[name](nan_strategy=strategy)


# --- all values --------------------------------------------------------------------------------------------------------------


def test_all_values_in_their_order():
    metric = fed(CatMetric(), [torch.tensor([1.0, 2.0]), 3.0, [4, 5], torch.tensor([], dtype=torch.float32), torch.tensor(6)])
    torch.testing.assert_close(metric.compute(), torch.arange(1.0, 7.0))
    torch.testing.assert_close(metric(torch.tensor([9.0])), torch.tensor([9.0]))
    rows = fed(CatMetric(nan_strategy="ignore"), [torch.tensor([[1.0, 2.0], [nan, 4.0]]), torch.tensor([[5.0, 6.0]])])
    torch.testing.assert_close(rows.compute(), torch.tensor([[1.0, 2.0], [5.0, 6.0]]))
    assert fed(CatMetric(), [torch.tensor([0.5, 1.5], dtype=torch.float64)]).compute().dtype == torch.float64


def test_no_values():
    metric = CatMetric(nan_strategy="ignore")
    with pytest.warns(UserWarning, match="before update"):
        assert metric.compute().shape == (0,)
    assert metric(nan).shape == (0,)
    torch.testing.assert_close(fed(CatMetric(nan_strategy=2.0), [nan]).compute(), torch.tensor([2.0]))
    assert fed(CatMetric(nan_strategy="disable"), [nan]).compute().isnan().all()


# --- the latest ----------------------------------------------------------------------------------------------------------------


@given(
    window=st.integers(1, 4),
    batches=st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=3), min_size=1, max_size=9),
)
@settings(deadline=None, max_examples=60)
def test_the_latest_batches(window, batches):
    mean, total = RunningMean(window), RunningSum(window)
    for index, batch in enumerate(batches):
        x = torch.tensor(batch, dtype=torch.float32)
        assert float(mean(x)) == pytest.approx(np.mean(batch), rel=1e-5, abs=1e-4)
        assert float(total(x)) == pytest.approx(np.sum(batch), rel=1e-5, abs=1e-4)
        latest = [v for b in batches[max(0, index + 1 - window) : index + 1] for v in b]
        assert float(mean.compute()) == pytest.approx(np.mean(latest), rel=1e-5, abs=1e-4)
        assert float(total.compute()) == pytest.approx(np.sum(latest), rel=1e-5, abs=1e-4)
    assert mean.update_count == len(batches)


def test_the_latest_weighted():
    ours, theirs = RunningMean(2), torchmetrics.aggregation.RunningMean(2)
    for value, weight in ((2.0, 3.0), (5.0, 1.0), (7.0, 4.0)):
        ours.update(value, weight=weight)
        theirs.update(value, weight=weight)
    assert float(ours.compute()) == pytest.approx((5 + 28) / 5) == pytest.approx(float(theirs.compute()))


def test_windows_merge_over_time():
    early, late = fed(RunningSum(3), [1.0, 2.0, 4.0]), fed(RunningSum(3), [8.0, 16.0])
    early.merge_state(late)
    assert float(early.compute()) == 4 + 8 + 16
    early.update(32.0)
    assert float(pickle.loads(pickle.dumps(early)).compute()) == 8 + 16 + 32


@pytest.mark.parametrize("cls", [RunningMean, RunningSum])
@pytest.mark.parametrize(("window", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("5", TypeError)])
def test_windows_that_are_none(cls, window, error):
    with pytest.raises(error, match=f"{cls.__name__}: window is .*needed"):
        cls(window=window)


# --- the life around it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SCALARS, "CatMetric", "RunningMean", "RunningSum"])
def test_the_gradient_of_a_batch(name):
    x = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    CLASSES[name]()(x).sum().backward()
    mean = torch.full((3,), 1 / 3)
    expected = {
        "MeanMetric": mean,
        "RunningMean": mean,
        "MaxMetric": torch.tensor([0.0, 1, 0]),
        "MinMetric": torch.tensor([1.0, 0, 0]),
    }
    torch.testing.assert_close(x.grad, expected.get(name, torch.ones(3)))


@pytest.mark.parametrize("strategy", ["warn", "error", "ignore", "disable", 1.0])
@pytest.mark.parametrize("name", SCALARS)
def test_compiled(name, strategy):
    torch.compiler.reset()  # one function for all cases of this test
    metric = CLASSES[name](nan_strategy=strategy)
    step = torch.compile(lambda x: metric(x), fullgraph=True, backend="eager")
    for value in (1.0, 5.0, 3.0):
        x = torch.tensor([value, 2.0])
        torch.testing.assert_close(step(x), torch.tensor(SCALARS[name](x.tolist())))
    torch.testing.assert_close(metric.compute(), torch.tensor(SCALARS[name]([1.0, 2.0, 5.0, 2.0, 3.0, 2.0])))


def test_loading():
    metric = MeanMetric()
    metric.persistent(True)
    metric.update(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    loaded = MeanMetric()
    loaded.persistent(True)
    loaded.load_state_dict(metric.state_dict())
    loaded.update(9.0)
    assert float(loaded.compute()) == pytest.approx((1 + 8 + 9) / 4)


def job(rank, size, name, batches):
    metric = CLASSES[name](**({"window": 3} if name.startswith("Running") else {}))
    return fed(metric, batches[rank]).compute()


PER_RANK = [[torch.tensor([1.0, 5.0]), 2.5, 0.5], [], [-3.0], [torch.tensor([7.0]), 4.0, 1.0, 2.0]]


@pytest.mark.parametrize("name", SCALARS)
def test_over_processes(pool, name):
    flat = [float(v) for rank in PER_RANK[: pool.size] for batch in rank for v in np.ravel(batch)]
    for value in pool.run(job, name, PER_RANK):
        assert float(value) == pytest.approx(SCALARS[name](flat), rel=1e-6)


def test_all_values_over_processes(pools):
    for value in pools[4].run(job, "CatMetric", PER_RANK):
        torch.testing.assert_close(value, torch.tensor([1.0, 5.0, 2.5, 0.5, -3.0, 7.0, 4.0, 1.0, 2.0]))


@pytest.mark.parametrize(("name", "read"), [("RunningSum", sum), ("RunningMean", lambda x: sum(x) / len(x))])
def test_windows_over_processes_are_aligned_at_the_newest(pools, name, read):
    latest = [1.0, 5.0, 2.5, 0.5, -3.0, 4.0, 1.0, 2.0]  # three of the first, none, one, three of the last
    for value in pools[4].run(job, name, PER_RANK):
        assert float(value) == pytest.approx(read(latest))
