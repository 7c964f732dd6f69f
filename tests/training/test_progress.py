"""The progress bars: what they show, where, and that they are drawn by the clock."""

from __future__ import annotations

import copy
import math
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from rich.progress import TextColumn
from torch.utils.data import IterableDataset
from tqdm import tqdm

import epochal.training as pl
from epochal.training.callbacks.progress import ProgressBar, RichProgressBar, RichProgressBarTheme, TQDMProgressBar
from epochal.training.callbacks.progress.base import formatted
from tests.training.screen import Screen
from tests.training.toys import Model, loader, trainer

BOTH = pytest.mark.parametrize("kind", [TQDMProgressBar, RichProgressBar])


@pytest.fixture
def terminal(monkeypatch):
    """Makes one within the test: pytest sets ``sys.stdout`` between fixtures and tests."""
    return lambda width=100: Screen(monkeypatch, width)


class Shows(Model):
    def training_step(self, batch, batch_idx):
        self.log("shown", 0.25, prog_bar=True)
        self.log("hidden", 0.75)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val", 0.5, prog_bar=True, add_dataloader_idx=False) if dataloader_idx == 0 else None

    def test_step(self, batch, batch_idx):
        pass

    def predict_step(self, batch, batch_idx):
        pass

    def on_train_epoch_end(self):
        self.log("late", 1.5, prog_bar=True)


def fit(tmp_path, bar=None, module=None, val=None, **options):
    logger = pl.loggers.CSVLogger(tmp_path)
    callbacks = [] if bar is None else [bar]
    run = trainer(**{"enable_progress_bar": None, "logger": logger, "callbacks": callbacks, "num_sanity_val_steps": 2, **options})
    run.fit(module or Shows(), loader(), val or loader())
    return run


def often(kind, **options):
    """A bar that is drawn at each batch."""
    bar = kind(**options)
    bar.INTERVAL = 0.0
    return bar


# --- where the output is no terminal ---------------------------------------------------------------------------------------


def test_a_line_per_epoch_where_the_output_is_no_terminal(tmp_path, capsys):
    fit(tmp_path, max_epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Epoch 0", "Epoch 1"]
    assert re.fullmatch(r"Epoch 0: 7 batches in \d+\.\d s  v_num=0, val=0\.500, shown=0\.250, late=1\.500", lines[0])


@BOTH
def test_a_log_file_gets_no_thousand_lines(tmp_path, capsys, kind):
    bar = kind()
    bar.FIRST, bar.APART = 3, 1e9
    fit(tmp_path, bar, max_epochs=6, limit_train_batches=1)
    bar.FIRST, bar.APART = 0, 0.0
    fit(tmp_path, bar, max_epochs=2, limit_train_batches=1)
    assert [line.split(":")[0][-1] for line in capsys.readouterr().out.splitlines()] == [*"0125", *"01"]


@BOTH
def test_nothing_is_shown_where_it_is_off(tmp_path, capsys, kind):
    fit(tmp_path, kind(refresh_rate=0))
    assert capsys.readouterr().out == ""


# --- get_metrics -----------------------------------------------------------------------------------------------------------


class NoVersion(pl.callbacks.TQDMProgressBar):
    calls = 0

    def get_metrics(self, trainer, pl_module):
        self.calls += 1
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items


def test_get_metrics_chooses_what_is_shown(tmp_path, capsys):
    fit(tmp_path, NoVersion())
    printed = capsys.readouterr().out
    assert "v_num" not in printed
    assert "shown=0.25" in printed


def test_names_and_calls_of_old(tmp_path, capsys):
    from epochal.training.callbacks.progress import Tqdm
    from epochal.training.callbacks.progress.base import ProgressBarBase

    class CustomProgressBar(Tqdm):
        def get_metrics(self, *args, **kwargs):
            # don't show the version number
            items = super().get_metrics()
            items.pop("v_num", None)
            return items

    assert issubclass(Tqdm, ProgressBarBase)
    bar = CustomProgressBar()
    with pytest.raises(RuntimeError, match="the bar is in no run"):
        bar.get_metrics()
    fit(tmp_path, bar)
    printed = capsys.readouterr().out
    assert "v_num" not in printed
    assert "shown=0.25" in printed
    with pytest.raises(RuntimeError, match="the bar is in no run"):
        _ = copy.deepcopy(bar).trainer


def test_the_versions_of_several_loggers(tmp_path):
    loggers = [pl.loggers.CSVLogger(tmp_path, version=version) for version in ("a-long-name", 3)]
    run = fit(tmp_path, logger=loggers)
    assert run.progress_bar_callback.get_metrics(run, None)["v_num"] == "name_3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.250"), (12.5, "12.50"), (-123.456, "-123.5"), (99999.4, "99999"), (0.0, "0.000"), (1e-5, "1.0e-05"),
        (123456.0, "1.2e+05"), (math.nan, "nan"), (math.inf, "inf"), (7, "7"), ("a", "a"), (torch.tensor(0.5), "0.500"),
    ],
)  # fmt: skip
def test_numbers_take_five_places(value, text):
    assert formatted({"x": value}) == {"x": text}
    assert formatted({"x": 0.25}, ".1e") == {"x": "2.5e-01"}


