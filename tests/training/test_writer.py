"""Rows reach the loggers off the training thread, in order, when they are due; several loggers at once, of other libraries, too."""

from __future__ import annotations

import csv
import importlib.util
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import epochal.training as pl
from epochal import Metric, MetricCollection
from epochal.classification import MulticlassConfusionMatrix
from epochal.plot import curve
from epochal.training import storage
from epochal.training.loggers import CSVLogger, TensorBoardLogger
from epochal.training.loggers.writer import Writer
from tests.training.toys import CLASSES, Model, Rows, loader, trainer

ROOT = Path(__file__).parents[2]


class Records(Rows):
    """What came, on which thread; waits at the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.gate = threading.Event()
        self.gate.set()

    def log_metrics(self, metrics, step=None):
        assert self.gate.wait(60)
        super().log_metrics(metrics, step)
        self.calls.append("row")
        self.threads.add(threading.current_thread())

    def flush(self):
        self.calls.append("flush")

    def save(self):
        self.calls.append("save")

    def finalize(self, status):
        self.calls.append(status)


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_rows_are_held_until_they_are_due(monkeypatch):
    monkeypatch.setattr(Writer, "HOLD", 3600.0)
    logger = Records()
    writer = Writer([logger], flush_every=3)
    for step in range(2):
        writer.send_row({"a": 1.0}, step)
    assert logger.calls == []
    writer.send_row({"a": 1.0}, 2)
    wait_for(lambda: len(logger.calls) == 4)
    writer.send_row({"a": 1.0}, 3)
    writer.send("save")
    writer.send("finalize", "success")
    assert logger.calls == ["row", "row", "row", "flush", "row", "save", "success"]
    assert logger.of("a") == [(step, 1.0) for step in range(4)]
    assert threading.current_thread() not in logger.threads


def test_rows_are_written_after_a_while_though_no_other_comes(monkeypatch):
    monkeypatch.setattr(Writer, "HOLD", 0.01)
    logger = Records()
    writer = Writer([logger])
    writer.send_row({"a": 1.0}, 0)
    wait_for(lambda: logger.calls == ["row", "flush"])
    writer.drain()


def test_a_slow_logger_does_not_stop_the_run_until_too_much_waits(monkeypatch):
    logger = Records()
    logger.gate.clear()
    writer = Writer([logger], flush_every=1)
    monkeypatch.setattr(writer, "LONGEST", 50)
    for step in range(40):
        writer.send_row({"a": 1.0}, step)
    assert logger.rows == []
    threading.Timer(0.05, logger.gate.set).start()
    for step in range(40, 60):
        writer.send_row({"a": 1.0}, step)
    writer.drain()
    assert [step for step, _ in logger.rows] == list(range(60))


class Mine(CSVLogger):
    """A user's own: it changes each row, and its address does not answer at the second."""

    def log_metrics(self, metrics, step=None):
        super().log_metrics({f"my/{key}": value for key, value in metrics.items()}, step)
        if step == 1:
            raise storage.Unreachable("nobody answers", "Wait.")


def test_many_rows_go_out_at_once_but_not_past_somebodys_log_metrics(tmp_path):
    class Many(Rows):
        def log_rows(self, rows):
            rows = list(rows)
            sizes.append(len(rows))
            self.rows += [(step, dict(row)) for row, step in rows]

    class Own(Many):
        def log_metrics(self, metrics, step=None):
            super().log_metrics({"own": metrics["a"]}, step)

    sizes: list[int] = []
    many, own, mine, patched = Many(), Own(), Mine(tmp_path), Many()
    patched.log_metrics = patched.log_metrics
    writer = Writer([many, own, mine, patched])
    for step in range(5):
        writer.send_row({"a": float(step)}, step)
    writer.send("save")
    with pytest.warns(RuntimeWarning, match="nobody answers"):
        writer.drain()
    assert sizes == [5]
    assert many.of("a") == own.of("own") == patched.of("a") == [(step, float(step)) for step in range(5)]
    with open(mine.path) as file:
        assert file.read().split() == ["my/a,step", *(f"{step}.0,{step}" for step in range(5))]


