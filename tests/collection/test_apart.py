"""A collection behaves exactly as the same metrics kept apart, whatever is called on whichever member, in any order."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from epochal.collection import MetricCollection
from epochal.metric import leaves
from tests.collection import family

NAMES = sorted(family.members())
names = st.sampled_from(NAMES)
batches = st.builds(
    lambda n, seed, dtype: tuple(torch.randn(2, n, generator=torch.Generator().manual_seed(seed)).to(dtype)),
    st.integers(1, 5),
    st.integers(0, 1000),
    st.sampled_from([torch.float32, torch.float64]),
)


def faulty(how: str):
    preds, target = torch.ones(3), torch.zeros(3)
    if how == "shape":
        return preds, target[:2]
    preds[0] = {"nan": torch.nan, "classic": -1000.0, "wrapper": -70.0}[how]
    return preds, target


def outcome(function, *args):
    """What a call returns, raises and warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = function(*args)
        except Exception as error:
            return type(error), str(error), None
    return value, None, sorted(str(w.message) for w in caught)


def same(a, b) -> None:
    assert type(a) is type(b), (a, b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b


def state(metric):
    """All that a metric holds."""
    inner = {"inner": state(metric.inner)} if hasattr(metric, "inner") else {}
    fields = {k: [torch.cat(list(v))] if isinstance(v, list) and v else v for k, v in metric.metric_state.items()}
    return {**fields, **inner, "updates": metric.update_count}


def flat(results):
    """Results of metrics kept apart, as a collection names them: no two of these members' names are equal."""
    return {k: v for name, result in results.items() for k, v in (result if isinstance(result, dict) else {name: result}).items()}


class Apart(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.apart = family.members()
        self.collection = MetricCollection(family.members())

    def both(self, collection, one, *args) -> None:
        """The collection's verb, and the metrics' verb one by one: if one of those fails, none has taken anything."""
        trial = copy.deepcopy(self.apart) if one in ("update", "forward") else self.apart
        ours = outcome(collection, *args)
        results, said = {}, []
        for name in NAMES:
            result, error, warned = outcome(getattr(trial[name], one), *args)
            if error is not None:
                assert isinstance(ours[1], str), f"{name} fails alone with {error}, but not in the collection"
                self.forget()
                return
            results[name] = result
            said += warned
        self.apart = trial
        assert ours[1] is None, ours
        assert ours[2] == sorted(said)
        if one != "update":
            same(ours[0], flat(results))

    def forget(self) -> None:
        """Drop the cached values: a refused update may cost a classic metric its own, which is not what is compared here."""
        for metric in (*leaves(self.collection), *(leaf for metric in self.apart.values() for leaf in leaves(metric))):
            metric.__dict__["_cache"] = None

    def one(self, name, verb, *args) -> None:
        ours, theirs = (outcome(getattr(metric, verb), *args) for metric in (self.collection[name], self.apart[name]))
        same(ours, theirs)

    @rule(batch=batches)
    def update(self, batch):
        self.both(self.collection.update, "update", *batch)

    @rule(batch=batches)
    def forward(self, batch):
        self.both(self.collection, "forward", *batch)

    @rule(batch=batches)
    def of(self, batch):
        self.both(self.collection.of, "of", *batch)

    @rule(how=st.sampled_from(["shape", "nan", "classic", "wrapper"]), verb=st.sampled_from(["update", "forward"]))
    def refused(self, how, verb):
        self.both(getattr(self.collection, verb), verb, *faulty(how))

    @rule()
    def compute(self):
        self.both(self.collection.compute, "compute")

    @rule()
    def batch_value(self):
        self.both(self.collection.batch_value, "batch_value")

    @rule()
    def reset(self):
        self.collection.reset()
        for metric in self.apart.values():
            metric.reset()

    @rule(name=names, verb=st.sampled_from(["update", "forward", "of"]), batch=batches)
    def one_takes(self, name, verb, batch):
        self.one(name, verb, *batch)

    @rule(name=names, how=st.sampled_from(["shape", "nan", "classic", "wrapper"]))
    def one_refuses(self, name, how):
        self.one(name, "update", *faulty(how))

    @rule(name=names, verb=st.sampled_from(["compute", "reset", "batch_value"]))
    def one_does(self, name, verb):
        self.one(name, verb)

    @rule(name=st.sampled_from([n for n in NAMES if hasattr(family.members()[n], "scale")]), scale=st.floats(-2, 2))
    def configure(self, name, scale):
        for metric in (self.collection[name], self.apart[name]):
            metric.scale = scale
            metric.compute_with_cache = False  # as the setting is not part of what a cached value depends on

    @rule(name=st.sampled_from(["average", "total"]))
    def change_statistic(self, name):
        """Its measure reads the size: now it shares with other members, or with none."""
        for metric in (self.collection[name], self.apart[name]):
            size = 5 - metric.size
            metric.__init__(size=size)

    @rule(source=names, into=names)
    def merge(self, source, into):
        self.one(into, "merge_state", copy.deepcopy(self.apart[source]))

    @rule(way=st.sampled_from(["clone", "deepcopy", "pickle", "torch.save"]))
    def copies(self, way):
        def copied(thing):
            if way == "pickle":
                return pickle.loads(pickle.dumps(thing))
            if way == "torch.save":
                torch.save(thing, file := io.BytesIO())
                file.seek(0)
                return torch.load(file, weights_only=False)
            return copy.deepcopy(thing) if way == "deepcopy" or isinstance(thing, dict) else thing.clone()

        self.collection, self.apart = copied(self.collection), copied(self.apart)

    @rule(name=names)
    def replace(self, name):
        """A member that was built and updated elsewhere takes the place of another."""
        for where in (self.collection, self.apart):
            metric = family.members()[name]
            metric.update(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]))
            where[name] = metric

    @invariant()
    def states_are_the_same(self):
        for name in NAMES:
            same(state(self.collection[name]), state(self.apart[name]))


Apart.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
TestApart = Apart.TestCase
