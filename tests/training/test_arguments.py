"""The arguments of self.log: keys, defaults by hook, weights, reductions, and what is refused."""

from __future__ import annotations

import math
import types
import warnings

import numpy as np
import pytest
import torch

from tests.training.toys import Model, Rows, loader, trainer


class Calls(Model):
    """Calls back into the test, from any hook."""

    def __init__(self, **hooks):
        super().__init__()
        for name, hook in hooks.items():
            setattr(self, name, types.MethodType(hook, self))


def losing(hook):
    def training_step(self, batch, batch_idx):
        hook(self, batch, batch_idx)
        return Model.training_step(self, batch, batch_idx)

    return training_step


def fit(run=None, data=None, val=None, **hooks):
    run = run or trainer()
    module = Calls(**hooks)
    run.fit(module, data or loader(20, 8), val)
    return run.callback_metrics


def validate(hook, data=None, **options):
    run = trainer(**options)
    (result,) = run.validate(Calls(validation_step=hook), data or loader(20, 8), verbose=False)
    return result


@pytest.mark.parametrize(
    ("flags", "keys"),
    [
        ({}, {"x"}),  # training_step logs the step
        ({"on_epoch": True}, {"x", "x_step", "x_epoch"}),
        ({"on_step": False, "on_epoch": True}, {"x"}),
    ],
)
def test_keys_of_training(flags, keys):
    got = fit(training_step=losing(lambda self, batch, i: self.log("x", float(i), **flags)))
    assert set(got) == keys
    mean = (0 * 8 + 1 * 8 + 2 * 4) / 20
    if "x_epoch" in got:
        assert got["x_step"].item() == 2.0
        assert got["x"].item() == got["x_epoch"].item() == pytest.approx(mean)
    else:
        assert got["x"].item() == pytest.approx(mean if flags else 2.0)


def test_keys_of_validation_have_no_step():
    assert validate(lambda self, batch, i: self.log("x", float(i), on_step=True, on_epoch=True)) == {
        "x_epoch": pytest.approx(16 / 20)
    }


@pytest.mark.parametrize(
    ("reduce_fx", "value"),
    [
        ("mean", 16 / 20), ("avg", 16 / 20), (torch.mean, 16 / 20), ("SUM", 3.0), (sum, 3.0), ("min", 0.0), (torch.max, 2.0),
        (torch.median, 1.0), (lambda values: values.prod() + 7, 7.0),
    ],
)  # fmt: skip
def test_reductions(reduce_fx, value):
    if reduce_fx is torch.median:
        reduce_fx = lambda values: values.median()  # noqa: E731
    assert validate(lambda self, batch, i: self.log("x", float(i), reduce_fx=reduce_fx))["x"] == pytest.approx(value)


@pytest.mark.parametrize("defers", [False, True])
@pytest.mark.parametrize("reduce_fx", ["mean", "sum", "min", "max"])
def test_values_that_wait_on_a_device_give_the_same(defers, reduce_fx, monkeypatch):
    """As on an accelerator, more than a block of them; and a later change in place does no harm."""
    numbers = torch.randn(300, generator=torch.Generator().manual_seed(1))

    def hook(self, batch, i):
        self.trainer.logbook.defers = defers
        value = batch.clone()
        self.log("x", value, reduce_fx=reduce_fx, batch_size=i % 3 + 1)
        value.add_(1000)

    weights = np.array([i % 3 + 1 for i in range(300)], dtype=float)
    expected = {"mean": np.average(numbers.double(), weights=weights), "sum": numbers.double().sum().item()}
    expected |= {"min": numbers.min().item(), "max": numbers.max().item()}
    got = validate(hook, list(numbers))
    assert got["x"] == pytest.approx(expected[reduce_fx], rel=1e-6)


def test_batch_size_is_the_weight():
    assert validate(lambda self, batch, i: self.log("x", float(i), batch_size=1))["x"] == pytest.approx(1.0)


