"""The progress bar: what it shows, and that it is drawn by the clock."""

from __future__ import annotations

import copy
import sys

import pytest

import epochal.training as pl
from tests.training.toys import Model, loader, trainer


class Shows(Model):
    def training_step(self, batch, batch_idx):
        self.log("shown", 0.25, prog_bar=True)
        self.log("hidden", 0.75)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.log("val", 0.5, prog_bar=True)


def fit(tmp_path, bar=None, **options):
    logger = pl.loggers.CSVLogger(tmp_path)
    callbacks = [] if bar is None else [bar]
    run = trainer(enable_progress_bar=None, logger=logger, callbacks=callbacks, num_sanity_val_steps=2, **options)
    run.fit(Shows(), loader(), loader())
    return run


def test_a_line_per_epoch_where_the_output_is_no_terminal(tmp_path, capsys):
    fit(tmp_path, max_epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Epoch 0", "Epoch 1"]
    assert "v_num=0" in lines[0]
    assert "shown=0.25" in lines[0]
    assert "val=0.5" in lines[0]
    assert "hidden" not in lines[0]


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


def test_in_a_terminal_it_is_drawn_by_the_clock(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    bar = NoVersion()
    monkeypatch.setattr(NoVersion, "INTERVAL", 1e9)
    fit(tmp_path, bar, max_epochs=1)
    out = capsys.readouterr()
    assert "Epoch 0" in out.out + out.err
    assert bar.calls == 3  # the first batch, the validation's end, the epoch's end: not each of the seven batches


def test_one_bar_at_most():
    with pytest.raises(ValueError, match="progress bar"):
        trainer(enable_progress_bar=False, callbacks=[NoVersion()])
    with pytest.raises(ValueError, match="2 progress bars"):
        trainer(enable_progress_bar=None, callbacks=[NoVersion(), NoVersion()])


def test_nothing_is_shown_where_it_is_off(tmp_path, capsys):
    fit(tmp_path, pl.callbacks.TQDMProgressBar(refresh_rate=0))
    assert capsys.readouterr().out == ""
