"""The life of a metric, as far as the laws do not reach: caches, warnings, errors, options, values that remember their metric."""

from __future__ import annotations

import copy
import gc
import pickle
import re
from unittest import mock

import pytest
import torch
from torch import nn

from epochal import check
from epochal.metric import Metric, held, leaves, metric_of
from tests import toys

GRAMMAR = re.compile(r"^(?P<name>\w+): .+, but .+\.( [A-Z].+[.?])?$", re.DOTALL)


def grammatical(error: BaseException, name: str) -> str:
    match = GRAMMAR.match(str(error))
    assert match, str(error)
    assert match["name"] == name
    return str(error)


def fed(cls=toys.Mean, **kwargs):
    metric = cls(**kwargs)
    for batch in toys.TOYS[cls][0]:
        metric.update(*batch)
    return metric


# --- cache ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "readings"), [({}, 1), ({"compute_with_cache": False}, 3)])
def test_compute_reads_once_until_the_state_changes(options, readings):
    metric = fed(**options)
    with mock.patch.object(toys.Mean, "value", autospec=True, side_effect=toys.Mean.value) as value:
        for _ in range(3):
            metric.compute()
        assert value.call_count == readings
        metric.update(torch.ones(2))
        metric.compute()
        assert value.call_count == readings + 1


def test_an_assigned_state_is_read():
    metric = fed()
    before = metric.compute()
    metric.total = metric.total * 2
    assert metric.compute() == 2 * before
    metric.total.mul_(2)
    assert metric.compute() == 4 * before
    metric.count = torch.tensor(1)
    assert metric.compute() == metric.total.float()


def test_lists_changed_in_place_are_read():
    metric = toys.Kept()
    metric.update(torch.ones(2))
    assert metric.compute() == 2
    metric.items.append(torch.tensor(5.0))
    assert metric.compute() == 7
    metric.items[0].add_(1)
    assert metric.compute() == 8
    for number in range(20):  # a tensor may take the address of the one it replaces
        metric.items.pop()
        metric.items.append(torch.tensor(float(number)))
        assert metric.compute() == 3 + number


def test_rows_changed_in_place_are_read():
    metric = toys.MyPearson()
    x, y = torch.arange(4.0), torch.tensor([1.0, 0.0, 5.0, 2.0])
    metric.update(x, y)
    first = metric.compute()
    for sign in (-1, 1, -1, 1):
        for rows, data in ((metric.preds, x), (metric.target, sign * y)):
            rows.clear()
            rows.append(data)
        assert metric.compute() == sign * first
    metric.target = [-y]
    assert metric.compute() == -first


def test_restore_reads_the_old_state_again():
    metric = fed()
    before, snapshot = metric.compute(), metric.snapshot()
    metric.update(torch.full((50,), 1e3))
    assert metric.compute() != before
    metric.restore(snapshot)
    assert metric.compute() == before
    assert metric.update_count == len(toys.SIZES)


@pytest.mark.parametrize("cls", toys.TOYS, ids=lambda cls: cls.__name__)
def test_a_snapshot_does_not_follow(cls):
    metric = fed(cls)
    expected, snapshot = metric.compute(), metric.snapshot()
    for batch in toys.TOYS[cls][0]:
        metric.update(*batch)
    metric.restore(snapshot)
    assert str(metric.compute()) == str(expected)


# --- warnings and errors -----------------------------------------------------------------------------------------------------


