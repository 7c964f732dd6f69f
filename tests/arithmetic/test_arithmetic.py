"""Formulas of metrics against Python's operators on the metrics' own values."""

from __future__ import annotations

import copy
import operator
import pickle

import pytest
import torch

from epochal.aggregation import CatMetric, MaxMetric, MeanMetric, SumMetric
from epochal.arithmetic import CompositionalMetric
from epochal.metric import metric_of
from tests.collection import family

A = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.5, 2.0, 3.0])
B = torch.tensor([4.0]), torch.tensor([-1.0])
SHAPES = {
    "metric and metric": lambda f: (f(SumMetric(), MaxMetric()), lambda s, m: f(s, m)),
    "metric and number": lambda f: (f(SumMetric(), 2.5), lambda s, m: f(s, 2.5)),
    "number and metric": lambda f: (f(2.5, SumMetric()), lambda s, m: f(2.5, s)),
    "metric and tensor": lambda f: (f(SumMetric(), torch.tensor([1.0, -2.0])), lambda s, m: f(s, torch.tensor([1.0, -2.0]))),
    "tensor and metric": lambda f: (f(torch.tensor([1.0, -2.0]), SumMetric()), lambda s, m: f(torch.tensor([1.0, -2.0]), s)),
}
FLOATS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge", "eq", "ne")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FLOATS)
def test_an_operator_is_that_of_the_values(name, shape):
    formula, expected = SHAPES[shape](getattr(operator, name))
    assert isinstance(formula, CompositionalMetric)
    x, y = torch.tensor([1.0, 3.0]), torch.tensor([5.0])
    torch.testing.assert_close(formula(x), expected(x.sum(), x.max()))
    formula.update(y)
    whole = torch.cat([x, y])
    torch.testing.assert_close(formula.compute(), expected(whole.sum(), whole.max()))
    torch.testing.assert_close(formula.of(y), expected(y.sum(), y.max()))
    torch.testing.assert_close(formula.batch_value(), expected(y.sum(), y.max()))
    assert formula.update_count == 2


class Bits(SumMetric):
    """A sum of integers, as integers."""

    def value(self, sum_value):
        return sum_value.long()


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_operators_of_integers(name):
    function = getattr(operator, name)
    assert int(function(Bits(), 1)(torch.tensor([5]))) == function(5, 1)
    assert int(function(1, Bits())(torch.tensor([5]))) == function(1, 5)
    assert int((~Bits())(torch.tensor([5]))) == ~5


def test_matrices_signs_and_indices():
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    torch.testing.assert_close((CatMetric() @ rows)(rows), rows @ rows)
    torch.testing.assert_close((rows @ CatMetric())(2 * rows), 2 * rows @ rows)
    torch.testing.assert_close((-abs(CatMetric()))(rows), -rows.abs())
    torch.testing.assert_close((+CatMetric())(rows), rows)
    torch.testing.assert_close(CatMetric()[1](rows), rows[1])
    torch.testing.assert_close(CatMetric()[1:, 0](rows), rows[1:, 0])
    torch.testing.assert_close(CatMetric()[..., -1](rows), rows[..., -1])
    assert float(family.Spread()["high"](*A)) == 3.0


def test_a_metric_takes_a_batch_once_however_often_it_appears():
    a, b = family.Total(), family.Average()
    formula = a * b / (a + b) + a
    family.calls.clear()
    value = formula(*A)
    assert family.calls == {"measure": 1, "merge": 1, "derive": 1}, "and what two metrics share is measured once for both"
    error = (A[0] - A[1]).double()
    s, m = error.sum(), error.mean()
    assert float(value) == pytest.approx(float(s * m / (s + m) + s))
    formula.update(*B)
    assert (a.update_count, b.update_count) == (2, 2)
    assert formula.metrics[0] is a
    assert formula.metrics[1] is b
    assert len(formula.metrics) == 2
    twice = MeanMetric()
    (twice + twice).update(3.0)
    assert twice.update_count == 1


def test_keyword_arguments_go_to_those_who_take_them():
    preds, target = A
    formula = family.Own() - family.Total()
    value = formula(preds, target=target, weight=2.0)
    assert float(value) == pytest.approx(float((2 * preds * target).sum() - (preds - target).sum()))
    with pytest.raises(TypeError, match="CompositionalMetric: unexpected argument 'weigth'"):
        formula.update(preds, target, weigth=2.0)


@pytest.mark.parametrize("verb", ["update", "forward"])
@pytest.mark.parametrize("last", [family.Own, family.Classic])
def test_all_metrics_take_a_batch_or_none(verb, last):
    first, second, third = family.Total(), family.Classic(), last()
    formula = first + second * third
    formula.update(*A)
    before = [copy.deepcopy(metric.metric_state) for metric in formula.metrics]
    bad = (torch.tensor([-1000.0, 1.0]), torch.zeros(2)) if last is family.Classic else (torch.ones(3), torch.ones(3, 1, 1)[:2])
    with pytest.raises((ValueError, RuntimeError)):
        getattr(formula, verb)(*bad)
    for metric, state in zip(formula.metrics, before, strict=True):
        assert metric.update_count == 1
        for name, field in state.items():
            now = metric.metric_state[name]
            torch.testing.assert_close(*(list(x) if isinstance(x, list) else x for x in (now, field)))