def test_a_logger_may_change_its_rows():
    class Changes(Rows):
        def log_metrics(self, metrics, step=None):
            metrics.pop("epoch")
            metrics["loss"] *= 100

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("loss", 1.0)
            self.log("count", torch.tensor(3))
            return super().training_step(batch, batch_idx)

    rows = Rows()
    run = trainer(logger=[Changes(), rows], log_every_n_steps=1)
    run.fit(Logs(), loader(16))
    assert rows.rows == [(step, {"epoch": 0, "loss": 1.0, "count": 3.0}) for step in range(2)]
    assert list(run.history.rows) == [{**row, "step": step} for step, row in rows.rows]
    assert type(run.history["count"][0]) is float


def test_the_smallest_number_of_rows_counts_and_a_copy_begins_anew(tmp_path):
    writer = Writer([CSVLogger(tmp_path, flush_logs_every_n_steps=7), Rows()], flush_every=20)
    writer.send_row({"a": 1.0}, 0)
    assert pickle.loads(pickle.dumps(writer)).flush_every == writer.flush_every == 7
    writer.drain()


@pytest.mark.parametrize("error", [OSError("full"), SystemExit("full")])  # an exit ends no thread that others wait for
def test_a_logger_that_fails_later_warns_once_on_the_training_thread(error):
    class Fails(Records):
        def save(self):
            raise error

    logger, other = Fails(), Records()
    writer = Writer([logger, other])

    def write() -> None:
        for _ in range(3):
            writer.send_row({"a": 1.0}, 0)
            writer.send("save")
            writer.drain()

    with pytest.warns(RuntimeWarning, match=r"Fails: save failed with \w+: full, but nothing more is logged there") as caught:
        write()
    assert len(caught) == 1
    assert len(logger.rows) == 1
    assert len(other.rows) == 3


class Logs(Model):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"lr": 0.25})
        self.matrix = MulticlassConfusionMatrix(num_classes=CLASSES)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.matrix(self.layer(x).argmax(1), y)
        self.log("matrix", self.matrix)
        self.log("val", 1.0)


