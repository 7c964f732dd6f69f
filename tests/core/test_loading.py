"""state_dict and load_state_dict: what a file holds, and what is wrong with one says so and changes nothing."""

from __future__ import annotations

import io
from collections import OrderedDict

import pytest
import torch
import torchmetrics
from torch import nn

import epochal
from epochal.metric import Metric
from tests import toys
from tests.core.test_metric import fed, grammatical


class Vector(Metric):
    """One of each kind of field."""

    def __init__(self, size=3, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(size), dist_reduce_fx="sum", persistent=True)
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum", persistent=True)
        self.add_state("rows", [], dist_reduce_fx="cat", persistent=True)

    def measure(self, x):
        return {"total": x.double().sum(0), "count": x.shape[0], "rows": x}

    def value(self, total, count, rows):
        return torch.cat([total / count, rows.sum()[None]])


def vector(batches=2, size=3, **kwargs):
    metric = Vector(size, **kwargs)
    for index in range(batches):
        metric.update(torch.arange(2.0 * size).reshape(2, size) + index)
    return metric


def through_a_file(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def broken(**fields):
    """A saved state with other fields; None takes one away."""
    state = through_a_file(vector().state_dict())
    for name, field in fields.items():
        if field is None:
            del state[name]
        else:
            state[name] = field
    return state


def about(**facts):
    state = through_a_file(vector().state_dict())
    state._metadata[""] = {**state._metadata[""], **facts}
    return state


# --- what is loaded ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
def test_no_value_of_before_stays(strict):
    metric, other = vector(1), vector(3)
    stale = metric(torch.ones(4, 3)), metric.compute()
    answer = metric.load_state_dict(through_a_file(other.state_dict()), strict=strict)
    assert answer.missing_keys == answer.unexpected_keys == []
    assert torch.equal(metric.compute(), other.compute())
    assert not torch.equal(metric.compute(), stale[1])
    assert metric.batch_value() is None
    assert metric.update_count == 3
    metric.update(torch.ones(1, 3))
    other.update(torch.ones(1, 3))
    assert torch.equal(metric.compute(), other.compute())


def test_what_is_loaded_is_the_metrics_own():
    metric, other = Vector(), vector()
    state = other.state_dict()
    metric.load_state_dict(state)
    expected = other.compute()
    for field in (state["total"], state["count"], *state["rows"]):
        field.fill_(7)
    assert torch.equal(metric.compute(), expected)
    metric.update(torch.ones(1, 3))
    assert torch.equal(other.compute(), expected)


def test_strict_needs_all_fields_and_otherwise_they_stay():
    metric = vector(1)
    before = metric.compute()
    for state, words in ((broken(count=None), 'Missing key(s) in state_dict: "count"'), (broken(more=torch.ones(1)), '"more"')):
        with pytest.raises(RuntimeError, match="Error") as caught:
            metric.load_state_dict(state)
        assert words in str(caught.value)
        assert torch.equal(metric.compute(), before)
    answer = metric.load_state_dict(broken(count=None, more=torch.ones(1)), strict=False)
    assert (answer.missing_keys, answer.unexpected_keys) == (["count"], ["more"])
    assert metric.count == 2
    assert torch.equal(metric.total, vector(2).total)


def test_nothing_to_load_changes_nothing():
    metric = vector()
    before = metric.compute()
    metric.load_state_dict({}, strict=False)
    assert torch.equal(metric.compute(), before)
    assert metric.update_count == 2


def test_without_metadata():
    """A plain dictionary tells no count of updates and no file: it is taken as one update."""
    metric = Vector()
    metric.load_state_dict(dict(vector().state_dict()))
    assert torch.equal(metric.compute(), vector().compute())
    assert metric.update_count == 1


def test_reset_forgets_what_was_loaded():
    metric = Vector()
    metric.load_state_dict(vector().state_dict())
    assert metric.snapshot().loaded.updates == 2
    metric.reset()
    assert metric.snapshot().loaded is None
    assert metric.compute_with_cache
    metric.update(torch.ones(1, 3))
    assert torch.equal(metric.compute(), torch.tensor([1.0, 1.0, 1.0, 3.0]))


def test_dtypes_of_less_width_are_widened():
    metric = Vector()
    metric.load_state_dict(broken(total=torch.ones(3), count=torch.tensor(2, dtype=torch.int32)))  # as of a device without float64
    assert (metric.total.dtype, metric.count.dtype) == (torch.float64, torch.int64)
    metric.load_state_dict(broken(total=torch.ones(3, dtype=torch.int64)))
    assert metric.total.dtype == torch.float64


def test_a_scalar_that_updates_made_a_vector():
    metric = toys.Mean()
    metric.persistent(True)
    metric.total = torch.ones(3, dtype=torch.float64)
    other = toys.Mean()
    other.persistent(True)
    other.load_state_dict(through_a_file(metric.state_dict()))
    assert torch.equal(other.total, metric.total)


def test_a_classic_field_of_another_dtype():
    """An update may have made anything of a default."""
    metric, other = fed(toys.MyAccuracy), toys.MyAccuracy()
    metric.correct = metric.correct / 2
    for each in (metric, other):
        each.persistent(True)
    other.load_state_dict(through_a_file(metric.state_dict()))
    assert torch.equal(other.correct, metric.correct)


# --- what is wrong -------------------------------------------------------------------------------------------------------------

WRONG = {
    "shape": (lambda: broken(total=torch.ones(4)), ["'total'", "(4,)", "(3,)"]),
    "fewer dimensions": (lambda: broken(total=torch.tensor(1.0)), ["'total'", "()", "(3,)"]),
    "floats": (lambda: broken(count=torch.tensor(1.5)), ["'count'", "floats", "integers (torch.int64)"]),
    "complex": (lambda: broken(total=torch.ones(3, dtype=torch.complex64)), ["'total'", "complex numbers", "floats"]),
    "number": (lambda: broken(count=3), ["'count'", "a int", "a tensor"]),
    "list": (lambda: broken(total=[torch.ones(3)]), ["'total'", "a list", "a tensor"]),
    "no list": (lambda: broken(rows=3.0), ["'rows'", "a float", "a list"]),
    "arguments": (lambda: vector(size=4).state_dict(), ["'total'", "floats (4,), sum", "floats (3,), sum", "arguments"]),
    "reduction": (lambda: about(fields={"rows": "floats (), sum"}), ["'rows'", "floats (), sum", "a list, cat"]),
    "no such field": (lambda: about(fields={"old": "floats (), sum"}), ["'old'", "no such field"]),
    "old": (lambda: about(version=1), ["version 1", "2 is needed", "another library or release"]),
    "new": (lambda: about(version=7), ["version 7", "2 is needed"]),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("what", WRONG)
def test_what_differs_is_said_and_nothing_is_changed(what, strict):
    make, words = WRONG[what]
    net = nn.ModuleDict({"metric": vector(1)})
    for root, prefix in ((net["metric"], ""), (net, "metric."), (epochal.MetricCollection({"metric": net["metric"]}), "metric.")):
        metric, state = net["metric"], make()
        before, names = metric.compute(), ["Vector"]
        prefixed = OrderedDict((prefix + key, field) for key, field in state.items())
        prefixed._metadata = {"metric" if prefix else "": state._metadata[""]}
        with pytest.raises(RuntimeError, match="Error\\(s\\) in loading state_dict") as caught:
            root.load_state_dict(prefixed, strict=strict)
        text = grammatical(ValueError(str(caught.value).splitlines()[1].strip()), *names)
        assert all(word in text for word in words), text
        assert torch.equal(metric.compute(), before)
        assert metric.update_count == 1


def test_all_metrics_of_a_collection_or_none():
    collection = epochal.MetricCollection({"a": vector(1), "b": vector(1)})
    state = epochal.MetricCollection({"a": vector(2), "b": vector(2)}).state_dict()
    state["b.total"] = torch.ones(5)
    before = collection.compute()
    with pytest.raises(RuntimeError, match="'total'"):
        collection.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in collection.compute().items())


def test_a_foreign_state():
    foreign = torchmetrics.MeanMetric()
    foreign.persistent(True)
    foreign.update(3.0)
    metric = epochal.MeanMetric()
    metric.persistent(True)
    metric.update(1.0)
    with pytest.raises(RuntimeError, match="MeanMetric: the loaded state has version 1 of the schema, but 2 is needed"):
        metric.load_state_dict(foreign.state_dict(), strict=False)
    assert metric.compute() == 1


def test_a_class_may_read_its_own_old_schema():
    class Renamed(toys.Mean):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            if local_metadata.get("version") == 2:
                state_dict[prefix + "count"] = state_dict.pop(prefix + "number")
                local_metadata = {**local_metadata, "version": 3, "fields": {}}
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    old, new = fed(toys.Mean), Renamed()
    for metric in (old, new):
        metric.persistent(True)
    state = old.state_dict()
    state["number"] = state.pop("count")
    new.load_state_dict(through_a_file(state))
    assert new.compute() == old.compute()