# --- in a terminal ---------------------------------------------------------------------------------------------------------


@BOTH
def test_lines_of_a_fit(tmp_path, terminal, kind):
    screen = terminal()
    during = {}

    class Looks(Shows):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx, dataloader_idx)
            if dataloader_idx == 1 and batch_idx == 1:
                name = "Sanity Checking" if self.trainer.sanity_checking else "Validation"
                during[name] = screen.until(f"{name} DataLoader 1.* 1/")

    fit(tmp_path, often(kind), Looks(), [loader(), loader(24)], max_epochs=2)
    lines = screen.close()
    assert "1/2" in during["Sanity Checking"][0]
    assert len(during["Sanity Checking"]) == 1
    trained, validated = during["Validation"][:2]
    assert trained.startswith("Epoch 1/1")
    assert "7/7" in trained
    assert validated.startswith("Validation DataLoader 1")
    assert "1/3" in validated
    assert lines[0].startswith("Epoch 1/1")
    assert "7/7" in lines[0]
    values = " ".join(lines)
    for key, value in {"v_num": "0", "shown": "0.250", "val": "0.500", "late": "1.500"}.items():
        assert re.search(rf"{key}(=|: ){re.escape(value)}\b", values)
    assert "hidden" not in values
    assert "Validation" not in values


@BOTH
def test_it_is_drawn_by_the_clock(tmp_path, terminal, kind, monkeypatch):
    screen = terminal()
    drawn = []
    original = kind._draw
    monkeypatch.setattr(kind, "_draw", lambda self, line, done, metrics: (drawn.append(done), original(self, line, done, metrics)))
    bar = kind()
    bar.INTERVAL = 1e9
    fit(tmp_path, bar, max_epochs=1, limit_val_batches=0)
    assert drawn == [1, 7, 7]  # the first batch, and the epoch's end before and after the module's hook
    drawn.clear()
    fit(tmp_path, often(kind), max_epochs=1, limit_val_batches=0)
    screen.close()
    assert drawn == [*range(1, 8), 7, 7]


def test_a_refresh_rate_of_batches_and_one_of_time(tmp_path, terminal, monkeypatch):
    screen = terminal()
    drawn = []
    monkeypatch.setattr(TQDMProgressBar, "_draw", lambda self, line, done, metrics: drawn.append(done))
    fit(tmp_path, often(TQDMProgressBar, refresh_rate=3), max_epochs=1, limit_val_batches=0)
    screen.close()
    assert drawn == [3, 6, 7, 7]
    assert RichProgressBar().INTERVAL == RichProgressBar.INTERVAL == 0.1
    assert RichProgressBar(refresh_rate=2).INTERVAL == 0.5