def rows_of(path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


def board(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_several_loggers_and_a_matrix_that_is_drawn_where_it_can_be(tmp_path):
    loggers = [CSVLogger(tmp_path, "csv"), TensorBoardLogger(tmp_path, "board"), TensorBoardLogger("memory://several")]
    run = trainer(logger=loggers, log_every_n_steps=1, max_epochs=2, num_sanity_val_steps=1)
    run.fit(Logs(), loader(), loader())
    assert run.callback_metrics["matrix"].shape == (CLASSES, CLASSES)
    rows = rows_of(tmp_path / "csv/version_0/metrics.csv")
    assert list(rows[0]) == ["epoch", "loss", "step", "val"]
    assert len(rows) == 2 * (7 + 1)
    for folder in (tmp_path / "board/version_0", "memory://several/lightning_logs/version_0"):
        found = board(folder)
        assert [event.value for event in found.Scalars("loss")] == pytest.approx(run.history["loss"])
        assert [event.step for event in found.Scalars("val")] == [6, 13]
        assert [event.step for event in found.Images("matrix")] == [6, 13]
        assert "hparams" in found.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name
    assert (tmp_path / "csv/version_0/hparams.yaml").read_text() == "lr: 0.25\n"


def test_hyperparameters_stand_beside_those_of_earlier_calls(tmp_path):
    logs = pl.loggers.CSVLogger(tmp_path, name="csv")
    logs.log_hyperparams({"cfg": "big", "lr": 1})
    module = Model()
    module.hparams.update(lr=0.25)
    trainer(logger=logs).fit(module, loader(8, 8))
    assert (tmp_path / "csv/version_0/hparams.yaml").read_text() == 'cfg: "big"\nlr: 0.25\n'


class Rates(Metric):
    """True and false positives of the class 0 at three thresholds: a curve, of one line or of two."""

    plot = curve(x=("False positives", 0), y=("True positives", 1))

    def __init__(self, lines: int | None = None):
        super().__init__()
        self.lines = lines
        self.add_state("table", torch.zeros(2, 2, 3, dtype=torch.int64), dist_reduce_fx="sum")

    def measure(self, preds, target):
        above = preds[:, None] >= torch.tensor([0.75, 0.5, 0.25])
        truth = (target == 0)[:, None]
        return {"table": torch.stack([torch.stack([(hit & truth).sum(0), (~hit & truth).sum(0)]) for hit in (~above, above)])}

    def value(self, table):
        found = (table[1, 1] / 53, table[1, 0] / 53)
        return found if self.lines is None else tuple([points] * self.lines for points in found)


@pytest.mark.parametrize("lines", [None, 2])
@pytest.mark.parametrize("style", ["object", "returned", "computed", "collection"])
def test_a_curve_is_drawn(tmp_path, style, lines):
    class Curves(Model):
        def __init__(self):
            super().__init__()
            self.rates = Rates(lines)
            self.several = MetricCollection([self.rates.clone()], prefix="val_")

        def validation_step(self, batch, batch_idx):
            x, y = batch
            scores = self.layer(x).softmax(1)[:, 0]
            output = self.rates(scores, y)
            self.several.update(scores, y)
            if style == "collection":
                self.log_dict(self.several)
            elif style != "computed":
                self.log("val_Rates", self.rates if style == "object" else output)

        def on_validation_epoch_end(self):
            if style == "computed":
                self.log("val_Rates", self.rates.compute())

    run = trainer(logger=[TensorBoardLogger(tmp_path), CSVLogger(tmp_path, "rows")], max_epochs=2)
    run.fit(Curves(), loader(), loader())
    first, second = board(run.log_dir).Images("val_Rates")
    assert (first.step, second.step) == (6, 13)
    figure = Figure()
    run.lightning_module.rates.plot(run.callback_metrics["val_Rates"], ax=figure)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [3] * (lines or 1)
    assert run.logbook.loggers == run.loggers


def test_a_picture_that_fails_is_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("no ink")

    monkeypatch.setattr(TensorBoardLogger, "log_figure", refuse)
    run = trainer(logger=TensorBoardLogger(tmp_path), max_epochs=2)
    with pytest.warns(
        RuntimeWarning, match=r"the picture of matrix failed with ValueError: no ink, but no more pictures"
    ) as caught:
        run.fit(Logs(), loader(), loader())
    assert len(caught) == 1
    assert len(board(run.log_dir).Scalars("val")) == 2


def test_loggers_of_lightning(tmp_path):
    from lightning.pytorch.loggers import CSVLogger as TheirCSV
    from lightning.pytorch.loggers import TensorBoardLogger as TheirBoard

    run = trainer(logger=[TheirCSV(tmp_path, "csv"), TheirBoard(tmp_path, "board")], log_every_n_steps=1, max_epochs=2)
    run.fit(Logs(), loader(), loader())
    rows = rows_of(tmp_path / "csv/version_0/metrics.csv")
    assert [float(row["loss"]) for row in rows if row["loss"]] == pytest.approx(run.history["loss"])
    assert [row["step"] for row in rows if row["val"]] == ["6", "13"]
    assert "lr: 0.25" in (tmp_path / "csv/version_0/hparams.yaml").read_text()
    assert sorted(event.step for event in board(tmp_path / "board/version_0").Scalars("loss")) == list(range(14))
    assert run.log_dir == str(tmp_path / "csv/version_0")


def test_loggers_are_told_of_each_checkpoint(tmp_path):
    """When the file is there, and the rows before it are written."""

    class Told(Records):
        def after_save_checkpoint(self, checkpoint_callback):
            self.calls.append(Path(checkpoint_callback.best_model_path).name)
            assert Path(checkpoint_callback.best_model_path).exists()

    logger = Told()
    checkpoints = pl.callbacks.ModelCheckpoint(tmp_path, "{epoch}")
    options = {"callbacks": checkpoints, "enable_checkpointing": True, "max_epochs": 2, "log_every_n_steps": 4}
    trainer(logger=[Records(), logger], **options).fit(Logs(), loader())
    kept = [call for call in logger.calls if call not in ("flush", "save")]
    assert kept == ["row", "epoch=0.ckpt", "row", "row", "epoch=1.ckpt", "success"]


def test_the_default_logger_is_tensorboard_where_it_is_installed(tmp_path, monkeypatch):
    for expected in range(2):
        for flag in (None, True):
            run = trainer(logger=flag, default_root_dir=tmp_path, log_every_n_steps=1)
            assert type(run.logger) is TensorBoardLogger
        run.fit(Logs(), loader())
        assert run.log_dir == str(tmp_path / f"lightning_logs/version_{expected}")
        assert len(board(run.log_dir).Scalars("loss")) == 7
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name, *rest))
    run = trainer(logger=True, default_root_dir=tmp_path, flush_logs_every_n_steps=7)
    assert type(run.logger) is CSVLogger
    assert run.logger.flush_logs_every_n_steps == 7
    assert trainer(logger=False).loggers == trainer(logger=True, fast_dev_run=True).loggers == []


