"""A page on loggers: the custom bar, the flags, the remote logger, the metric of one's own, and its table of defaults."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from sklearn.metrics import accuracy_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import epochal.training as pl
from epochal.training.loggers import CSVLogger
from tests.seeds.blocks.loggers.bar import CustomProgressBar
from tests.seeds.blocks.loggers.lit_model import LitModel
from tests.seeds.blocks.loggers.my_accuracy import MyAccuracy
from tests.seeds.test_metrics import accuracy, by_batch, fitted
from tests.training.toys import Model, Rows, dataset, loader, trainer


def block(name):
    """A block that runs where it stands, once more."""
    path = f"tests.seeds.blocks.loggers.{name}"
    sys.modules.pop(path, None)
    return importlib.import_module(path)


def shown_by(bar, folder):
    """What a bar that stands in a run's Trainer shows at the end of a batch."""
    shown = []

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", 1.0, prog_bar=True)
            shown.append(bar.get_metrics(self.trainer, self))
            return super().training_step(batch, batch_idx)

    trainer(callbacks=bar, enable_progress_bar=True, logger=CSVLogger(folder)).fit(Logs(), loader())
    return shown[-1]


def test_a_bar_of_ones_own_leaves_a_number_out(tmp_path, capsys):
    """``get_metrics`` takes what comes and calls its parent's without any of it."""
    assert shown_by(pl.callbacks.TQDMProgressBar(), tmp_path) == {"v_num": "0", "x": 1.0}
    assert "v_num" in "".join(capsys.readouterr())
    assert shown_by(CustomProgressBar(), tmp_path) == {"x": 1.0}
    written = "".join(capsys.readouterr())
    assert "x=1" in written
    assert "v_num" not in written


def test_how_often_steps_are_logged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = block("frequency").trainer
    assert run.log_every_n_steps == 10
    rows = Rows()

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", float(batch_idx))
            return super().training_step(batch, batch_idx)

    trainer(log_every_n_steps=run.log_every_n_steps, logger=rows).fit(Logs(), loader(44, 2))
    assert rows.of("x") == [(9, 9.0), (19, 19.0)]


def test_how_often_rows_are_written(tmp_path, monkeypatch):
    """The flag reaches the loggers that the Trainer makes."""
    monkeypatch.chdir(tmp_path)
    block("flushing")
    assert pl.Trainer(flush_logs_every_n_steps=500).flush_logs_every_n_steps == 500


def test_logs_in_an_object_store(bucket, tmp_path, monkeypatch, capsys):
    """Nothing is written here, and there all that was logged is read back by TensorBoard's reader."""
    monkeypatch.chdir(tmp_path)
    module = block("remote").model
    (path,) = [name for name in bucket.find("my_bucket/logs") if "tfevents" in name]
    assert not list(tmp_path.iterdir())
    bucket.get_file(path, str(tmp_path / "events.out.tfevents.read"))
    read = EventAccumulator(str(tmp_path)).Reload().Scalars("train_acc_epoch")
    assert [(event.step, event.value) for event in read] == [(step, accuracy(module, dataset())) for step in (6, 13)]
    assert any(name.endswith(".ckpt") for name in bucket.find("my_bucket/logs"))


# --- the metric of one's own -------------------------------------------------------------------------------------------------


def test_my_accuracy_takes_scores_and_labels():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (20,), generator=generator)
    scores = torch.randn(20, 3, generator=generator)
    expected = accuracy_score(target, scores.argmax(1))
    assert MyAccuracy()(scores, target).item() == pytest.approx(expected)
    assert MyAccuracy()(scores.argmax(1), target).item() == pytest.approx(expected)
    yes, chance = torch.randint(2, (20,), generator=generator), torch.rand(20, generator=generator)
    assert MyAccuracy()(chance, yes).item() == pytest.approx(accuracy_score(yes, chance > 0.5))