@pytest.mark.parametrize("defers", [False, True])
@pytest.mark.parametrize("value", [float, torch.tensor, lambda number: torch.tensor([number, number])])
def test_a_batch_size_may_be_none_of_a_batch_and_a_tensor(value, defers):
    """As where a mask leaves nothing of a batch: its mean is NaN, and counts for nothing."""

    def hook(self, batch, i):
        self.trainer.logbook.defers = defers
        self.log("x", value([math.nan, 4.0, 7.0][i]), batch_size=torch.tensor(i))
        self.log("y", value([5.0, 4.0, 7.0][i]), batch_size=i)
        self.log("nothing", value(1.0), batch_size=0)

    got = validate(hook)
    assert got["x"] == got["y"] == pytest.approx((1 * 4 + 2 * 7) / 3)
    assert math.isnan(got["nothing"])


def test_a_vector_of_samples_is_their_mean():
    got = validate(lambda self, batch, i: self.log("x", batch[0][:, 0]))
    assert got["x"] == pytest.approx(loader(20, 20).dataset.tensors[0][:, 0].mean().item(), rel=1e-5)


def test_a_constant_is_itself():
    assert validate(lambda self, batch, i: self.log("x", 1.0))["x"] == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_logged_as_it_is(value):
    got = validate(lambda self, batch, i: self.log("x", value, reduce_fx="max"))["x"]
    assert got == value or (math.isnan(got) and math.isnan(value))


@pytest.mark.parametrize("value", [1, True, np.float32(1.0), np.array(1.0), torch.tensor([[1]]), torch.tensor(True)])
def test_numbers_of_all_kinds(value):
    assert validate(lambda self, batch, i: self.log("x", value))["x"] == 1.0


@pytest.mark.parametrize("value", ["high", None, [1.0], {"a": 1.0}, object(), 1j])
def test_other_things_are_refused(value):
    with pytest.raises(TypeError, match=r"self\.log\('x'\)"):
        validate(lambda self, batch, i: self.log("x", value))


@pytest.mark.parametrize("value", [torch.zeros(2, 2), torch.zeros(3, dtype=torch.int64), torch.zeros(0)])
def test_tensors_of_other_shapes_are_refused(value):
    with pytest.raises(ValueError, match=r"self\.log\('x'\)"):
        validate(lambda self, batch, i: self.log("x", value))


def test_other_arguments_for_a_key_are_an_error_that_shows_both():
    def hook(self, batch, i):
        self.log("x", 1.0)
        self.log("x", 1.0, prog_bar=True)

    with pytest.raises(ValueError, match=r"prog_bar=True.*prog_bar=False"):
        validate(hook)


def test_arguments_that_mean_the_same_are_no_others():
    def hook(self, batch, i):
        self.log("x", 1.0)
        self.log("x", 2.0, on_step=False, on_epoch=True, logger=True)

    assert validate(hook)["x"] == 1.5


def test_a_key_is_for_one_quantity():
    from epochal.aggregation import MeanMetric

    class Both(Model):
        def __init__(self):
            super().__init__()
            self.metric = MeanMetric()

        def validation_step(self, batch, batch_idx):
            self.log("x", self.metric(1.0) if batch_idx else 1.0)

    with pytest.raises(ValueError, match="before"):
        trainer().validate(Both(), loader(20, 8), verbose=False)


def test_neither_step_nor_epoch_is_an_error():
    with pytest.raises(ValueError, match="on_step and on_epoch"):
        validate(lambda self, batch, i: self.log("x", 1.0, on_epoch=False))


@pytest.mark.parametrize("hook", ["on_fit_start", "on_train_end", "on_validation_end", "configure_optimizers", "setup"])
def test_hooks_that_cannot_log_say_so(hook):
    with pytest.raises(RuntimeError, match=r"self\.log\('x'\)"):
        fit(val=loader(20, 8), validation_step=lambda self, batch, i: None, **{hook: lambda self, *a: self.log("x", 1.0)})


def test_places_that_are_no_hooks_are_named():
    class InInit(Model):
        def __init__(self):
            super().__init__()
            self.log("x", 1.0)

    class InOptimizers(Model):
        def configure_optimizers(self):
            self.note()
            return super().configure_optimizers()

        def note(self):
            self.log("x", 1.0)

    with pytest.raises(RuntimeError, match=r"InInit\.__init__: self\.log was called in it"):
        InInit()
    module = InOptimizers()
    with pytest.raises(RuntimeError, match="it was called in configure_optimizers, but nothing can be logged there"):
        trainer().fit(module, loader())


