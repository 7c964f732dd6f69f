"""The laws hold for sound metrics of every kind of state, and each of them catches a metric that breaks it."""

from __future__ import annotations

import pytest
import torch

from epochal import testing
from epochal.metric import Metric
from tests import toys

SPECIAL = {toys.MeanOfBatches: (toys.floats(*toys.SIZES), {"resplit": False}), toys.LastValue: (toys.floats(*toys.SIZES), {})}
CASES = {**{cls: (batches, {}) for cls, (batches, _) in toys.TOYS.items()}, **SPECIAL}


@pytest.mark.parametrize("law", testing.LAWS)
@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_sound_metrics(cls, law):
    batches, options = CASES[cls]
    testing.LAWS[law](testing.Case(cls, batches, **options))


class Broken(toys.Mean):
    """Sound; each of the metrics below spoils one thing."""


class ForgetsCount(Broken):
    def measure(self, x):
        return {**super().measure(x), "count": 1}


class KeepsBatches(toys.Kept):  # a value that depends on the order of the data, and does not say so
    def value(self, items):
        return items[0].double() - items[-1].double()


class StrangeIdentity(Broken):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("count", torch.tensor(3), dist_reduce_fx="sum")


class TakesOutTooMuch(Broken):
    def unmerge(self, whole, part):
        return super().unmerge(whole, {**part, "count": part["count"] + 1})


class ForwardOfAll(Broken):
    def forward(self, *args):
        self.update(*args)
        return self.compute()


class ComputeChanges(Metric):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(2), dist_reduce_fx="sum")

    def measure(self, x):
        return {"total": x.double().sum().expand(2)}

    def value(self, total):
        return total.mul_(2)


class ResetForgets(Broken):
    def reset(self):
        self.count = torch.tensor(0)
        self._updates = torch.tensor(0)


class CountsTwice(Broken):
    @property
    def update_count(self):
        return 2 * int(self._updates)


class Swallows(Broken):
    def measure(self, x):
        try:
            return super().measure(x)
        except AttributeError:
            return {"total": 0.0, "count": 0}


class ChangesInput(Broken):
    def measure(self, x):
        return super().measure(x.mul_(2))


class KeepsInput(toys.Kept):
    def measure(self, x):
        return {"items": list(x)}


class SharedState(Broken):
    log = []  # noqa: RUF012  # the defect

    def measure(self, x):
        self.log.append(x)
        return super().measure(x)

    def value(self, total, count):
        return total / count + len(self.log)


class ForgetsOnCopy(Broken):
    def __getstate__(self):
        return {**super().__getstate__(), "total": torch.tensor(0.0).double()}


class NotSaved(Broken):
    def persistent(self, mode=False):
        pass


class WrongDtype(Broken):
    def _cast(self, value, double):
        return value.double()


class Castable(Broken):
    def _apply(self, fn, recurse=True):
        self.total = fn(self.total)
        return self


class Breaks(Broken):
    def measure(self, x):
        return super().measure(x.detach())


class Claims(Broken):
    is_differentiable = False


BROKEN = [
    (ForgetsCount, "splits"),
    (KeepsBatches, "merge_order"),
    (StrangeIdentity, "identity"),
    (TakesOutTooMuch, "unmerge"),
    (ForwardOfAll, "forward"),
    (ComputeChanges, "compute"),
    (ResetForgets, "reset"),
    (CountsTwice, "update_count"),
    (Swallows, "failed_update"),
    (ChangesInput, "inputs"),
    (KeepsInput, "inputs"),
    (SharedState, "copies"),
    (ForgetsOnCopy, "copies"),
    (NotSaved, "state_dict"),
    (WrongDtype, "result_dtype"),
    (Castable, "casts"),
    (Breaks, "gradient"),
    (Claims, "gradient"),
]


@pytest.mark.parametrize(("cls", "law"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_metric_is_caught(cls, law):
    case = testing.Case(cls, toys.floats(*toys.SIZES))
    with pytest.raises(AssertionError, match=cls.__name__):
        testing.LAWS[law](case)


def test_function_that_differs_is_caught():
    with pytest.raises(AssertionError, match="the function differs"):
        testing.LAWS["function"](testing.Case(toys.Mean, toys.floats(3, 4), function=lambda x: x.sum()))
    with pytest.raises(AssertionError, match=r"the function's dtypes|torch.float64, not"):
        testing.LAWS["function"](testing.Case(toys.Mean, toys.floats(3, 4), function=lambda x: x.double().mean()))


def test_deferred_and_inference_mode_are_caught():
    class Reads(Broken):
        def verify(self, state):
            if torch.is_inference_mode_enabled():
                raise AssertionError("Reads: looked at values")

    with pytest.raises(AssertionError, match="Reads"):
        testing.LAWS["inference_mode"](testing.Case(Reads, toys.floats(3, 4)))

    class Peeks(Broken):
        def measure(self, x):
            from epochal import check

            return super().measure(x + (not check.reads_values(x.device)))

    with pytest.raises(AssertionError, match="deferred"):
        testing.LAWS["deferred_checks"](testing.Case(Peeks, toys.floats(3, 4)))


def test_check_metric_runs_every_law():
    seen = []
    laws = dict(testing.LAWS)
    try:
        testing.LAWS.update({name: (lambda case, name=name: seen.append(name)) for name in laws})
        testing.check_metric(toys.Mean, toys.floats(3, 4), skip=["casts"])
    finally:
        testing.LAWS.update(laws)
    assert seen == [name for name in laws if name != "casts"]


def test_an_instance_is_cloned_and_keyword_batches_are_split():
    metric = toys.Mean()
    metric.update(torch.ones(3))
    testing.check_metric(metric, [{"x": batch[0]} for batch in toys.floats(*toys.SIZES)], differentiate=["x"])
    assert metric.update_count == 1


def test_arguments():
    with pytest.raises(ValueError, match="no batches"):
        testing.check_metric(toys.Mean, [])
    with pytest.raises(ValueError, match="merge_order"):
        testing.check_metric(toys.Mean, toys.floats(3), skip=["merge_ordr"])


def test_difference():
    assert testing.difference({"a": torch.tensor([1.0, float("nan")])}, {"a": torch.tensor([1.0 + 1e-8, float("nan")])}) is None
    assert "not [2.0]" in testing.difference([torch.tensor([1.0, 3.0])], [torch.tensor([2.0, 3.0])])
    assert testing.difference(torch.tensor([2, 1]), torch.tensor([1, 2]), rows=True) is None
    assert testing.difference(torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0, 1], [1, 0]]), rows=True) is None
    assert testing.difference(torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0, 0], [1, 1]]), rows=True) is not None
    assert testing.difference(torch.tensor(1), torch.tensor(1.0)) is not None
    assert testing.difference(1000001, 1000000) is not None
