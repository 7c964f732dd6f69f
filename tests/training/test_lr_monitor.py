"""Which learning rates are logged when and under which keys, beside Lightning's."""

from __future__ import annotations

import pytest
import torch

import epochal.training as pl
from epochal.training.callbacks import (
    LearningRateMonitor,
)
from tests.training.beside import lightning, net, of_both, quiet
from tests.training.toys import Rows, loader, trainer


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=0.25)


def halves(module, names=(None, None)):
    parts = [{"params": module.layer.parameters()}, {"params": module.head.parameters(), "lr": 0.5}]
    return torch.optim.Adam([part if name is None else {**part, "name": name} for part, name in zip(parts, names)], 0.1)


def step_lr(optimizer, **config):
    return {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5), **config}


def with_name(module):
    optimizer = sgd(module)
    return {"optimizer": optimizer, "lr_scheduler": step_lr(optimizer, name="rate")}


def with_two_schedulers(module):
    optimizer = sgd(module)
    return [optimizer], [step_lr(optimizer, interval="step"), step_lr(optimizer)]


def several(module):
    """By hand: two of one class, of which the second has a scheduler, and one of another."""
    first, second = (torch.optim.SGD(part.parameters(), 0.1) for part in (module.layer, module.head))
    module.automatic_optimization = False
    module.training_step = lambda batch, batch_idx: [optimizer.step() for optimizer in module.optimizers()] and None
    return [first, second, halves(module, ("a", "b"))], [step_lr(second)]


RATES = [sgd, halves, lambda module: halves(module, ("a", None)), with_name, with_two_schedulers, several]


def rates(library, room, optimizers, **arguments):
    base = library.loggers.Logger if library is pl else lightning.loggers.logger.Logger

    class Keeps(base):
        name, version = "kept", 0

        def __init__(self):
            super().__init__()
            self.rows = []

        def log_hyperparams(self, *args, **kwargs):
            pass

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, {key: value for key, value in metrics.items() if key != "epoch"}))

    logger, monitor = Keeps(), room.LearningRateMonitor(**arguments)
    module = net(library)
    module.automatic_optimization = optimizers is not several
    module.configure_optimizers = lambda: optimizers(module)
    run = quiet(library, logger=logger, callbacks=monitor, log_every_n_steps=2, max_epochs=2)
    run.fit(module, loader(32, 8))
    known = {key: float(value) for key, value in run.callback_metrics.items()}
    return logger.rows, monitor.lrs, monitor.last_momentum_values, known


@pytest.mark.parametrize("interval", [None, "step", "epoch"])
@pytest.mark.parametrize("optimizers", RATES)
def test_rates_are_logged_as_lightning_logs_them(optimizers, interval):
    """The same keys, values and steps; ours have the epoch beside them."""
    added = {"log_momentum": True, "log_weight_decay": optimizers is sgd}
    ours, theirs = of_both(lambda *where: rates(*where, optimizers, logging_interval=interval, **added))
    assert ours == theirs
    assert ours[0]


def test_a_step_of_several_batches_has_one_row():
    rows = Rows()
    monitor = LearningRateMonitor("step", log_key_prefix="my/")
    run = trainer(logger=rows, callbacks=monitor, log_every_n_steps=2, accumulate_grad_batches=2)
    run.fit(net(pl), loader(64, 8))
    assert rows.of("my/lr-SGD") == [(1, 0.1), (3, 0.1)]
    assert run.history["my/lr-SGD"] == [0.1, 0.1]
    assert run.logged_metrics["my/lr-SGD"] == torch.tensor(0.1)


def test_rates_of_a_run_that_goes_on_come_once(tmp_path):
    def run(max_steps, path=None):
        rows = Rows()
        run = trainer(logger=rows, callbacks=LearningRateMonitor(), log_every_n_steps=1, max_epochs=2, max_steps=max_steps)
        run.fit(net(pl), loader(32, 8), ckpt_path=path)
        run.save_checkpoint(tmp_path / "last.ckpt")
        return rows.of("lr-SGD")

    whole = run(-1)
    assert whole == [(step, 0.1) for step in range(8)]
    assert run(6) + run(-1, tmp_path / "last.ckpt") == whole


def test_rates_need_names_and_a_logger():
    run = trainer(callbacks=LearningRateMonitor(), logger=Rows())
    with pytest.raises(ValueError, match="two parameter groups have the key 'lr-Adam/a'"):
        run.fit(net(pl, lambda module: halves(module, ("a", "a"))), loader(16, 8))
    with pytest.raises(ValueError, match="LearningRateMonitor: the Trainer has no logger"):
        trainer(callbacks=LearningRateMonitor()).fit(net(pl), loader(16, 8))
    trainer(callbacks=LearningRateMonitor(), fast_dev_run=True, logger=True).fit(net(pl), loader(16, 8))
    with pytest.raises(ValueError, match="logging_interval"):
        LearningRateMonitor("batch")
