"""docs/logging.md against the code: in which hook what can be logged, and with which defaults."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

import epochal.training as pl
from epochal.training.hooks import RULES
from tests.training.toys import Model, loader, trainer

PAGE = (Path(__file__).parents[2] / "docs/logging.md").read_text()


def table(name: str) -> list[list[str]]:
    """The rows of a table, as cells."""
    found = re.search(rf"<!-- {name} -->\n(.*)\n<!-- /{name} -->", PAGE, re.DOTALL)
    assert found is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


HOOKS = {hook: row[1:] for row in table("hooks") for hook in words(row[0])}
NEVER = (
    "prepare_data setup teardown configure_model configure_optimizers configure_callbacks train_dataloader val_dataloader "
    "test_dataloader predict_dataloader on_fit_start on_fit_end on_train_end lr_scheduler_step on_before_batch_transfer "
    "transfer_batch_to_device on_after_batch_transfer on_validation_model_zero_grad on_validation_model_eval "
    "on_validation_model_train on_validation_end on_test_end on_predict_start on_predict_epoch_start on_predict_batch_start "
    "predict_step on_predict_batch_end on_predict_epoch_end on_predict_end on_save_checkpoint"
)


class Whole(Model):
    """With all that the hooks need."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.0)
        scheduler = {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def validation_step(self, batch, batch_idx):
        return None

    test_step = predict_step = validation_step

    def train_dataloader(self):
        return loader(20, 8)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def logging_in(hook, **said):
    """A run of a module that logs in one hook."""
    before = getattr(Whole, hook, None)

    def calls(self, *args):
        self.log("x", 1.0, **said)
        return before(self, *args) if before else args[0]

    module = type("Logs", (Whole,), {hook: calls})()
    run = trainer(gradient_clip_val=1.0 if "clipping" in hook else None)
    if "test" in hook:
        run.test(module, verbose=False)
    elif "predict" in hook:
        run.predict(module)
    else:
        run.fit(module)
    if hook == "on_save_checkpoint":
        run.save_checkpoint("memory://page.ckpt")
    return run


def test_the_page_names_the_hooks_that_can_log():
    assert set(HOOKS) == set(RULES)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooks_defaults_are_those_on_the_page(hook):
    on_step, on_epoch, prog_bar, logger, _ = HOOKS[hook]
    run = logging_in(hook)
    (entry,) = [entry for scope in run.logbook.scopes.values() for entry in scope.entries.values()]
    assert str(entry.on_step) == on_step
    assert str(entry.on_epoch) == on_epoch
    assert str("x" in run.progress_bar_metrics) == prog_bar
    assert str("x" in run.logged_metrics or entry.to_logger) == logger
    assert run.callback_metrics["x"] == 1.0
    called = entry.scope.hook
    assert called == hook or called == {"training_epoch_end": "on_train_epoch_end"}.get(hook, f"on_{hook}")


@pytest.mark.parametrize("hook", HOOKS)
def test_what_may_be_changed_is_on_the_page(hook):
    changed = HOOKS[hook][4]
    said = {"on_step": HOOKS[hook][0] == "False", "on_epoch": True}
    if changed == "all":
        assert logging_in(hook, **said).callback_metrics["x"] == 1.0
        return
    assert words(changed) == ["prog_bar", "logger"]
    with pytest.raises(ValueError, match="can only log the epoch"):
        logging_in(hook, **said)
    run = logging_in(hook, prog_bar=True, logger=False)
    assert (run.progress_bar_metrics, run.logged_metrics) == ({"x": 1.0}, {})


@pytest.mark.parametrize("hook", NEVER.split())
def test_elsewhere_it_is_an_error(hook):
    assert hook not in HOOKS
    with pytest.raises(RuntimeError, match=r"self\.log\('x'\): it was called in .*, but nothing can be logged there"):
        logging_in(hook)


def test_the_other_arguments_are_on_the_page_with_their_defaults():
    rows = {words(row[0])[0]: words(row[1])[0] for row in table("arguments")}
    parameters = inspect.signature(pl.LightningModule.log).parameters
    shown = {"self", "name", "value", "prog_bar", "logger", "on_step", "on_epoch"}  # in the table of hooks
    assert rows == {name: repr(p.default) for name, p in parameters.items() if name not in shown}


def test_numbers_on_the_page_are_those_of_the_code():
    from epochal.training.history import History
    from epochal.training.loggers.writer import Writer

    run = trainer()
    assert f"`n % log_every_n_steps == 0` ({run.log_every_n_steps})" in PAGE
    assert f"`flush_logs_every_n_steps` ({run.flush_logs_every_n_steps}) of them, two seconds" in PAGE
    assert Writer.HOLD == 2
    assert f"The latest {History.LONGEST:,}".replace(",", " ") in PAGE


def test_the_loop_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Logbook(" in block]
    exec(block, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(0 < float(number) <= 1 for line in lines for number in line.split())
    assert len(list(tmp_path.glob("logs/**/metrics.csv"))) == 1
