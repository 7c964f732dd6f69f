"""The pages for those who come from elsewhere: their code runs, the tables are complete, what they point to is there."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import warnings
from pathlib import Path

import lightning.pytorch
import pytest

import epochal.training as pl
from tests.examples.test_documents import ROOT, blocks
from tests.training.toys import Model, loader, trainer

PAGE = "docs/coming-from-lightning.md"
METRICS = "docs/coming-from-torchmetrics.md"
QUIET = {
    "logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False,
    "accelerator": "cpu",
}  # fmt: skip


def run(code: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_its_code_runs_here_and_after_going_back(tmp_path):
    """One after the other; and the module with Lightning and torchmetrics, where it has the same value."""
    module, back = blocks(PAGE)
    here = run(module + back, tmp_path)
    there = module.replace("import epochal.training as pl", "import lightning.pytorch as pl")
    there = there.replace("from epochal.classification", "from torchmetrics.classification")
    assert "epochal" not in there
    f1 = [float(re.findall(r"F1 (\S+)", printed)[-1]) for printed in (here, run(there, tmp_path))]
    assert 0 < f1[0] < 1
    assert f1[0] == pytest.approx(f1[1], abs=1e-6)


def test_the_code_on_metrics_prints_what_torchmetrics_prints(tmp_path):
    code = "".join(blocks(METRICS))
    theirs = code.replace("import epochal as torchmetrics", "import torchmetrics").replace("from epochal.", "from torchmetrics.")
    assert "epochal" not in re.sub("#.*", "", theirs)
    here, there = (re.findall(r"\d+\.\d+", run(part, tmp_path)) for part in (code, theirs))
    assert len(here) == 8
    assert [float(value) for value in here] == pytest.approx([float(value) for value in there], abs=1e-4)


def test_a_callback_derived_from_lightnings_runs():
    seen = []

    class Watches(lightning.pytorch.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.log("more", 2.0)
            seen.append((trainer.current_epoch, float(trainer.callback_metrics["loss"])))

    class Logs(Model):
        def training_step(self, batch, batch_idx):
            self.log("loss", 0.5)
            return super().training_step(batch, batch_idx)

    ours = trainer(callbacks=Watches(), max_epochs=2)
    ours.fit(Logs(), loader())
    assert seen == [(0, 0.5), (1, 0.5)]
    assert ours.callback_metrics["more"] == 2.0


# --- what is not there -------------------------------------------------------------------------------------------------------

ABSENT = (ROOT / PAGE).read_text().split("## What is not there")[1].split("## ")[0]
FIRST = "".join(row.split("|")[1] for row in ABSENT.splitlines() if "|" in row)
NAMED = {name for code in re.findall(r"`([^`]+)`", FIRST) for name in re.findall(r"[\w.]+", code)}
INNER = {"CHECKPOINT_HYPER_PARAMS_NAME", "CHECKPOINT_HYPER_PARAMS_TYPE", "remove_ignored_hparams", "name"}  # of a class's workings


def trainers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lightning.pytorch.Trainer(**QUIET), pl.Trainer(**QUIET)


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def pairs():
    """What Lightning has, what is here, and how the page writes a name of it."""
    for room in ("callbacks", "loggers", "profilers", "utilities"):
        theirs, ours = (importlib.import_module(f"{base}.{room}") for base in ("lightning.pytorch", "epochal.training"))
        yield set(theirs.__all__), public(ours), ""
    rooms = [{info.name for info in pkgutil.iter_modules(base.__path__) if info.name[0] != "_"} for base in (lightning.pytorch, pl)]
    yield *rooms, "lightning.pytorch."
    yield *map(public, trainers()), "trainer."
    yield public(lightning.pytorch.LightningModule), public(pl.LightningModule()) | INNER, ""
    yield public(lightning.pytorch.LightningDataModule), public(pl.LightningDataModule) | INNER, ""
    yield public(lightning.pytorch.Callback), public(pl.Callback), ""


def test_all_that_is_not_there_is_named():
    missing = {prefix + name for theirs, ours, prefix in pairs() for name in theirs - ours}
    assert missing - NAMED - {"trainer.barebones"} == set()  # which is named as a flag


def test_nothing_is_named_that_is_there():
    there = {prefix + name for theirs, ours, prefix in pairs() for name in theirs & ours}
    assert NAMED & there == set()


@pytest.mark.parametrize("page", [PAGE, METRICS])
def test_what_a_page_points_to_exists(page):
    text = (ROOT / page).read_text()
    for path in re.findall(r"`(tests/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([\w-]+\.md)", text):
        assert (ROOT / "docs" / target).exists(), target