def test_whatever_has_the_methods_is_a_logger():
    """As those of experiment trackers: ``experiment`` is opened before the first call, on the training thread."""

    class Tracker:
        name, version = "project", "a1b2"
        save_dir = None

        def __init__(self):
            self.calls, self.opened = [], []

        @property
        def experiment(self):
            self.opened.append((len(self.calls), threading.current_thread()))

        def log_hyperparams(self, params):
            self.calls.append(("hyperparameters", dict(params)))

        def log_metrics(self, metrics, step=None):
            self.calls.append(("row", step, dict(metrics)))

        def save(self):
            self.calls.append(("save",))

        def finalize(self, status):
            self.calls.append(("finalize", status))

    tracker = Tracker()
    trainer(logger=tracker, log_every_n_steps=4).fit(Logs(), loader(), loader())
    assert tracker.opened[0] == (0, threading.current_thread())
    verbs = [call[0] for call in tracker.calls]
    assert verbs == ["hyperparameters", "row", "row", "save", "finalize"]
    assert tracker.calls[1][1] == 3
    assert set(tracker.calls[1][2]) == {"loss", "epoch"}
    assert tracker.calls[2] == ("row", 6, {"epoch": 0, "val": 1.0})
    assert tracker.calls[-1] == ("finalize", "success")


KILLED = """
import sys, time
import epochal.training as pl
from epochal.training.loggers import CSVLogger, TensorBoardLogger
from tests.training.toys import Model, loader

class Slow(Model):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        if self.trainer.current_epoch == 1:
            self.log("late", 1.0)
        if self.trainer.batches_done == 12:
            print("now", flush=True)
            time.sleep(60)
        return loss

loggers = [CSVLogger(sys.argv[1], "csv", flush_logs_every_n_steps=2), TensorBoardLogger(sys.argv[1], "board")]
run = pl.Trainer(max_epochs=2, log_every_n_steps=1, accelerator="cpu", logger=loggers, enable_progress_bar=False)
run.fit(Slow(), loader())
"""


def test_a_killed_run_leaves_files_that_read(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        journal = tmp_path / "csv/version_0/metrics.jsonl"
        wait_for(lambda: journal.read_text().count("\n") == 12)  # what is held is written though the run stands still
        wait_for(
            lambda: (
                "loss" in (events := board(tmp_path / "board/version_0")).Tags()["scalars"] and len(events.Scalars("loss")) == 12
            )
        )
        process.send_signal(signal.SIGKILL)
    folder = tmp_path / "csv/version_0"
    assert [row["step"] for row in rows_of(folder / "metrics.csv")] == [str(step) for step in range(7)]  # the late key waits
    again = CSVLogger(tmp_path, "csv", 0)
    again.log_metrics({"loss": 0.0}, 12)
    again.save()
    rows = rows_of(folder / "metrics.csv")
    assert [row["step"] for row in rows] == [str(step) for step in range(13)]
    assert [row["late"] for row in rows] == [""] * 7 + ["1.0"] * 5 + [""]
    assert len(board(tmp_path / "board/version_0").Scalars("loss")) == 12


def test_a_program_that_ends_without_a_word_loses_nothing_and_its_fork_writes_nothing(tmp_path):
    program = """
import os, sys
from torch import nn
from epochal.training import Logbook
from epochal.training.loggers import CSVLogger
book = Logbook(nn.Module())
book.loggers = [CSVLogger(sys.argv[1])]
book.writer.send_row({"a": 1.0}, 3)
if os.fork():
    os.wait()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, tmp_path], cwd=ROOT, check=True, timeout=60)
    assert rows_of(tmp_path / "lightning_logs/version_0/metrics.csv") == [{"a": "1.0", "step": "3"}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's tracer
def test_a_graph_is_drawn_of_the_module_in_its_run(tmp_path):
    class Forward(Model):
        def __init__(self):
            super().__init__()
            self.example_input_array = torch.zeros(1, 4)

        def forward(self, x):
            return self.layer(x)

    run = trainer(logger=TensorBoardLogger(tmp_path, log_graph=True))
    run.fit(Forward(), loader())
    assert board(run.log_dir).Tags()["graph"]
    assert isinstance(run.logger, pl.loggers.TensorBoardLogger)

    class Fails(Forward):
        def forward(self, x):
            raise ValueError("no way")

    run = trainer(logger=TensorBoardLogger(tmp_path, log_graph=True))
    with pytest.warns(UserWarning, match="the graph failed with ValueError: no way, but it is left out"):
        run.fit(Fails(), loader())
    assert run.logbook.loggers == run.loggers
