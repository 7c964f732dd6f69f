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

from epochal import states
from epochal.collection import MetricCollection
from epochal.metric import Metric, leaves
from epochal.states import Blocks
from tests.collection import family


def members():
    return {**family.members(), **family.wrapped()}


NAMES = sorted(members())
ADDED = ("classic", "own", "total")  # the keys of their values are no others'
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
    """All that a metric and those in it hold."""
    held = []
    for leaf in leaves(metric):
        fields = {k: [torch.cat(list(v))] if isinstance(v, Blocks) and v else v for k, v in leaf.metric_state.items()}
        held.append({**fields, "updates": leaf.update_count, "dtype": leaf.dtype, "double": leaf.snapshot().double})
    return held


def flat(results):
    """Results of metrics kept apart, as a collection names them: no two of these members' names are equal."""
    return {k: v for name, result in results.items() for k, v in (result if isinstance(result, dict) else {name: result}).items()}


class Apart(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.apart = members()
        self.collection = MetricCollection(members())
        self.held = []  # fields of states that somebody looked at, and what was in them

    def both(self, collection, one, *args, keywords=None) -> None:
        """The collection's verb, and the metrics' verb one by one: if one of those fails, none has taken anything."""
        trial = copy.deepcopy(self.apart) if one in ("update", "forward") else self.apart
        ours = outcome(lambda: collection(*args, **(keywords or {})))
        results, said = {}, []
        for name in self.apart:
            given = {key: value for key, value in (keywords or {}).items() if key in trial[name].keywords()}
            result, error, warned = outcome(lambda name=name, given=given: getattr(trial[name], one)(*args, **given))
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

    def one(self, name, verb, *args, compared=True) -> None:
        ours, theirs = (outcome(getattr(metric, verb), *args) for metric in (self.collection[name], self.apart[name]))
        same(*((ours, theirs) if compared else (ours[1:], theirs[1:])))

    @rule(batch=batches)
    def update(self, batch):
        self.both(self.collection.update, "update", *batch)

    @rule(batch=batches)
    def forward(self, batch):
        self.both(self.collection, "forward", *batch)

    @rule(batch=batches)
    def of(self, batch):
        self.both(self.collection.of, "of", *batch)

    @rule(batch=batches, weight=st.floats(-1, 1), verb=st.sampled_from(["update", "forward", "of"]))
    def keyword(self, batch, weight, verb):
        """Those take it whose update has it; a target by name, too."""
        preds, target = batch
        self.both(getattr(self.collection, verb), verb, preds, keywords={"target": target, "weight": weight})

    @rule(verb=st.sampled_from(["update", "forward", "of"]))
    def unknown_keyword(self, verb):
        error = outcome(lambda: getattr(self.collection, verb)(torch.ones(2), torch.ones(2), wieght=1.0))[0]
        assert error is TypeError

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

    @rule(name=st.sampled_from([n for n in NAMES if hasattr(members()[n], "scale")]), scale=st.floats(-2, 2))
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

    @rule()
    def merge_all(self):
        other = self.collection.clone()
        others = copy.deepcopy(self.apart)
        self.collection.merge_state(other)
        for name, metric in self.apart.items():
            metric.merge_state(others[name])

    @rule(name=st.sampled_from(ADDED))
    def add(self, name):
        new = "more_" + name
        if new not in self.apart:
            self.collection.add_metrics({new: family.members()[name]})
            self.apart[new] = family.members()[name]
        refused = outcome(lambda: self.collection.add_metrics({"yet_" + new: family.members()[name], new: family.members()[name]}))
        assert refused[0] is ValueError

    @rule()
    def next_step(self):
        for where in (self.collection, self.apart):
            where["tracker"].increment()

    @rule(kept=st.booleans(), into=st.sampled_from(["itself", "a clone"]))
    def checkpoint(self, kept, into):
        """Through a file: what is persistent is there again, the rest is as it was."""
        for where in (self.collection, *self.apart.values()):
            where.persistent(kept)
        if into == "a clone":
            self.collection, self.apart = self.collection.clone(), copy.deepcopy(self.apart)
        torch.save([self.collection.state_dict(), *(metric.state_dict() for metric in self.apart.values())], file := io.BytesIO())
        file.seek(0)
        ours, *theirs = torch.load(file, weights_only=True)
        self.collection.reset()
        self.collection.load_state_dict(ours)
        for metric, saved in zip(self.apart.values(), theirs, strict=True):
            metric.reset()
            metric.load_state_dict(saved)

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]), name=st.one_of(st.none(), names))
    def set_dtype(self, dtype, name):
        if name is None:
            self.collection.set_dtype(dtype)
            for metric in self.apart.values():
                metric.set_dtype(dtype)
        else:
            self.one(name, "set_dtype", dtype, compared=False)

    @rule(how=st.sampled_from(["half", "bfloat16", "cpu", "meta"]))
    def move(self, how):
        for thing in (self.collection, *self.apart.values()):
            if how in ("half", "bfloat16"):
                getattr(thing, how)()
            else:
                thing.to(how)
                thing.to_empty(device="cpu") if how == "meta" else None

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
            metric = members()[name]
            metric.update(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]))
            where[name] = metric

    @rule(how=st.sampled_from(["metric_state", "snapshot"]))
    def look(self, how):
        """Somebody keeps the states, which members share or not."""
        for leaf in leaves(self.collection):
            if how == "metric_state" and leaf.statistic() is None:
                continue  # the classic way changes its states
            fields = leaf.metric_state if how == "metric_state" else leaf.snapshot().state
            self.held += [(field, field.clone()) for field in fields.values() if isinstance(field, torch.Tensor)]

    @rule()
    def look_away(self):
        self.held.clear()

    @invariant()
    def what_is_held_stays(self):
        for field, then in self.held:
            assert field.equal(then)

    @invariant()
    def states_are_the_same(self):
        assert sorted(self.collection.keys()) == sorted(self.apart)
        for name in self.apart:
            same(state(self.collection[name]), state(self.apart[name]))


class Large(Apart):
    """The same with sums that are large, to which batches are added in place."""

    def __init__(self) -> None:
        self.before, states.LARGE = (states.LARGE, family.Pairs.merge), 1
        family.Pairs.merge = Metric.merge  # a merge of one's own is asked, and never passed by
        super().__init__()

    def teardown(self) -> None:
        states.LARGE, family.Pairs.merge = self.before


def ran(machine, examples):
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
    )
    return case


TestApart = ran(Apart, 30)
TestLarge = ran(Large, 15)
