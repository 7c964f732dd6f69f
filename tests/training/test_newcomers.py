"""What a newcomer types first, and the mistakes that go with it."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

import epochal.training as pl
from epochal.training.signals import NOTICE
from tests.training.toys import Model, Rows, dataset, loader, trainer

ROOT = Path(__file__).parents[2]


def test_a_notebook_with_two_devices(tmp_path):
    """Weights, values, history and the folder of the logs come back, and a second verb goes on with them."""
    report = tmp_path / "report.json"
    subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.training.forked", report], cwd=ROOT, check=True, timeout=120)
    found = json.loads(report.read_text())
    assert found["progress"] == [2, 6]
    assert found["moved"]
    assert found["rows"] == 6 + 2 * 2  # steps; an epoch's rows of training and of validation
    assert found["log_dir_after"] == found["log_dir"]
    assert found["validated"]["val_loss"] == pytest.approx(found["metrics"]["val_loss"])
    first, second, again = found["history"]
    assert again == pytest.approx(second)
    assert found["best"] == pytest.approx(-min(first, second))


INTERRUPTED = """
import sys, time
import epochal.training as pl
from epochal.training.signals import NOTICE
from tests.training.toys import Model, loader

class Slow(Model):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        if batch_idx == 3:
            print("now", flush=True)
            time.sleep(float(sys.argv[2]))
        return loss

loggers = [pl.loggers.CSVLogger(sys.argv[1]), pl.loggers.TensorBoardLogger(sys.argv[1], "board")]
run = pl.Trainer(max_epochs=1, log_every_n_steps=1, accelerator="cpu", logger=loggers, enable_model_summary=False)
run.fit(Slow(), loader())
"""


@pytest.mark.parametrize("at_once", [False, True])
def test_ctrl_c_ends_with_code_1_and_readable_logs(at_once, tmp_path):
    """After the step that it came in, with a checkpoint; or at once, if it comes again."""
    command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED, tmp_path, "60" if at_once else "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() + process.stderr.readline() == NOTICE.decode()
        if at_once:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert bool(list(tmp_path.rglob("last.ckpt"))) != at_once
    assert "Interrupted in epoch 0." in out
    (path,) = tmp_path.rglob("metrics.csv")
    with open(path) as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "2", *["3"][at_once:]]
    board = EventAccumulator(str(tmp_path / "board/version_0")).Reload()
    assert [event.step for event in board.Scalars("loss")] == [0, 1, 2, *[3][at_once:]]


def test_an_interrupt_reaches_callbacks_before_it_ends_the_program():
    seen = []

    class Watches(pl.Callback):
        def on_exception(self, trainer, pl_module, exception):
            seen.append(type(exception))

    class Interrupted(Model):
        def validation_step(self, batch, batch_idx):
            raise KeyboardInterrupt

    run = trainer(callbacks=Watches())
    with pytest.raises(SystemExit):
        run.validate(Interrupted(), loader(), verbose=False)
    assert seen == [KeyboardInterrupt]
    assert run.interrupted


def test_a_folder_that_cannot_be_written_is_a_warning_and_other_loggers_go_on(tmp_path):
    (tmp_path / "file").touch()
    rows = Rows()

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", 1.0)
            return super().training_step(batch, batch_idx)

    run = trainer(logger=[pl.loggers.CSVLogger(tmp_path / "file"), rows], log_every_n_steps=1, max_epochs=2)
    with pytest.warns(RuntimeWarning, match="CSVLogger: .* failed with .*nothing more is logged there") as caught:
        run.fit(Logs(), loader())
    assert len(caught) == 1
    assert len(rows.of("x")) == 14
    assert len(run.loggers) == 2


class NoOptimizer(pl.LightningModule):
    def training_step(self, batch, batch_idx):
        """Nothing to train."""


@pytest.mark.parametrize(
    ("module", "data", "error", "match"),
    [
        (NoOptimizer(), loader(), ValueError, r"NoOptimizer has no configure_optimizers, .* Define configure_optimizers\(self\)"),
        (Model, loader(), TypeError, "model is a type, but an epochal LightningModule is needed. Derive it"),
        (Model(), dataset(), TypeError, "the data set TensorDataset came, but a loader of batches is needed. Wrap it"),
        (Model(), 3, TypeError, "3 came, but a loader is needed"),
    ],
)
def test_what_cannot_be_fitted_says_what_is_missing(module, data, error, match):
    with pytest.raises(error, match=match):
        trainer().fit(module, data)


def test_prediction_on_labelled_batches_says_what_to_define():
    class Forward(Model):
        def forward(self, x):
            return self.layer(x)

    with pytest.raises(TypeError, match=r"forward got a list of 2 and failed: .* Define predict_step"):
        trainer().predict(Forward(), loader())
    found = trainer().predict(Forward(), DataLoader(dataset().tensors[0], 8))
    assert torch.cat(found).shape == (53, 3)


def test_training_on_nothing_warns():
    with pytest.warns(UserWarning, match="the training loader has no batch"):
        trainer().fit(Model(), [])
    trainer(limit_train_batches=0).fit(Model(), loader())  # asked for

    class Forgot(Model):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)

    with pytest.warns(UserWarning, match="training_step: it returned None for each batch of an epoch"):
        trainer().fit(Forgot(), loader())

    class Skips(Model):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) if batch_idx else None

    trainer().fit(Skips(), loader())


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("max_epochs", -2),
        ("max_epochs", "3"),
        ("log_every_n_steps", -1),
        ("flush_logs_every_n_steps", 0),
        ("check_val_every_n_epoch", 0),
        ("num_sanity_val_steps", -2),
        ("accumulate_grad_batches", {0: 2}),
        ("limit_train_batches", 1.5),
        ("limit_val_batches", -1),
        ("val_check_interval", 1.5),
        ("val_check_interval", 0),
        ("gradient_clip_val", "much"),
        ("gradient_clip_algorithm", "cube"),
        ("callbacks", 3),
        ("callbacks", pl.Callback),
        ("logger", "csv"),
    ],
)
def test_a_flag_out_of_range_is_refused_at_once(flag, value):
    with pytest.raises((ValueError, TypeError), match=f"^Trainer: {flag} "):
        trainer(**{flag: value})


def test_a_seed_is_that_of_processes_that_are_started_later(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # so that it is brought back after the test
    monkeypatch.delenv("PL_GLOBAL_SEED")
    drawn = pl.seed_everything()
    program = "import random, epochal.training as pl; print(pl.seed_everything(), random.random())"
    started = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120, capture_output=True, text=True)
    seed, number = started.stdout.split()
    assert int(seed) == drawn == pl.seed_everything()
    assert float(number) == random.random()
    assert pl.seed_everything(np.int64(7)) == 7
    state = torch.get_rng_state()
    for bad in (-1, 2**32, "seven"):
        with pytest.raises(ValueError, match=rf"seed_everything: seed is {bad!r}, but an integer from 0 to 2\*\*32 - 1 is needed"):
            pl.seed_everything(bad)
    monkeypatch.setenv("PL_GLOBAL_SEED", "x")
    with pytest.raises(ValueError, match="seed_everything: PL_GLOBAL_SEED is 'x'"):
        pl.seed_everything()
    assert torch.equal(torch.get_rng_state(), state)


def test_the_steps_of_a_fit_that_does_not_run():
    with pytest.raises(ValueError, match=r"Trainer.estimated_stepping_batches: no fit runs, .*configure_optimizers"):
        trainer().estimated_stepping_batches  # a property
