"""The laws that every metric obeys, as functions that raise AssertionError where one doesn't: also for metrics of your own.

>>> import torch
>>> from epochal.metric import Metric
>>> class Total(Metric):
...     def __init__(self, **kwargs):
...         super().__init__(**kwargs)
...         self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
...     def measure(self, x):
...         return {"total": x.double().sum()}
...     def value(self, total):
...         return total
>>> check_metric(Total, [(torch.tensor([1.0, 2.0]),), (torch.tensor([3.0]),)], skip=["copies"])  # a doctest's class has no module

Every entry of :data:`LAWS` takes a :class:`Case` and can be run alone, so that a test suite reports them one by one. The laws
of the homomorphism (``splits``, ``merge_order``, ``identity``) do not apply to a metric that says ``order_matters`` or ``random``.

The laws stand in one file, each a function of its own, so that they can be read as one list; that is why it is long.
"""

from __future__ import annotations

import copy
import functools
import io
import pickle
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from epochal import check
from epochal.compare import difference, dtypes, is_float, mapped, spoil, tensors
from epochal.metric import WEIGHT, Metric, leaves
from epochal.resplit import Batch, call, chunks, items, join, length, pieces, rebuilt
from epochal.states import Snapshot, extent

__all__ = ["LAWS", "Case", "check_metric", "difference"]


@dataclass
class Case:
    """A metric and data to try the laws on; see :func:`check_metric` for the fields."""

    make: Callable[[], Metric]
    batches: Sequence[Batch]
    function: Callable[..., Any] | None = None
    rtol: float = 1e-6
    atol: float = 1e-7
    rows: bool = False
    resplit: bool | None = None
    differentiate: Collection[int | str] | None = None
    seed: int = 0
    chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.make, Metric):
            original = self.make
            self.make = functools.partial(_fresh, original)
        self.batches = list(self.batches)
        if not self.batches:
            raise ValueError("check_metric: there are no batches, but at least one is needed. Pass two or more, of unequal sizes.")
        self.chance = random.Random(self.seed)  # its own: the laws are the same in every run

    @functools.cached_property
    def joined(self) -> Batch | None:
        """All batches as one, or None where they can only be given as they are."""
        return None if self.resplit is False else join(self.batches)

    @functools.cached_property
    def whole(self) -> Any:
        """The value of all data, measured at once where they can be joined."""
        return self.fed(self.batches if self.joined is None else [self.joined]).compute()

    @functools.cached_property
    def is_homomorphism(self) -> bool:
        return not any(leaf.order_matters or leaf.random for leaf in leaves(self.make()))

    def feed(self, metric: Metric, batches: Sequence[Batch]) -> Metric:
        if any(leaf.random for leaf in leaves(metric)):
            torch.manual_seed(self.seed)
        for batch in batches:
            call(metric.update, batch)
        return metric

    def fed(self, batches: Sequence[Batch]) -> Metric:
        return self.feed(self.make(), batches)

    def called(self, method: Callable[..., Any], batch: Batch) -> Any:
        """``method`` on a batch, with the same chance each time."""
        torch.manual_seed(self.seed)
        return call(method, batch)

    def same(self, got: Any, expected: Any, what: str, exact: bool = False) -> None:
        """Raise unless two results are equal: integers exactly, floats within the case's tolerance."""
        rtol, atol = (0.0, 0.0) if exact else (self.rtol, self.atol)
        text = difference(got, expected, rtol=rtol, atol=atol, rows=self.rows)
        assert text is None, f"{self.make()}: {what}: {text}"

    def expect(self, condition: object, what: str) -> None:
        assert condition, f"{self.make()}: {what}"