@BOTH
def test_each_epoch_stays_with_leave(tmp_path, terminal, kind):
    screen = terminal()
    fit(tmp_path, often(kind, leave=True), max_epochs=2)
    lines = [line for line in screen.close() if line.startswith(("Epoch", "Validation", "Sanity"))]
    assert [line[:9] for line in lines] == ["Epoch 0/1", "Epoch 1/1"]
    assert all("7/7" in line for line in lines)


@BOTH
@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_lines_of_the_other_verbs(terminal, kind, verb):
    screen = terminal()
    run = trainer(enable_progress_bar=True, callbacks=[often(kind)])
    getattr(run, verb)(Shows(), loader())
    lines = screen.close()
    assert lines[0].startswith({"validate": "Validation", "test": "Testing", "predict": "Predicting"}[verb])
    assert "7/7" in lines[0]


@BOTH
@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_a_narrow_terminal(tmp_path, terminal, kind, width):
    screen = terminal(width)
    fit(tmp_path, often(kind), max_epochs=2)
    line = screen.close()[0]  # which is not longer than the terminal
    assert line.startswith("Epoch 1/1")
    assert "7/7" in line
    assert ("it/s" in line) == (width == 100)


@BOTH
def test_a_loader_whose_length_nobody_knows(terminal, kind):
    screen = terminal()

    class Endless(IterableDataset):
        def __iter__(self):
            return iter([(torch.zeros(4), torch.tensor(0))] * 5)

    run = trainer(enable_progress_bar=True, callbacks=[often(kind)], max_epochs=None, max_steps=5)
    run.fit(Model(), torch.utils.data.DataLoader(Endless()))
    line = screen.close()[0]
    assert line.startswith("Epoch 0")
    assert re.search(r"5/(--|\?)|5it", line)


@BOTH
def test_print_is_above_the_bar(tmp_path, terminal, kind):
    screen = terminal()

    class Prints(Shows):
        def training_step(self, batch, batch_idx):
            if batch_idx in (0, 4):
                self.print("a word", batch_idx)
            return super().training_step(batch, batch_idx)

    fit(tmp_path, often(kind), Prints(), max_epochs=1)
    lines = screen.close()
    assert [line[:8] for line in lines[:3]] == ["a word 0", "a word 4", "Epoch 0/"]


@BOTH
def test_an_error_ends_the_bars(tmp_path, terminal, kind):
    screen = terminal()

    class Fails(Shows):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            if not self.trainer.sanity_checking:
                raise ValueError("oh")

    bar = often(kind)
    with pytest.raises(ValueError, match="oh"):
        fit(tmp_path, bar, Fails(), max_epochs=1)
    print("after")
    lines = screen.close()
    assert lines[0].startswith("Epoch 0/0")
    assert lines[-1] == "after"
    assert not any("Validation" in line for line in lines)
    with pytest.raises(RuntimeError, match=f"{kind.__name__}: the bar of 'train' was asked for, but there is none now"):
        _ = bar.train_progress_bar


@BOTH
def test_disabled_and_enabled_in_a_run(tmp_path, terminal, kind):
    screen = terminal()
    bar = often(kind)

    class Switches(Shows):
        def on_train_epoch_start(self):
            (bar.disable if self.trainer.current_epoch == 1 else bar.enable)()
            assert bar.is_disabled is (self.trainer.current_epoch == 1)

    fit(tmp_path, bar, Switches(), max_epochs=4)
    lines = [line for line in screen.close() if line.startswith("Epoch")]
    assert [line[:9] for line in lines] == ["Epoch 1/3", "Epoch 3/3"]
    assert "0/7" in lines[0]


@BOTH
def test_other_processes_show_nothing(terminal, kind, monkeypatch):
    screen = terminal()
    monkeypatch.setattr(pl.Trainer, "is_global_zero", False)
    run = trainer(enable_progress_bar=True, callbacks=[often(kind)])
    run.fit(Shows(), loader(), loader())
    run.test(Shows(), loader())
    screen.close()
    assert screen.written == ""


