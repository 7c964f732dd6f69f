"""DeviceStatsMonitor: which rows come when, beside Lightning's."""

from __future__ import annotations

import sys

import pytest

import epochal.training as pl
from epochal.training.callbacks import DeviceStatsMonitor
from tests.training.beside import lightning, of_both, quiet
from tests.training.toys import Model, Rows, loader, trainer

pytest.importorskip("psutil")


def logged(library, room, **arguments):
    base = library.loggers.Logger if library is pl else lightning.loggers.logger.Logger

    class Keeps(base):
        name, version = "kept", 0

        def __init__(self):
            super().__init__()
            self.rows = []

        def log_hyperparams(self, *args, **kwargs):
            pass

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, sorted(set(metrics) - {"epoch"})))
            assert all(0 <= value <= 100 for key, value in metrics.items() if key.endswith("percent"))

    class Tests(library.LightningModule):
        def training_step(self, batch, batch_idx):
            pass

        validation_step = test_step = training_step

        def configure_optimizers(self):
            return None

    logger = Keeps()
    run = quiet(library, callbacks=room.DeviceStatsMonitor(**arguments), logger=logger, log_every_n_steps=2, num_sanity_val_steps=1)
    module = Tests()
    run.fit(module, loader(32, 8), loader(24, 8))
    run.test(module, loader(24, 8), verbose=False)
    return logger.rows


@pytest.mark.parametrize("cpu_stats", [None, False])
@pytest.mark.filterwarnings("ignore:configure_optimizers", "ignore:training_step")
def test_rows_come_where_lightnings_come(cpu_stats):
    ours, theirs = of_both(lambda *where: logged(*where, cpu_stats=cpu_stats))
    assert ours == theirs
    assert bool(ours) is (cpu_stats is None)


def test_only_some_of_them():
    rows = Rows()
    run = trainer(logger=rows, callbacks=DeviceStatsMonitor(True, {"cpu_vm_percent"}), log_every_n_steps=1)
    run.fit(Model(), loader(16, 8))
    assert {key for _, row in rows.rows for key in row if key != "epoch"} == {
        f"DeviceStatsMonitor.on_train_batch_{when}/cpu_vm_percent" for when in ("start", "end")
    }


def test_what_it_needs(monkeypatch):
    with pytest.raises(ValueError, match="DeviceStatsMonitor: the Trainer has no logger"):
        trainer(callbacks=DeviceStatsMonitor()).fit(Model(), loader(16, 8))
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError, match=r"pip install epochal\[stats\]"):
        trainer(callbacks=DeviceStatsMonitor(), logger=Rows()).fit(Model(), loader(16, 8))
    trainer(callbacks=DeviceStatsMonitor(cpu_stats=False), logger=Rows()).fit(Model(), loader(16, 8))