def check_metric(
    make_metric: Callable[[], Metric] | Metric,
    batches: Sequence[Batch],
    *,
    function: Callable[..., Any] | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    rows: bool = False,
    resplit: bool | None = None,
    differentiate: Collection[int | str] | None = None,
    seed: int = 0,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError, with the law's name and what differs, unless a metric obeys all laws on these data.

    ``make_metric``: builds a new metric (a class, a function), or is a metric, which is cloned and reset. ``batches``: for each
    update its arguments, a tuple, or a dictionary of keyword arguments; two or more, of unequal sizes. ``function``: the functional
    form, called as ``function(*batch)``. ``rtol``, ``atol``: tolerance of floats; integers are compared exactly. ``rows``: results
    have a row for each sample, in the order of the data: they are compared up to that order. ``resplit``: False keeps the batches
    whole, for a statistic of batches rather than of samples; by default they are joined along dimension 0 and split anew wherever
    their shapes allow. ``differentiate``: the arguments that ``is_differentiable`` speaks of; default: the first. ``skip``: names
    from :data:`LAWS`.
    """
    unknown = set(skip) - set(LAWS)
    if unknown:
        check.choice("check_metric", "skip", min(unknown), list(LAWS))
    case = Case(make_metric, batches, function, rtol, atol, rows, resplit, differentiate, seed)
    for name, law in LAWS.items():
        if name not in skip:
            law(case)


# --- the homomorphism ----------------------------------------------------------------------------------------------------


def splits(case: Case) -> None:
    """Any split of the data into batches, over any number of processes, some of them without data, gives the same value."""
    if not case.is_homomorphism:
        return
    case.same(case.fed(case.batches).compute(), case.whole, "updating by batches differs from all data at once")
    for ranks in (1, 2, 4):
        batches = case.batches if case.joined is None else list(pieces(case.joined, case.chance))
        shares: list[list[Batch]] = [[] for _ in range(ranks)]
        for batch in batches:
            case.chance.choice(shares).append(batch)
        merged = _over_ranks([case.fed(share) for share in shares])
        sizes = [[length(batch) for batch in share] for share in shares]
        case.same(merged.compute(), case.whole, f"split over {ranks} processes into batches of {sizes} rows")
        case.expect(
            merged.update_count == len(batches), f"{len(batches)} updates became {merged.update_count} over {ranks} processes"
        )


def merge_order(case: Case) -> None:
    """Merging is associative and commutative: any order and any tree gives the same value."""
    if not case.is_homomorphism:
        return
    for _ in range(3):
        forest = [case.fed([batch]) for batch in case.batches]
        while len(forest) > 1:
            case.chance.shuffle(forest)
            first, second = forest.pop(), forest.pop()
            before = _states(second)
            first.merge_state(second)
            case.expect(_states_equal(_states(second), before), "merge_state changed the metric that was merged")
            forest.append(first)
        case.same(forest[0].compute(), case.whole, "merged in another order")


def identity(case: Case) -> None:
    """A new metric is the identity of the merge, from both sides."""
    if not case.is_homomorphism:
        return
    expected = case.fed(case.batches).compute()
    for metric, other in (case.fed(case.batches), case.make()), (case.make(), case.fed(case.batches)):
        metric.merge_state(other)
        case.same(metric.compute(), expected, "merged with a new metric")
        case.expect(metric.update_count == len(case.batches), f"{metric.update_count} updates after merging with a new metric")
    case.same(
        _over_ranks([case.make(), case.fed(case.batches), case.make()]).compute(), expected, "merged with processes without data"
    )


def unmerge(case: Case) -> None:
    """What was merged with a part can be taken out again: several processes may go on from one file, and it counts once."""
    half = (len(case.batches) + 1) // 2
    metric = case.fed(case.batches[:half])
    parts = [leaf.snapshot() for leaf in leaves(metric)]
    case.feed(metric, case.batches[half:] or case.batches[:1])
    expected = metric.compute()
    for leaf, part in zip(leaves(metric), parts, strict=True):
        whole = leaf.snapshot()
        lengths = {name: extent(v) if isinstance(v, list) else v for name, v in part.state.items()}
        try:
            rest = leaf.unmerge({**whole.state, WEIGHT: whole.updates}, {**lengths, WEIGHT: part.updates})
        except ValueError:
            return  # a merge of its own may have no inverse, or none yet
        again = leaf.merge({**part.state, WEIGHT: part.updates}, {**rest, WEIGHT: whole.updates - part.updates})
        leaf.restore(Snapshot(again, whole.updates, whole.double))
    case.same(metric.compute(), expected, "taken out and merged again")


# --- the verbs -----------------------------------------------------------------------------------------------------------


def forward(case: Case) -> None:
    """``forward`` accumulates what ``update`` does, and returns what ``of`` does: the value of the batch alone."""
    called, updated = case.make(), case.make()
    for batch in case.batches:
        before = _states(called)
        expected = case.called(called.of, batch)
        case.expect(_states_equal(_states(called), before), "of changed the state")
        case.same(case.called(called.forward, batch), expected, "forward differs from of on the same batch")
        case.called(updated.update, batch)
        case.same(case.called(case.make().of, batch), expected, "of depends on the state")
    case.expect(_states_equal(_states(called), _states(updated)), "forward accumulated another state than update")
    case.same(called.compute(), updated.compute(), "compute after forward differs from compute after update", exact=True)


def function(case: Case) -> None:
    """The functional form gives what a new metric gives."""
    if case.function is None:
        return
    for batch in case.batches[:2]:
        expected = case.called(case.make().of, batch)
        case.same(case.called(case.function, batch), expected, "the function differs from the class", exact=True)
        case.same(dtypes(case.called(case.function, batch)), dtypes(expected), "the function's dtypes differ from the class's")


def compute(case: Case) -> None:
    """``compute`` leaves the state alone, follows every update, and what it returns is the caller's own."""
    metric = case.make()
    for index, batch in enumerate(case.batches):
        case.feed(metric, [batch])
        before = _states(metric)
        value = metric.compute()
        case.expect(_states_equal(_states(metric), before), "compute changed the state")
        if not any(leaf.random for leaf in leaves(metric)):
            fresh = case.fed(case.batches[: index + 1]).compute()
            case.same(value, fresh, "compute between updates differs from compute at the end", exact=True)
        kept = mapped(torch.clone, value)
        mapped(spoil, value)
        case.expect(_states_equal(_states(metric), before), "the returned value is a piece of the state")
        for _ in range(2):  # the first value, and those that were kept from it
            value = metric.compute()
            case.same(value, kept, "changing the returned value changed the next one", exact=True)
            mapped(spoil, value)
        case.expect(not any(t.requires_grad for t in tensors(value)), "compute returned a value with a graph")


def reset(case: Case) -> None:
    """After ``reset`` a metric is as new."""
    metric = case.fed(case.batches)
    metric.compute()
    metric.reset()
    case.expect(_states_equal(_states(metric), _states(case.make())), "the state after reset differs from a new metric's")
    case.same(
        case.feed(metric, case.batches[:1]).compute(), case.fed(case.batches[:1]).compute(), "reset, then updated", exact=True
    )


def update_count(case: Case) -> None:
    """Updates are counted, by ``update`` and by ``forward``, until ``reset``."""
    metric = case.make()
    case.expect(metric.update_count == 0 and not metric.update_called, "a new metric has been updated")
    case.feed(metric, case.batches)
    case.expect(metric.update_count == len(case.batches), f"{len(case.batches)} updates are counted as {metric.update_count}")
    case.called(metric, case.batches[0])
    case.expect(metric.update_count == len(case.batches) + 1, f"forward is counted as {metric.update_count - len(case.batches)}")
    case.expect(metric.update_called, "an updated metric says that it was not")
    metric.reset()
    case.expect(metric.update_count == 0 and not metric.update_called, "reset kept the count of updates")


def failed_update(case: Case) -> None:
    """An update that raises, early or late, leaves the state as it was."""
    for method in ("update", "forward"):
        for sabotage in (_bad_arguments, _fails_late, _fails_in_merge):
            metric = case.fed(case.batches[:1])
            expected, before = metric.compute(), _states(metric)
            call = sabotage(metric, method)
            if call is None:
                continue
            try:
                call(case.batches[0])
            except Exception:
                pass
            else:
                checks = type(metric).measure is not Metric.measure
                case.expect(sabotage is not _bad_arguments or not checks, f"{method} accepted an argument that is no data")
                case.expect(sabotage is not _fails_late, f"{method} swallowed the exception of a statistic")
                continue  # a metric that merges in another way
            what = f"{method} that raised ({sabotage.__name__.strip('_')})"
            case.expect(_states_equal(_states(metric), before), f"{what} changed the state")
            case.same(metric.compute(), expected, what, exact=True)


def inputs(case: Case) -> None:
    """The data are neither changed nor kept: a loader may reuse its buffers."""
    metric, called = case.make(), case.make()
    for batch in case.batches:
        given, asked = copy.deepcopy(batch), copy.deepcopy(batch)
        case.called(metric.update, given)
        case.called(called, asked)
        for name, after in (("update", given), ("forward", asked)):
            case.same(items(after), items(batch), f"{name} changed its arguments", exact=True)
            mapped(spoil, dict(items(after)))
    expected = case.make()
    for batch in case.batches:
        case.called(expected.update, batch)
    for name, other in (("update", metric), ("forward", called)):
        case.expect(_states_equal(_states(other), _states(expected)), f"the state changes with the tensors that {name} was given")


# --- copies and checkpoints ----------------------------------------------------------------------------------------------


def copies(case: Case) -> None:
    """Pickling, deepcopy and ``clone`` in mid-stream give an independent metric that goes on from there."""
    half = (len(case.batches) + 1) // 2
    first, rest = case.batches[:half], case.batches[half:] or case.batches[:1]
    expected = case.feed(case.fed(first), rest).compute()
    for name, duplicate in COPIES.items():
        original = case.fed(first)
        value = original.compute()
        twin = duplicate(original)
        before = _states(original)
        case.expect(_states_equal(_states(twin), before), f"{name} changed the state")
        case.expect(twin.update_count == original.update_count, f"{name} lost the count of updates")
        case.same(twin.compute(), value, f"{name}, then compute", exact=True)
        case.same(case.feed(twin, rest).compute(), expected, f"{name}, then updated further")
        case.expect(_states_equal(_states(original), before), f"updating what {name} returned changed the original")
        case.same(case.feed(original, rest).compute(), expected, f"{name}: the original, updated further")


def state_dict(case: Case) -> None:
    """A persistent state goes through ``state_dict`` and a file, and is not one of the metric's live tensors."""
    half = (len(case.batches) + 1) // 2
    metric, rest = case.fed(case.batches[:half]), case.batches[half:] or case.batches[:1]
    expected = metric.compute()
    metric.persistent(False)
    others = len(metric.state_dict())  # weights of a network, for example
    metric.persistent(True)
    fields = sum(len(leaf.metric_state) for leaf in leaves(metric))
    case.expect(len(metric.state_dict()) >= others + fields, "state_dict lacks a persistent state, or holds one that is not")
    saved = io.BytesIO()
    torch.save(metric.state_dict(), saved)
    live = metric.state_dict()
    further = case.feed(metric, rest).compute()
    saved.seek(0)
    for name, states in (("a live state_dict", live), ("a file", torch.load(saved, weights_only=True))):
        other = case.fed(case.batches[:1])
        other.compute()
        other.persistent(True)
        other.load_state_dict(states)
        case.same(other.compute(), expected, f"loaded from {name}")
        case.same(case.feed(other, rest).compute(), further, f"loaded from {name}, then updated")


# --- dtypes and devices --------------------------------------------------------------------------------------------------


def result_dtype(case: Case) -> None:
    """Float results are float32, float64 where the input was, or what ``set_dtype`` says; a state never follows.

    A metric that overrides ``compute`` has chosen the dtype itself.
    """
    if type(case.make()).value is Metric.value:
        return
    batch = case.batches[0]
    doubled = mapped(torch.Tensor.double, batch, only=torch.is_floating_point)
    has_floats = any(t.is_floating_point() for t in tensors(batch))
    for given, dtype in ((batch, torch.float32), (doubled, torch.float64 if has_floats else torch.float32)):
        if any(t.dtype == torch.float64 for t in tensors(given)) != (dtype is torch.float64):
            continue  # the example itself is in float64
        for name, metric in (("compute", case.fed([given])), ("forward", case.make()), ("of", case.make())):
            value = metric.compute() if name == "compute" else case.called(getattr(metric, name), given)
            wrong = {t.dtype for t in tensors(value) if t.is_floating_point()} - {dtype}
            case.expect(not wrong, f"{name} returned {wrong}, not {dtype}")
    metric = case.fed(case.batches)
    before = _states(metric)
    expected = metric.compute()
    metric.set_dtype(torch.float64)
    case.expect(_states_equal(_states(metric), before), "set_dtype changed the state")
    case.expect(
        all(t.dtype == torch.float64 for t in tensors(metric.compute()) if t.is_floating_point()),
        "set_dtype(float64) did not change the dtype of the result",
    )
    case.same(mapped(torch.Tensor.float, metric.compute(), only=torch.is_floating_point), expected, "set_dtype(float64)")


def casts(case: Case) -> None:
    """Casting a model (``.half()``, ``.to(bfloat16)``) changes no state; a metric that comes from "meta" is as new."""
    metric = case.fed(case.batches)
    before, expected = _states(metric), metric.compute()
    parent = nn.Sequential(metric)
    for cast in (parent.half, parent.bfloat16, parent.float, parent.double, metric.half, metric.double):
        cast()
    parent.to(torch.bfloat16)
    metric.type(torch.float16)
    case.expect(_states_equal(_states(metric), before), "casting the model changed the state")
    case.same(metric.compute(), expected, "after casting the model", exact=True)
    metric.to("meta")
    metric.to_empty(device="cpu")
    case.expect(_states_equal(_states(metric), _states(case.make())), "the state that came from 'meta' is not a new metric's")
    case.same(case.feed(metric, case.batches[:1]).compute(), case.fed(case.batches[:1]).compute(), "used after 'meta'", exact=True)


def inference_mode(case: Case) -> None:
    """Updates inside ``torch.inference_mode`` and outside of it mix."""
    expected = case.fed(case.batches).compute()
    with torch.inference_mode():
        metric = case.feed(case.make(), case.batches[:1])
    for batch in case.batches[1:]:
        if any(leaf.random for leaf in leaves(metric)):
            return
        call(metric.update, batch)
    case.same(metric.compute(), expected, "begun in inference_mode", exact=True)
    metric.reset()
    with torch.inference_mode():
        case.same(case.feed(metric, case.batches).compute(), expected, "in inference_mode", exact=True)
    case.same(metric.compute(), expected, "computed after inference_mode", exact=True)
    metric.clone().reset()


def deferred_checks(case: Case) -> None:
    """Where values may not be looked at before ``compute``, as on an accelerator, the result is the same."""
    expected = case.fed(case.batches).compute()
    with check.deferred():
        metric = case.fed(case.batches)
    case.same(metric.compute(), expected, "with deferred checks", exact=True)


def gradient(case: Case) -> None:
    """``is_differentiable`` says the truth, for ``of`` and ``forward``; a state keeps no graph."""
    metric = case.make()
    batch = case.batches[0] if case.joined is None else next(chunks(case.joined, [min(4, length(case.batches[0]))]))
    wanted = case.differentiate if case.differentiate is not None else [next(iter(dict(items(batch))))]
    batch = mapped(torch.Tensor.double, batch, only=torch.is_floating_point)
    given = dict(items(batch))
    leaf_inputs = {key: given[key].detach().clone().requires_grad_() for key in wanted if is_float(given[key])}
    if not leaf_inputs or metric.is_differentiable is None:
        return

    def outputs(*varied: Tensor) -> tuple[Tensor, ...]:
        value = case.called(case.make().of, rebuilt(batch, dict(zip(leaf_inputs, varied, strict=True))))
        return tuple(t for t in tensors(value) if t.is_floating_point())

    values = outputs(*leaf_inputs.values())
    linked = [value for value in values if value.requires_grad]
    if not metric.is_differentiable:
        grads = torch.autograd.grad([v.sum() for v in linked], list(leaf_inputs.values()), allow_unused=True) if linked else []
        case.expect(all(g is None or not g.any() for g in grads), "is_differentiable is False, but the value has a gradient")
        return
    case.expect(len(linked) == len(values) > 0, "is_differentiable is True, but the value has no graph")
    grads = torch.autograd.grad([v.sum() for v in linked], list(leaf_inputs.values()), allow_unused=True)
    case.expect(any(g is not None and g.any() for g in grads), "is_differentiable is True, but the gradient is zero")
    try:
        torch.autograd.gradcheck(outputs, tuple(leaf_inputs.values()), fast_mode=True)
    except RuntimeError as error:
        raise AssertionError(f"{case.make()}: the gradient is not that of the value: {error}") from None
    value = case.called(metric, rebuilt(batch, leaf_inputs))
    case.expect(any(t.requires_grad for t in tensors(value)), "of has a gradient, but forward has none")
    states = [t for state in _states(metric) for t in tensors(state)]
    case.expect(not any(t.requires_grad for t in states), "the state keeps the graph of a batch")


LAWS: dict[str, Callable[[Case], None]] = {
    law.__name__: law
    for law in (
        splits,
        merge_order,
        identity,
        unmerge,
        forward,
        function,
        compute,
        reset,
        update_count,
        failed_update,
        inputs,
        copies,
        state_dict,
        result_dtype,
        casts,
        inference_mode,
        deferred_checks,
        gradient,
    )
}
COPIES: dict[str, Callable[[Metric], Metric]] = {
    "pickle": lambda metric: pickle.loads(pickle.dumps(metric)),
    "copy.deepcopy": copy.deepcopy,
    "clone": lambda metric: metric.clone(),
}


def _fresh(original: Metric) -> Metric:
    metric = original.clone()
    metric.reset()
    return metric


# --- states --------------------------------------------------------------------------------------------------------------


def _states(metric: Metric) -> list[dict[str, Any]]:
    """Copies of the states of a metric and of those inside it."""
    return [mapped(torch.clone, {**leaf.metric_state, "": leaf.update_count}) for leaf in leaves(metric)]


def _states_equal(a: Sequence[Any], b: Sequence[Any]) -> bool:
    def plain(states: Sequence[Any]) -> list[Any]:
        return [{k: torch.cat([torch.atleast_1d(p) for p in v]) if _is_chunks(v) else v for k, v in s.items()} for s in states]  # type: ignore[no-untyped-call]

    return difference(plain(a), plain(b), rtol=0.0, atol=0.0) is None


def _is_chunks(field: Any) -> bool:
    """Chunks of rows, which may be stored together: what counts is their concatenation."""
    return (
        isinstance(field, list) and bool(field) and all(isinstance(p, Tensor) and p.shape[1:] == field[0].shape[1:] for p in field)
    )


def _over_ranks(ranks: Sequence[Metric]) -> Metric:
    """What the exchange makes of one metric on each process."""
    merged = ranks[0].clone()
    for leaf, each in zip(leaves(merged), zip(*(leaves(rank) for rank in ranks), strict=True), strict=True):
        snapshots = [one.snapshot() for one in each]
        state = leaf.merge_ranks([{**snapshot.state, "_updates": snapshot.updates} for snapshot in snapshots])
        count = sum(snapshot.updates for snapshot in snapshots)
        leaf.restore(Snapshot(state, count, any(snapshot.double for snapshot in snapshots)))
    return merged


class _Fault(Exception):
    """Raised on purpose."""


def _fail(*_: Any, **__: Any) -> Any:
    raise _Fault


def _bad_arguments(metric: Metric, method: str) -> Callable[[Batch], Any] | None:
    return lambda batch: call(getattr(metric, method), rebuilt(batch, {key: object() for key, _ in items(batch)}))


def _fails_late(metric: Metric, method: str) -> Callable[[Batch], Any] | None:
    """The last of the metric's statistics is measured, and then fails."""
    last = type(leaves(metric)[-1])
    for leaf in leaves(metric):
        if type(leaf) is last:  # several of one class may share what one of them measures
            _spoil_update(leaf)
    return functools.partial(call, getattr(metric, method))


def _spoil_update(metric: Metric) -> None:
    cls: Any = type(metric)
    if cls.measure is not Metric.measure:
        measure = metric.measure
        metric.__dict__["measure"] = lambda *args, **kwargs: (measure(*args, **kwargs), _fail())
    else:  # the classic way: its states are changed by then
        metric.__class__ = type(cls.__name__, (cls,), {"update": lambda self, *a, **k: (cls.update(self, *a, **k), _fail())})


def _fails_in_merge(metric: Metric, method: str) -> Callable[[Batch], Any] | None:
    leaves(metric)[-1].__dict__["merge"] = _fail
    return functools.partial(call, getattr(metric, method))