def test_an_operator_that_fails_says_so_at_once():
    with pytest.raises(RuntimeError):
        (CatMetric() @ torch.ones(3, 3))(torch.ones(2, 2))


def test_reset_reaches_the_metrics_and_a_metric_its_formulas():
    total = SumMetric()
    formula = total + 1
    total.update(2.0)
    assert float(formula.compute()) == 3
    total.update(1.0)
    assert float(formula.compute()) == 4, "no value is kept from before"
    formula.reset()
    assert total.update_count == 0
    assert formula.batch_value() is None
    with pytest.warns(UserWarning, match="SumMetric: compute was called before update"):
        assert float(formula.compute()) == 1


def test_copies_are_independent_and_keep_what_is_one():
    a = SumMetric()
    formula = a / (a + 1)
    formula.update(3.0)
    for twin in (formula.clone(), copy.deepcopy(formula), pickle.loads(pickle.dumps(formula))):
        assert float(twin(6.0)) == pytest.approx(6 / 7)
        assert float(twin.compute()) == pytest.approx(9 / 10)
        assert len(twin.metrics) == 1
    assert float(formula.compute()) == pytest.approx(3 / 4)


def test_a_value_remembers_the_formula_and_is_its_own():
    a = SumMetric()
    formula = +a
    value = formula(torch.tensor([1.0]))
    assert metric_of(value)[0] is formula
    computed = formula.compute()
    computed += 5
    assert (float(formula.compute()), float(a.compute())) == (1, 1)


def test_the_gradient_of_a_batch():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (SumMetric() ** 2)(x).backward()
    torch.testing.assert_close(x.grad, torch.full((2,), 6.0))


def test_merge_state_of_two_formulas():
    one, other = SumMetric() / MaxMetric(), SumMetric() / MaxMetric()
    one.update(torch.tensor([1.0, 2.0]))
    other.update(torch.tensor([5.0]))
    one.merge_state(other)
    assert float(one.compute()) == pytest.approx(8 / 5)
    with pytest.raises(ValueError, match="CompositionalMetric: merge_state got SumMetric"):
        one.merge_state(SumMetric())


def test_the_state_dict_holds_the_metrics_states():
    formula = SumMetric() + MaxMetric()
    formula.update(torch.tensor([2.0, 5.0]))
    assert formula.state_dict() == {}
    formula.persistent(True)
    loaded = SumMetric() + MaxMetric()
    loaded.persistent(True)
    loaded.load_state_dict(formula.state_dict())
    assert float(loaded.compute()) == 12


def test_dtype_and_device():
    formula = SumMetric() * torch.tensor(2.0)
    assert formula.set_dtype(torch.float64)(torch.tensor([1.0])).dtype == torch.float64
    formula.to("meta")
    assert formula.metric_b.device.type == "meta"
    module = torch.nn.Sequential(SumMetric() * torch.tensor(2.0))
    module.half()
    assert module[0].metric_b.dtype == torch.float32
    assert list(module.buffers()) == []


def test_repr_reads_as_the_formula():
    assert repr(SumMetric() + 2) == "CompositionalMetric(add(SumMetric(nan_strategy=warn), 2))"
    assert repr(-(SumMetric()[0])) == "CompositionalMetric(neg(CompositionalMetric(getitem(SumMetric(nan_strategy=warn), 0))))"


def test_what_is_no_formula():
    with pytest.raises(
        TypeError, match=r"CompositionalMetric: the operands are int and NoneType, but at least one Metric is needed\."
    ):
        CompositionalMetric(operator.neg, 1)
    with pytest.raises(TypeError, match="CompositionalMetric: operator is 'add', but a function"):
        CompositionalMetric("add", SumMetric(), 1)


def test_compiled():
    a = SumMetric(nan_strategy="disable")
    formula = 2 * a / (a + 1)
    step = torch.compile(lambda x: formula(x), fullgraph=True, backend="eager")
    for value in (1.0, 2.0, 3.0):
        x = torch.tensor([value, 1.0])
        torch.testing.assert_close(step(x), 2 * x.sum() / (x.sum() + 1))
    assert float(formula.compute()) == pytest.approx(18 / 10)
    assert a.update_count == 3


def job(rank, size):
    from tests.collection.test_collection import counted

    total, top = SumMetric(), MaxMetric()
    formula = total / top + total
    for value in range(rank):  # rank 0 has nothing
        formula.update(torch.tensor([1.0 + value]))
    first, taken = counted(formula.compute)
    again, anew = counted(formula.compute)
    formula.sync()
    inside = float(formula.compute())
    formula.unsync()
    return float(first), float(again), inside, taken, anew, total.update_count


def test_one_exchange(pool):
    total = sum(1.0 + value for rank in range(pool.size) for value in range(rank))
    expected = total / (pool.size - 1) + total
    for rank, (first, again, inside, taken, anew, updates) in enumerate(pool.run(job)):
        assert first == again == inside == pytest.approx(expected)
        assert (taken, anew, updates) == (1, 1, rank)
