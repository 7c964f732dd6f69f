"""``self.log`` in the modules of a module: LightningModules, and those of classes that have no ``log``."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

import epochal.training as pl
from epochal.aggregation import SumMetric
from epochal.classification import MulticlassF1Score
from tests.training.toys import CLASSES, Model, dataset, labels, loader, trainer


class Head(nn.Module):
    """As plain as can be, but for what it logs."""

    def __init__(self):
        super().__init__()
        self.f1 = MulticlassF1Score(CLASSES, average="macro")

    def forward(self, p, y):
        self.log("head/f1", self.f1(p, y), on_step=False, on_epoch=True)
        self.log_dict({"head/size": float(len(y))}, on_step=False, on_epoch=True, reduce_fx="sum")
        return p


class Lightning(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.head = Head()

    def forward(self, p, y):
        self.log("inner", 1.0, on_step=False, on_epoch=True)
        return self.head(p, y)


class Outer(Model):
    def __init__(self, built_late=False):
        super().__init__()
        self.parts = nn.Sequential() if built_late else nn.ModuleList([Lightning()])
        self.seen = []

    def configure_model(self):
        if isinstance(self.parts, nn.Sequential):
            self.parts = nn.ModuleList([Lightning()])

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.inside()
        return nn.functional.cross_entropy(self.parts[0](self.layer(x), y), y)

    def inside(self):
        if not self.seen:
            self.seen = [copy.deepcopy(self.parts[0].head), pickle.loads(pickle.dumps(self.parts[0].head))]


@pytest.mark.parametrize("built_late", [False, True])
def test_any_module_of_the_module_logs(built_late):
    module, run = Outer(built_late), trainer(max_epochs=2)
    run.fit(module, loader())
    found, truth = labels(module, dataset())
    got = {key: value.item() for key, value in run.callback_metrics.items()}
    f1 = pytest.approx(f1_score(truth, found, average="macro"), abs=1e-6)
    assert got == {"head/f1": f1, "head/size": 53.0, "inner": 1.0}


def test_it_has_no_log_before_and_after_and_a_copy_made_in_the_run_logs_nowhere():
    module = Outer()
    head = module.parts[0].head
    with pytest.raises(AttributeError):
        head.log
    trainer().fit(module, loader())
    with pytest.raises(AttributeError):
        head.log
    assert not {"log", "log_dict"} & set(head.__dict__)
    for twin in module.seen:
        with pytest.warns(UserWarning, match="Head: self.log was called without a Trainer"):
            twin.log("x", 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            twin.log_dict({"x": 1.0})


def test_replicas_of_a_plain_module_do_not_log_a_part_as_the_whole():
    class Replicates(Outer):
        def inside(self):
            self.seen.extend(nn.parallel.replicate(self.parts[0].head, [0, 1]))

    module = Replicates()
    trainer().fit(module, loader())
    for replica in module.seen:
        with pytest.raises(RuntimeError, match=r"in a replica of nn.DataParallel \(strategy dp\).* training_step_end"):
            replica.log("x", 1.0)
        with pytest.raises(RuntimeError, match=r"self.log\('x'\): it was called in a replica"):
            replica.log_dict({"x": 1.0})
    assert "_replicate_for_data_parallel" not in module.parts[0].head.__dict__


def test_a_run_that_fails_takes_it_back_too():
    class Fails(Outer):
        def inside(self):
            raise OSError("the step")

    module = Fails()
    with pytest.raises(OSError, match="the step"):
        trainer().fit(module, loader())
    assert not hasattr(module.parts[0].head, "log")


def test_names_of_ones_own_stay():
    class Own(nn.Module):
        def log(self, x):
            return torch.log(x)

    class Learns(nn.Module):
        def __init__(self):
            super().__init__()
            self.log = nn.Parameter(torch.ones(1))

    class Has(Model):
        def __init__(self):
            super().__init__()
            self.own, self.learns, self.by_name = Own(), Learns(), nn.ModuleDict({"log": nn.Linear(1, 1)})
            self.metric, self.seen = SumMetric(), []

        def training_step(self, batch, batch_idx):
            self.seen.append(self.own.log(torch.ones(1)).item() + self.learns.log.item())
            assert isinstance(self.by_name["log"], nn.Linear)
            assert not hasattr(self.metric, "log_dict")
            assert not hasattr(self.layer, "log")
            return super().training_step(batch, batch_idx)

    module = Has()
    trainer().fit(module, loader(8, 8))
    assert module.seen == [1.0]