def test_tqdm_bars_of_ones_own(tmp_path, terminal):
    screen = terminal()
    said = []

    class Mine(TQDMProgressBar):
        def init_sanity_tqdm(self):
            return tqdm(disable=True)

        def init_train_tqdm(self):
            bar = super().init_train_tqdm()
            bar.set_description("mine")
            return bar

        def init_validation_tqdm(self):
            bar = super().init_validation_tqdm()
            bar.set_description("checking")
            return bar

    class Looks(Shows):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            if batch_idx == 1 and not self.trainer.sanity_checking:
                said.append(screen.until("checking"))
                assert bar.val_progress_bar.n == 1
                assert bar.train_progress_bar.total == 7

    bar = often(Mine)
    fit(tmp_path, bar, Looks(), max_epochs=1)
    assert screen.close()[0].startswith("mine Epoch 0/0:")
    assert "Sanity" not in screen.written
    assert said[0][1].startswith("checking:")


def test_rich_columns_and_styles_of_ones_own(tmp_path, terminal):
    screen = terminal()

    class Mine(RichProgressBar):
        def configure_columns(self, trainer):
            return [*super().configure_columns(trainer)[:1], TextColumn("of mine, {task.completed}")]

    theme = RichProgressBarTheme(metrics_format=".1e", metrics_text_delimiter="\n", description="red")
    fit(tmp_path, often(Mine, theme=theme, console_kwargs={"force_terminal": True}), max_epochs=1)
    lines = screen.close()
    assert lines[0] == "Epoch 0/0 of mine, 7"
    assert lines[1:] == ["v_num: 0", "val: 5.0e-01", "shown: 2.5e-01", "late: 1.5e+00"]
    assert "\x1b[31mEpoch 0/0" in screen.written


def test_rich_tasks(tmp_path, terminal):
    screen = terminal()

    class Looks(Shows):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            task = bar.val_sanity_check_bar if self.trainer.sanity_checking else bar.val_progress_bar
            assert (task.completed, task.total) == (batch_idx, 2 if self.trainer.sanity_checking else 7)
            bar.refresh(hard=True)

    bar = often(RichProgressBar)
    fit(tmp_path, bar, Looks(), max_epochs=1)
    screen.close()
    assert bar.progress is None
    assert copy.deepcopy(bar).leave is False


# --- which bar -------------------------------------------------------------------------------------------------------------


def test_rich_in_a_notebook_that_cannot_draw_writes_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    fit(tmp_path, RichProgressBar(console_kwargs={"force_jupyter": True}), max_epochs=1)
    assert "Epoch 0: 7 batches" in capsys.readouterr().out


def test_rich_in_a_terminal_and_tqdm_elsewhere(monkeypatch):
    assert type(trainer(enable_progress_bar=True).progress_bar_callback) is TQDMProgressBar
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(trainer(enable_progress_bar=True).progress_bar_callback) is RichProgressBar


def test_one_bar_at_most():
    with pytest.raises(ValueError, match="progress bar"):
        trainer(enable_progress_bar=False, callbacks=[NoVersion()])
    with pytest.raises(ValueError, match="2 progress bars"):
        trainer(enable_progress_bar=None, callbacks=[NoVersion(), NoVersion()])


def test_totals_and_loaders():
    bar = ProgressBar()
    facts = {"num_training_batches": 5, "sanity_checking": False, "num_val_batches": [2, 3], "num_sanity_val_batches": [1, 1]}
    run = SimpleNamespace(**facts, num_test_batches=[4], num_predict_batches=[])
    bar.setup(run, None, "fit")
    assert (bar.total_train_batches, bar.total_val_batches) == (5, 5)
    assert f"{bar.total_train_batches} {bar.total_val_batches}" == "5 5"
    assert [bar.has_dataloader_changed(i) for i in (0, 0, 1)] == [True, False, True]
    assert bar.total_val_batches_current_dataloader == 3
    run.sanity_checking = True
    assert (bar.total_val_batches, bar.total_val_batches_current_dataloader) == (2, 1)
    bar.reset_dataloader_idx_tracker()
    assert bar.has_dataloader_changed(0)
    assert (bar.total_test_batches_current_dataloader, bar.total_predict_batches_current_dataloader) == (4, 0)