def test_compute_before_update_warns():
    metric = toys.Mean()
    with pytest.warns(UserWarning, match="Mean: compute was called before update"):
        assert metric.compute().isnan()
    metric.update(torch.ones(1))
    assert metric.compute() == 1  # no warning: they are errors here


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: toys.Mean(compute_on_gpu=True), TypeError, ["compute_on_gpu", "Did you mean 'compute_on_cpu'?"]),
        (lambda: toys.Histogram(sise=3), TypeError, ["sise", "Did you mean 'size'?"]),
        (lambda: toys.Mean().add_state("a b", torch.tensor(0)), ValueError, ["'a b'", "identifier"]),
        (lambda: toys.Mean().add_state("a", [torch.ones(1)]), ValueError, ["'a'", "empty list"]),
        (lambda: toys.Mean().add_state("a", 1.0), ValueError, ["1.0", "tensor"]),
        (lambda: toys.Mean().add_state("a", torch.tensor(0), "avg"), ValueError, ["'avg'", "'mean'"]),
        (lambda: toys.Mean().update(), TypeError, ["update was called with ()", "(x: "]),
        (lambda: toys.Mean().update(torch.ones(1), torch.ones(1)), TypeError, ["(Tensor, Tensor)"]),
        (lambda: toys.Mean()(y=torch.ones(1)), TypeError, ["(y=Tensor)", "'x'"]),
        (lambda: toys.MyAccuracy().update(torch.ones(1)), TypeError, ["(Tensor)", "target"]),
        (lambda: toys.Mean().merge_state(toys.Extremes()), ValueError, ["Extremes", "Mean"]),
        (lambda: toys.Mean().merge_state(3), TypeError, ["merge_state got a int", "Mean"]),
        (lambda: toys.Mean(compute_on_cpu="no"), ValueError, ["compute_on_cpu is 'no'", "True"]),
        (lambda: toys.Mean(sync_on_compute=None), ValueError, ["sync_on_compute is None"]),
        (lambda: toys.Mean(dist_sync_fn=3), TypeError, ["dist_sync_fn is 3", "a function"]),
        (lambda: toys.Histogram(100).merge_state(toys.Histogram(200)), ValueError, ["100", "200"]),
        (lambda: toys.Mean().merge_state({"total": torch.tensor(0.0)}), ValueError, ["['total']", "['count', 'total']"]),
        (lambda: Metric().measure(), NotImplementedError, ["measure"]),
        (lambda: Metric().value(), NotImplementedError, ["value"]),
    ],
)
def test_errors_name_what_came_and_what_is_needed(call, error, words):
    with pytest.raises(error) as caught:
        call()
    text = grammatical(caught.value, str(caught.value).split(":")[0])
    assert all(word in text for word in words), text


def test_a_type_error_inside_of_measure_is_not_disguised():
    class Bug(toys.Mean):
        def measure(self, x):
            return len(3)

    with pytest.raises(TypeError, match="object of type 'int' has no len"):
        Bug().update(torch.ones(1))


# --- merge_state -----------------------------------------------------------------------------------------------------------


def test_merge_a_plain_state():
    metric = fed()
    total, count = metric.total.clone(), metric.count.clone()
    metric.merge_state({"total": torch.tensor(2.0), "count": torch.tensor(4)})
    assert (metric.total, metric.count) == (total + 2, count + 4)
    assert metric.update_count == len(toys.SIZES) + 1


def test_merged_precision_is_the_finer():
    metric, other = fed(), toys.Mean()
    other.update(torch.ones(2, dtype=torch.float64))
    metric.merge_state(other)
    assert metric.compute().dtype == torch.float64


def test_mean_weighs_by_updates():
    one, three = toys.MeanOfBatches(), toys.MeanOfBatches()
    one.update(torch.tensor([8.0]))
    for number in (1.0, 2.0, 3.0):
        three.update(torch.tensor([number]))
    one.merge_state(three)
    assert one.compute() == 14 / 4


# --- numbers ---------------------------------------------------------------------------------------------------------------


def test_sums_do_not_saturate():
    metric = toys.Mean()
    metric.merge_state({"total": torch.tensor(2.0**24), "count": torch.tensor(2**24)})
    metric.update(torch.ones(1))
    metric.update(torch.ones(1, dtype=torch.float16))
    assert metric.total == 2**24 + 2
    assert metric.count == 2**24 + 2
    metric.merge_state({"total": torch.tensor(2.0**31, dtype=torch.float64), "count": torch.tensor(2**31)})
    metric.update(torch.ones(1, dtype=torch.bfloat16))
    assert metric.total == metric.count == 2**31 + 2**24 + 3


@pytest.mark.parametrize("how", ["half", "torch.float64", torch.bfloat16, "float64"])
def test_set_dtype_changes_results_alone(how):
    dtype = getattr(torch, str(how).removeprefix("torch."))
    metric = fed()
    exact = metric.total / metric.count
    assert metric.set_dtype(how) is metric
    assert metric.dtype == dtype
    assert metric.compute().dtype == dtype
    assert metric.compute() == exact.to(dtype)
    assert metric(torch.ones(2)).dtype == dtype
    assert metric.total.dtype == torch.float64


def test_float64_input_is_forgotten_by_reset():
    metric = toys.Mean()
    metric.update(torch.ones(2, dtype=torch.float64))
    assert metric.compute().dtype == torch.float64
    metric.reset()
    metric.update(torch.ones(2))
    assert metric.compute().dtype == torch.float32


# --- modules -----------------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.metrics = nn.ModuleDict({"fit": toys.Mean(), "valid": toys.Median()})


