"""LoggingMixin: what forward returned, on_epoch, in the real Lightning, is the value of all data."""

from __future__ import annotations

import pytest
from sklearn.metrics import recall_score

import epochal.training
from epochal.aggregation import MaxMetric
from epochal.classification import MulticlassRecall
from epochal.integrations.lightning import LoggingMixin
from tests.integrations.runs import Model, fitted, logged, on_ranks, pl
from tests.integrations.test_lightning import SAMPLES, f1, members, scores
from tests.training.toys import CLASSES, dataset, labels, loader, trainer


class Logs(LoggingMixin, Model):
    def __init__(self):
        super().__init__()
        self.train_f1, self.val_f1, self.twin, self.members, self.best = f1(), f1(), f1(), members("val_"), MaxMetric()
        self.recalls = MulticlassRecall(CLASSES, average=None)

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.log("train_f1", self.train_f1(self.layer(x), y), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        p = self.layer(x)
        self.log("val", self.val_f1(p, y))
        self.log_dict(self.members(p, y))
        self.log("recall", self.recalls(p, y))
        self.twin.update(p, y)

    def on_validation_epoch_end(self):
        value = self.twin.compute()
        self.log("computed", value)
        self.best.update(value)
        self.log("best", self.best)


def check(found, samples, train_samples):
    accuracy, f1_of_all = scores(samples, 1)
    predicted, truth = labels(Model(), dataset(samples, 1))
    for key in ("val", "val_f1", "computed", "best"):
        assert found[key] == pytest.approx(f1_of_all, abs=1e-6), key
    assert found["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    recalls = recall_score(truth, predicted, average=None)
    assert [found[f"recall_{i}"] for i in range(CLASSES)] == pytest.approx(recalls.tolist(), abs=1e-6)
    assert found["train_f1_epoch"] == pytest.approx(scores(train_samples)[1], abs=1e-6)


def test_what_forward_returned_is_the_metric():
    module = Logs()
    check(logged(fitted(module, loader(53, 8), loader(37, 8, seed=1), max_epochs=3)), 37, 53)
    assert [m.update_count for m in (module.train_f1, module.val_f1, module.twin, module.recalls)] == [0] * 4
    assert module.best.update_count == 3  # of the run


def test_two_processes(pair):
    for found in pair.run(on_ranks, Logs, loader(SAMPLES, 4), loader(SAMPLES, 4, seed=1)):
        check(found, SAMPLES, SAMPLES)


SOURCE = """
import torch
class Classifier(pl.LightningModule):
    def __init__(self, classes):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, classes)
        torch.nn.init.eye_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.f1 = f1()
    def forward(self, x):
        return self.layer(x)
    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss, on_epoch=True, prog_bar=True)
        return loss
    def validation_step(self, batch, batch_idx):
        self.f1.update(self(batch[0]), batch[1])
        self.log("f1", self.f1)
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}
"""


@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_a_modules_source_runs_in_both():
    found = []
    for library, run in ((pl, fitted), (epochal.training, own)):
        names = {"pl": library, "f1": f1, "__name__": "source"}
        exec(SOURCE, names)
        module = names["Classifier"](CLASSES)
        found.append((logged(run(module, loader(24, 8), loader(37, 8, seed=1), max_epochs=2)), module.layer.weight.tolist()))
    (theirs, their_weight), (ours, our_weight) = found
    assert theirs == pytest.approx(ours, rel=1e-5)
    for row, other in zip(their_weight, our_weight, strict=True):
        assert row == pytest.approx(other, rel=1e-5)


def own(module, *loaders, **options):
    run = trainer(**options)
    run.fit(module, *loaders)
    return run