@pytest.mark.parametrize(
    ("preds", "match"),
    [
        (torch.tensor([0.2, 1.5]), r"MyAccuracy: preds has values outside of \[0, 1\].*sigmoid"),
        (torch.tensor([0.2, float("nan")]), "outside"),
        (torch.tensor([0, 1, 1]), "MyAccuracy: preds"),
    ],
)
def test_what_my_accuracy_cannot_read_is_an_error_and_leaves_it_as_it_was(preds, match):
    metric = MyAccuracy()
    metric.update(torch.tensor([1, 0]), torch.tensor([1, 1]))
    with pytest.raises(ValueError, match=match):
        metric.update(preds, torch.tensor([0, 1]))
    assert metric.compute() == 0.5


def in_parts(rank, size):
    metric = MyAccuracy()
    x, y = dataset().tensors
    metric.update(x[rank::size, :3], y[rank::size])
    return metric.compute().item()


def test_my_accuracy_over_two_processes(pair):
    x, y = dataset().tensors
    assert pair.run(in_parts) == [pytest.approx(accuracy_score(y, x[:, :3].argmax(1)))] * 2


def test_a_module_with_my_accuracy():
    module = LitModel()
    got, rows = fitted(module)
    assert [value for _, value in rows.of("train_acc_step")] == by_batch(module, dataset()) * 2
    assert set(got) == {"train_acc_step"}


# --- the table of defaults ---------------------------------------------------------------------------------------------------

TABLE = {
    (False, True): "on_train_start, on_train_epoch_start, on_train_epoch_end, training_epoch_end",
    (True, False): (
        "on_before_backward, on_after_backward, on_before_optimizer_step, on_before_zero_grad, "
        "on_train_batch_start, on_train_batch_end, training_step, training_step_end"
    ),
}
EVALUATION = (
    "on_{0}_start on_{0}_epoch_start on_{0}_epoch_end {0}_epoch_end on_{0}_batch_start on_{0}_batch_end {0}_step {0}_step_end"
)
DEFAULTS = [(hook, *flags) for flags, hooks in TABLE.items() for hook in hooks.split(", ")]
DEFAULTS += [(hook, False, True) for stage in ("validation", "test") for hook in EVALUATION.format(stage).split()]


@pytest.mark.parametrize(("hook", "on_step", "on_epoch"), DEFAULTS)
def test_a_hook_logs_by_default_what_the_page_says(hook, on_step, on_epoch):
    """A step's value has rows at steps; an epoch's one row at its end, with the mean."""

    class Logs(Model):
        def validation_step(self, batch, batch_idx):
            pass

        def test_step(self, batch, batch_idx):
            pass

    calls = []
    before = getattr(Logs, hook, None)

    def logs(self, *args, **kwargs):
        calls.append(len(calls))
        self.log("x", float(len(calls)))
        return before(self, *args, **kwargs) if before is not None else None

    setattr(Logs, hook, logs)
    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=1)
    if "test" in hook:
        run.test(Logs(), loader(24, 8), verbose=False)
    else:
        run.fit(Logs(), loader(24, 8), loader(24, 8))
    found = rows.of("x")
    if on_step:
        assert [value for _, value in found] == [float(n + 1) for n in calls]
    if on_epoch:
        assert [value for _, value in found] == [sum(n + 1 for n in calls) / len(calls)]
    assert on_step != on_epoch


def test_the_options_of_the_page():
    """Each by its name, in one call."""

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            options = {"on_step": True, "on_epoch": True, "prog_bar": True, "logger": True, "reduce_fx": torch.mean}
            options |= {"enable_graph": False, "sync_dist": True, "sync_dist_group": None, "add_dataloader_idx": True}
            self.log("x", float(batch_idx), batch_size=1, rank_zero_only=False, **options)
            return super().training_step(batch, batch_idx)

    run = trainer()
    run.fit(Logs(), loader(20, 8))
    assert run.callback_metrics["x_epoch"] == 1.0  # three batches of one weight each