def test_a_metric_in_a_module():
    net = Net()
    assert len(leaves(net)) == 2
    assert [name for name, _ in net.named_parameters()] == ["layer.weight", "layer.bias"]
    assert list(net.buffers()) == []
    assert list(net.state_dict()) == ["layer.weight", "layer.bias"]
    net.metrics["fit"].update(torch.ones(3))
    net.half()
    assert net.layer.weight.dtype == torch.float16
    assert net.metrics["fit"].total.dtype == torch.float64
    net.metrics["valid"].persistent(True)
    net.metrics["valid"].update(torch.ones(3))
    saved = net.state_dict()
    assert set(saved) == {"layer.weight", "layer.bias", "metrics.valid.x", "metrics.valid.seen"}
    other = Net()
    other.metrics["valid"].persistent(True)
    other.half().load_state_dict(saved)
    assert other.metrics["valid"].compute() == net.metrics["valid"].compute()
    with pytest.raises(RuntimeError, match=r"Missing key.*metrics\.valid\.x"):
        other.load_state_dict({name: value for name, value in saved.items() if "metrics" not in name})
    other.load_state_dict({name: value for name, value in saved.items() if "metrics" not in name}, strict=False)


def test_the_weight_of_a_mean_is_saved():
    metric = toys.MeanOfBatches()
    for number in (1.0, 2.0, 3.0):
        metric.update(torch.tensor([number]))
    metric.persistent(True)
    other = toys.MeanOfBatches()
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    assert other.update_count == 3
    other.update(torch.tensor([6.0]))
    assert other.compute() == 3


# --- values remember their metric -------------------------------------------------------------------------------------------------


def test_a_value_remembers_its_metric():
    metric = fed(toys.Extremes)
    value = metric.compute()
    assert metric_of(value["low"]) == (metric, ("low",))
    assert metric_of(metric(torch.ones(2))["high"]) == (metric, ("high",))
    simple = fed()
    assert metric_of(simple.compute())[0] is simple
    for plain in (simple.compute().item(), 100 * simple.compute(), simple.compute().detach(), simple.of(torch.ones(1)), 3, None):
        assert metric_of(plain) is None
    for copied in (simple.clone(), pickle.loads(pickle.dumps(simple)), copy.deepcopy(simple)):
        assert metric_of(copied.compute())[0] is copied
    value = simple.compute()
    del simple, copied
    gc.collect()
    assert metric_of(value) is None


def test_held_states_go_back():
    metric = fed()
    own = metric.compute()
    other = toys.Mean()
    other.update(torch.tensor([3.0]))
    with held({metric: other.snapshot()}):
        assert metric.compute() == 3
        assert metric.update_count == 1
    with pytest.raises(KeyError), held({metric: other.snapshot()}):
        raise KeyError
    assert metric.compute() == own
    assert metric.update_count == len(toys.SIZES)


def test_batch_value():
    metric = toys.Mean()
    assert metric.batch_value() is None
    metric.update(torch.tensor([1.0, 3.0]))
    assert metric.batch_value() == 2
    metric(torch.tensor([5.0]))
    assert metric.batch_value() == 5
    metric.reset()
    assert metric.batch_value() is None
    classic = toys.MyAccuracy()
    classic.update(torch.tensor([1, 0]), torch.tensor([1, 1]))
    assert classic.batch_value() == 0.5
    assert classic.update_count == 1


# --- checks at update or at compute -----------------------------------------------------------------------------------------------


class Positive(Metric):
    """Counts bad values, as our own metrics do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("bad", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def measure(self, x):
        return {"bad": (x < 0).sum(), "total": x.double().sum()}

    def value(self, bad, total):
        return total

    def verify(self, state):
        if state["bad"] > 0:
            check.fail(self, f"{int(state['bad'])} values are negative", "positive ones are needed")


@pytest.mark.parametrize("verb", ["update", "forward", "of", "merge_state"])
def test_a_bad_value_is_found_before_it_counts(verb):
    metric = Positive()
    metric.update(torch.ones(2))
    with check.deferred():
        other = Positive()
        other.update(-torch.ones(1))
    with pytest.raises(ValueError, match="Positive: 1 values are negative, but"):
        getattr(metric, verb)(other if verb == "merge_state" else -torch.ones(1))
    assert metric.compute() == 2
    assert metric.update_count == 1


def test_a_bad_value_is_found_at_compute_at_the_latest():
    metric = Positive()
    with check.deferred():
        metric.update(torch.ones(2))
        metric.update(-torch.ones(2))
    with pytest.raises(ValueError, match="2 values are negative"):
        metric.compute()
    metric.reset()
    metric.update(torch.ones(2))
    assert metric.compute() == 2
