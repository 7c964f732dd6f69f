"""The Trainer: its flags, its verbs, and optimization."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import epochal.training as pl
from tests.training.toys import Model, Rows, dataset, loader, trainer


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def by_hand(lr=0.5, epochs=1, batch_size=8, clip=None, optimizer=torch.optim.SGD):
    """The same training in plain PyTorch."""
    module = Model(lr)
    stepper = optimizer(module.parameters(), lr)
    for _ in range(epochs):
        for x, y in loader(batch_size=batch_size):
            stepper.zero_grad()
            nn.functional.cross_entropy(module.layer(x), y).backward()
            if clip:
                clip(list(module.parameters()))
            stepper.step()
    return weights(module)


def test_fit_is_plain_training():
    module, run = Model(lr=0.5), trainer(max_epochs=3)
    run.fit(module, loader())
    assert torch.equal(weights(module), by_hand(epochs=3))
    assert (run.global_step, run.current_epoch) == (21, 3)


def test_accumulation_is_a_larger_batch():
    module, run = Model(lr=0.5), trainer(accumulate_grad_batches=4)
    data = DataLoader(TensorDataset(*[t[:48] for t in dataset().tensors]), 4)
    run.fit(module, data)
    expected = Model(lr=0.5)
    trainer().fit(expected, DataLoader(data.dataset, 16))
    torch.testing.assert_close(weights(module), weights(expected))
    assert run.global_step == 3


def test_the_x_axis_counts_optimizer_steps():
    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("i", float(batch_idx))
            return super().training_step(batch, batch_idx)

    rows = Rows()
    trainer(accumulate_grad_batches=2, max_epochs=2, log_every_n_steps=1, logger=rows).fit(Logs(), loader(40, 8))
    assert rows.of("i") == [(0, 1.0), (1, 3.0), (2, 4.0), (3, 1.0), (4, 3.0), (5, 4.0)]


def test_the_x_axis_goes_on_with_another_module():
    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("a", 1.0, on_epoch=True)
            return super().training_step(batch, batch_idx)

    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=1)
    for run.max_epochs in (1, 2):
        run.fit(Logs(), loader(16))
    assert [step for step, _ in rows.rows] == [0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped(algorithm):
    module = Model(lr=0.5)
    trainer(gradient_clip_val=0.1, gradient_clip_algorithm=algorithm).fit(module, loader())
    clip = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}[algorithm]
    assert torch.equal(weights(module), by_hand(clip=lambda p: clip(p, 0.1)))
    assert not torch.equal(weights(module), by_hand())


def configured(form):
    module = Model(lr=1.0)
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    module.configure_optimizers = lambda: {
        "optimizer": optimizer,
        "a list": [optimizer],
        "lists": ([optimizer], [scheduler]),
        "lists of dicts": ([optimizer], [{"scheduler": scheduler, "interval": "step"}]),
        "dict": {"optimizer": optimizer, "lr_scheduler": scheduler},
        "dict of dicts": {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 2}},
    }[form]
    return module, optimizer


@pytest.mark.parametrize(
    ("form", "rate"),
    [("optimizer", 1), ("a list", 1), ("lists", 0.25), ("lists of dicts", 2**-6), ("dict", 0.25), ("dict of dicts", 2**-3)],
)
def test_forms_of_configure_optimizers(form, rate):
    module, optimizer = configured(form)
    trainer(max_epochs=2).fit(module, loader(24, 8))
    assert optimizer.param_groups[0]["lr"] == rate


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_plateau_waits_for_the_epochs_value():
    class Plateau(Model):
        def training_step(self, batch, batch_idx):
            self.log("level", 1.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": self.monitor}

    module = Plateau()
    module.monitor = "level"
    run = trainer(max_epochs=3)
    run.fit(module, loader(8, 8))
    assert run.optimizers[0].param_groups[0]["lr"] == 0.25
    module.monitor = "nowhere"
    with pytest.raises(ValueError, match=r"nowhere.*level"):
        trainer().fit(module, loader(8, 8))


def test_manual_optimization():
    class Manual(Model):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    module, run = Manual(), trainer()
    module.lr = 0.5
    run.fit(module, loader())
    assert torch.equal(weights(module), by_hand())
    assert run.global_step == 7


def test_an_optimizer_that_needs_a_closure():
    class Newton(Model):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)

    module = Newton()
    before = weights(module)
    trainer().fit(module, loader())
    assert not torch.equal(before, weights(module))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(precision):
    kinds = []

    class Looks(Model):
        def __init__(self):
            super().__init__(lr=0.5)

        def training_step(self, batch, batch_idx):
            kinds.append(self.layer(batch[0]).dtype)
            return super().training_step(batch, batch_idx)

    module = Looks()
    trainer(precision=precision).fit(module, loader())
    assert set(kinds) == {torch.float64 if precision == "64-true" else torch.bfloat16}
    torch.testing.assert_close(weights(module).float(), by_hand(), atol=0.05, rtol=0.05)


# --- verbs -----------------------------------------------------------------------------------------------------------------


class Evaluates(Model):
    def validation_step(self, batch, batch_idx):
        self.log("val", float(len(batch[0])), reduce_fx="sum")

    def test_step(self, batch, batch_idx):
        self.log("test", float(len(batch[0])), reduce_fx="sum")

    def predict_step(self, batch, batch_idx):
        return self.layer(batch[0])


def test_validate_and_test_return_and_print_their_values(capsys):
    module, run = Evaluates(), trainer()
    assert run.validate(module, loader()) == [{"val": 53.0}]
    assert run.test(dataloaders=loader(20, 8), verbose=True) == [{"test": 20.0}]
    printed = capsys.readouterr().out
    assert "DataLoader 0" in printed
    assert "53" in printed
    run.test(module, loader(), verbose=False)
    assert capsys.readouterr().out == ""


def test_predict_returns_what_the_steps_did():
    module, run = Evaluates(), trainer()
    found = run.predict(module, loader())
    torch.testing.assert_close(torch.cat(found), module.layer(dataset().tensors[0]).detach())
    assert [len(part) for part in run.predict(module, [loader(8, 4), loader(4, 4)])] == [2, 1]
    assert run.predict(module, loader(), return_predictions=False) is None


def test_evaluation_keeps_modes_and_gradients():
    module = Evaluates()
    module.frozen = nn.Dropout().eval()
    modes = []
    module.predict_step = lambda batch, batch_idx: modes.append((module.training, torch.is_grad_enabled()))
    trainer().predict(module, loader(8, 8))
    assert modes == [(False, False)]
    assert (module.training, module.frozen.training, torch.is_grad_enabled()) == (True, False, True)


def test_a_datamodule_hands_out_the_loaders():
    data = pl.LightningDataModule.from_datasets(dataset(16), dataset(9), dataset(5), batch_size=4)
    module, run = Evaluates(), trainer()
    run.fit(module, data)
    assert run.global_step == 4
    assert run.callback_metrics["val"] == 9
    assert run.test(module, datamodule=data, verbose=False) == [{"test": 5.0}]


@pytest.mark.parametrize(
    ("flags", "steps", "epochs"),
    [
        ({"max_epochs": 2}, 14, 2),
        ({"max_epochs": None, "max_steps": 10}, 10, 2),
        ({"max_epochs": 2, "limit_train_batches": 3}, 6, 2),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 6, 2),
        ({"max_epochs": 0}, 0, 0),
        ({"max_epochs": 5, "fast_dev_run": 2}, 2, 1),
    ],
)
def test_limits(flags, steps, epochs):
    run = trainer(**flags)
    run.fit(Model(), loader())
    assert (run.global_step, run.current_epoch) == (steps, epochs)


@pytest.mark.parametrize(
    ("flags", "validations"),
    [
        ({}, 4),
        ({"check_val_every_n_epoch": 2}, 2),
        ({"val_check_interval": 2}, 12),
        ({"val_check_interval": 0.5}, 8),
        ({"limit_val_batches": 0}, 0),
    ],
)
def test_when_validation_runs(flags, validations):
    class Counts(Evaluates):
        ran = 0

        def on_validation_epoch_end(self):
            self.ran += 1

    module = Counts()
    trainer(max_epochs=4, **flags).fit(module, loader(48, 8), loader(8, 8))
    assert module.ran == validations


def test_should_stop_ends_the_fit():
    class Stops(Model):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = batch_idx == 2

    run = trainer(max_epochs=5)
    run.fit(Stops(), loader())
    assert run.global_step == 3


@pytest.mark.parametrize(("minimum", "steps", "epochs"), [({"min_epochs": 3}, 6, 3), ({"min_steps": 3}, 3, 2)])
def test_a_stop_waits_for_the_minimum(minimum, steps, epochs):
    class Stops(Model):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = True

    run = trainer(max_epochs=9, **minimum)
    run.fit(Stops(), loader(16, 8))
    assert (run.global_step, run.current_epoch) == (steps, epochs)


# --- flags -----------------------------------------------------------------------------------------------------------------


def test_flags_are_those_that_users_type():
    contract = Path(__file__).parent / "contract.json"
    wanted = json.loads(contract.read_text())["Trainer"]["__init__"].removeprefix("*, ")
    known = inspect.signature(pl.Trainer.__init__).parameters
    for text in wanted.split(", "):
        name, default = text.split("=")
        assert known[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert repr(known[name].default) == default, name


def test_an_unknown_flag_names_the_closest():
    with pytest.raises(TypeError, match="max_epochs"):
        trainer(max_epoch=3)


@pytest.mark.parametrize(
    ("module", "error", "match"),
    [
        (nn.Linear(1, 1), TypeError, "LightningModule"),
        (pl.LightningModule(), ValueError, "training_step"),
    ],
)
def test_what_cannot_train_says_so(module, error, match):
    with pytest.raises(error, match=match):
        trainer().fit(module, loader())


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        (lambda loss: loss.item(), TypeError, "float"),
        (lambda loss: loss.detach(), ValueError, "no graph"),
        (lambda loss: "a", TypeError, "str"),
    ],
)
def test_a_loss_that_is_none_says_so(returned, error, match):
    class Wrong(Model):
        def training_step(self, batch, batch_idx):
            return returned(super().training_step(batch, batch_idx))

    with pytest.raises(error, match=match):
        trainer().fit(Wrong(), loader())


def test_no_data_and_several_optimizers_say_so():
    with pytest.raises(ValueError, match="train_dataloader"):
        trainer().fit(Model())
    module = Model()
    module.configure_optimizers = lambda: [torch.optim.SGD(module.parameters(), 0.1) for _ in range(2)]
    with pytest.raises(ValueError, match=r"optimizer_idx.*automatic_optimization"):
        trainer().fit(module, loader())


def test_modules_are_copied_and_pickled_without_their_run():
    module = Model()
    trainer().fit(module, loader())
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(weights(twin), weights(module))
        with pytest.raises(RuntimeError, match="no run"):
            _ = twin.trainer


def test_hyperparameters_are_kept_and_logged(tmp_path):
    class Keeps(Model):
        def __init__(self, lr=0.1, depth=2, **more):
            super().__init__(lr)
            self.save_hyperparameters(ignore="depth")

    module = Keeps(0.2, width=3)
    assert dict(module.hparams) == {"lr": 0.2, "width": 3}
    assert module.hparams.width == 3
    trainer(logger=pl.loggers.CSVLogger(tmp_path)).fit(module, loader())
    assert (tmp_path / "lightning_logs/version_0/hparams.yaml").read_text() == "lr: 0.2\nwidth: 3\n"


def test_deterministic_is_the_users_own_where_the_flag_is_left_out():
    torch.use_deterministic_algorithms(True)
    try:
        trainer().fit(Model(), loader())
        assert torch.are_deterministic_algorithms_enabled()
        trainer(deterministic=False).fit(Model(), loader())
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_state_says_what_was_asked_for_how_it_stands_and_what_goes_on():
    from epochal.training.trainer.states import RunningStage, TrainerFn, TrainerStatus

    seen = []

    class Looks(pl.Callback):
        def on_validation_start(self, trainer, pl_module):
            seen.append(trainer.state)

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(trainer.state)
            if trainer.current_epoch:
                raise ZeroDivisionError

    class Validates(Model):
        def validation_step(self, batch, batch_idx):
            return None

    run = trainer(callbacks=[Looks()], num_sanity_val_steps=1, max_epochs=2)
    assert run.state == (TrainerStatus.INITIALIZING, None, None)
    with pytest.raises(ZeroDivisionError):
        run.fit(Validates(), loader(8, 8), loader(8, 8))
    stages = [RunningStage.SANITY_CHECKING, RunningStage.TRAINING, RunningStage.VALIDATING, RunningStage.TRAINING]
    assert seen == [(TrainerStatus.RUNNING, TrainerFn.FITTING, stage) for stage in stages]
    assert run.interrupted
    assert (run.state.stopped, run.state.finished) == (True, False)
    run.validate(Validates(), loader(8, 8), verbose=False)
    assert run.state == ("finished", "validate", None)
    assert run.state.finished


@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_lightnings_own_early_stopping_reads_the_state():
    from lightning.pytorch.callbacks import EarlyStopping

    class Logs(Model):
        def validation_step(self, batch, batch_idx):
            self.log("val", 1.0)

    run = trainer(callbacks=[EarlyStopping("val", patience=1)], max_epochs=9)
    run.fit(Logs(), loader(8, 8), loader(8, 8))
    assert run.current_epoch == 2


def test_limits_that_were_not_given_are_all_of_the_data():
    run = trainer()
    limits = run.limit_train_batches, run.limit_val_batches, run.limit_test_batches, run.limit_predict_batches
    assert (*limits, run.val_check_interval) == (1.0,) * 5


def test_a_module_is_frozen_and_returned():
    module = Model()
    assert module.freeze() is module
    assert not module.training
    assert module.unfreeze() is module
    assert all(p.requires_grad for p in module.parameters())


def test_rank_zero_only_tells_the_rank(monkeypatch):
    assert pl.rank_zero_only.rank == 0
    monkeypatch.setenv("RANK", "3")
    assert pl.rank_zero_only.rank == 3


def test_a_compiled_module_is_compiled_in_place():
    with pytest.raises(TypeError, match=r"model is a OptimizedModule.* Call model\.compile\(\)"):
        trainer().fit(torch.compile(Model(), backend="eager"), loader(8, 8))
    module, run = Model(), trainer()
    module.compile(backend="eager")
    run.fit(module, loader(8, 8))
    assert run.global_step == 1