def test_a_name_is_a_string():
    with pytest.raises(ValueError, match=r"self\.log: name is 3, but a string is needed"):
        fit(training_step=lambda self, batch, i: self.log(3, 1.0))


def test_on_step_in_an_epochs_hook_is_refused():
    with pytest.raises(ValueError, match="on_train_epoch_end"):
        fit(on_train_epoch_end=lambda self: self.log("x", 1.0, on_step=True))


def test_an_unknown_batch_size_is_an_error_only_where_it_matters():
    data = ["a", "b"]
    assert validate(lambda self, batch, i: self.log("x", 1.0, reduce_fx="sum"), data) == {"x": 2.0}
    with pytest.raises(ValueError, match="batch_size"):
        validate(lambda self, batch, i: self.log("x", 1.0), data)


def test_without_a_trainer_it_warns_once():
    module = Model()
    with pytest.warns(UserWarning, match="without a Trainer"):
        module.log("x", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.log("x", 1.0)


def two(hook, loaders=None, **options):
    run = trainer(**options)
    return run.validate(Calls(validation_step=hook), loaders or [loader(20, 8), loader(4, 8)], verbose=False)


def test_two_loaders_end_in_their_number():
    first, second = two(lambda self, batch, i, j: self.log("x", float(j)))
    assert (first, second) == ({"x/dataloader_idx_0": 0.0}, {"x/dataloader_idx_1": 1.0})


def test_named_loaders_end_in_their_name():
    named = {"a": loader(20, 8), "b": loader(4, 8)}
    assert two(lambda self, batch, i, j: self.log("x", float(j)), named) == [{"x/a": 0.0}, {"x/b": 1.0}]


def test_a_bare_key_of_two_loaders_is_an_error():
    with pytest.raises(ValueError, match="loaders 0 and 1"):
        two(lambda self, batch, i, j: self.log("x", 1.0, add_dataloader_idx=False))
    got = two(lambda self, batch, i, j: self.log(f"x{j}", float(j), add_dataloader_idx=False))
    assert got == [{"x0": 0.0}, {"x1": 1.0}]


def test_logger_false_keeps_a_key_out_of_the_logs():
    rows, run = Rows(), None
    run = trainer(logger=rows)
    got = fit(run, training_step=losing(lambda self, b, i: self.log("x", 1.0, logger=False, on_epoch=True)))
    assert set(got) == {"x", "x_step", "x_epoch"}
    assert rows.rows == []
    assert run.logged_metrics == {}


def test_prog_bar_values_are_floats():
    run = trainer()
    fit(run, training_step=losing(lambda self, b, i: self.log("x", torch.tensor(2.0), prog_bar=True)))
    assert run.progress_bar_metrics == {"x": 2.0}


def test_logged_values_are_visible_at_once():
    seen = []

    def hook(self, batch, i):
        self.log("x", float(i), on_epoch=True)
        seen.append({key: value.item() for key, value in self.trainer.callback_metrics.items()})

    fit(training_step=losing(hook))
    assert seen == [{"x": float(i), "x_step": float(i)} for i in range(3)]


def test_step_rows_come_every_n_steps_with_a_zero_based_x():
    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=2, max_epochs=2)
    fit(run, training_step=losing(lambda self, b, i: self.log("x", float(i), on_epoch=True)))
    assert rows.of("x_step") == [(1, 1.0), (3, 0.0), (5, 2.0)]
    assert rows.of("x_epoch") == [(2, pytest.approx(0.8)), (5, pytest.approx(0.8))]
    assert rows.of("epoch") == [(1, 0), (2, 0), (3, 1), (5, 1), (5, 1)]


def test_a_step_value_is_sent_once_at_its_own_step():
    rows = Rows()

    def hook(self, batch, i):
        if i == 1:
            self.log("rare", 1.0)
        self.log("often", float(i))

    fit(trainer(logger=rows, log_every_n_steps=4), loader(64, 8), training_step=losing(hook))
    assert rows.of("rare") == [(1, 1.0)]
    assert rows.of("often") == [(3, 3.0), (7, 7.0)]


def test_the_history_is_what_the_loggers_got():
    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=1)
    fit(run, training_step=losing(lambda self, b, i: self.log("x", float(i))))
    assert run.history["x"] == [value for _, value in rows.of("x")] == [0.0, 1.0, 2.0]
    assert run.history["step"] == [0, 1, 2]
