"""LoggingMixin: what forward returned, on_epoch, in the real Lightning, is the value of all data."""

from __future__ import annotations

import sys

import pytest
from sklearn.metrics import confusion_matrix, recall_score

import epochal.training
from epochal import MetricCollection
from epochal.aggregation import MaxMetric, SumMetric
from epochal.classification import MulticlassConfusionMatrix, MulticlassRecall
from epochal.integrations.lightning import LoggingMixin
from tests.integrations.runs import Model, fitted, logged, on_ranks, pl
from tests.integrations.runs import trainer as trainer_of_lightning
from tests.integrations.test_lightning import SAMPLES, f1, members, scores
from tests.training.test_contract import Extremes
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


class Shared(LoggingMixin, Model):
    """One metric of each kind in training, validation and two loaders."""

    def __init__(self):
        super().__init__()
        self.f1, self.matrix, self.count = f1(), MulticlassConfusionMatrix(CLASSES), SumMetric()
        self.whole = []

    def training_step(self, batch, batch_idx):
        self.shared("train", batch)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.shared("val", batch)

    def shared(self, stage, batch):
        x, y = batch
        p = self.layer(x)
        self.log(f"{stage}_f1", self.f1(p, y), on_step=False, on_epoch=True)
        self.log(f"{stage}_matrix", self.matrix(p, y), on_step=False, on_epoch=True)
        self.count.update(float(len(y)))
        self.log(f"{stage}_count", self.count, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self):
        self.whole.append(self.count.compute().item())
        self.log("val_all", self.count.compute())


class Figures(pl.loggers.CSVLogger):
    """Shows figures, by the method of TensorBoard's writer."""

    def __init__(self, folder):
        super().__init__(folder)
        self.shown = []
        self.counts = {}

    @property
    def experiment(self):
        own = super().experiment
        own.add_figure = self.show
        return own

    def show(self, name, figure, step):
        self.shown.append((name, step))
        self.counts[name] = [int(text.get_text()) for text in figure.axes[0].texts]


def test_one_metric_serves_training_validation_and_several_loaders(tmp_path):
    module, logger = Shared(), Figures(tmp_path)
    options = {"max_epochs": 2, "val_check_interval": 3, "num_sanity_val_steps": 1, "logger": logger}
    run = fitted(module, loader(53, 8), [loader(37, 8, seed=1), loader(21, 8, seed=2)], **options)
    found = logged(run)
    assert found["train_f1"] == pytest.approx(scores(53)[1], abs=1e-6)
    assert found["train_count"] == 53.0
    for i, (samples, seed) in enumerate(((37, 1), (21, 2))):
        assert found[f"val_f1/dataloader_idx_{i}"] == pytest.approx(scores(samples, seed)[1], abs=1e-6)
        assert found[f"val_count/dataloader_idx_{i}"] == samples
    assert module.whole[1:] == [37.0 + 21.0] * 4
    assert found["val_all"] == 58.0
    both = [f"val_matrix/dataloader_idx_{i}" for i in range(2)]
    shown = zip((both, both, ["train_matrix"]) * 2, (3, 6, 7, 10, 13, 14), strict=True)
    assert logger.shown == [(name, step) for names, step in shown for name in names]
    for i, (samples, seed) in enumerate(((37, 1), (21, 2))):
        predicted, truth = labels(Model(), dataset(samples, seed))
        assert logger.counts[both[i]] == confusion_matrix(truth, predicted).ravel().tolist()
    assert module.f1.update_count == module.count.update_count == module.matrix.update_count == 0


def test_several_loaders_on_two_processes(pair):
    loaders = [loader(40, 4, seed=1), loader(24, 4, seed=2)]  # which Lightning need not pad
    for found in pair.run(on_ranks, Shared, loader(48, 4), loaders):
        assert found["train_f1"] == pytest.approx(scores(48)[1], abs=1e-6)
        assert (found["train_count"], found["val_all"]) == (48.0, 64.0)
        for i, (samples, seed) in enumerate(((40, 1), (24, 2))):
            assert found[f"val_f1/dataloader_idx_{i}"] == pytest.approx(scores(samples, seed)[1], abs=1e-6)
            assert found[f"val_count/dataloader_idx_{i}"] == samples


class Forms(LoggingMixin, Model):
    """Collections and dicts by their objects, or by what they returned."""

    def __init__(self, by):
        super().__init__()
        self.by = by
        self.collection = MetricCollection({"a": Extremes(), "b": Extremes(("low", "top"))}, prefix="p_")
        self.one, self.two = Extremes(), Extremes(("low", "peak"))

    def validation_step(self, batch, batch_idx):
        for name in ("collection", "one", "two"):
            metric = getattr(self, name)
            value = metric(batch[1])
            self.log(name, metric if self.by == "object" else value)


@pytest.mark.parametrize("by", ["object", "value"])
def test_names_are_those_of_the_result(by):
    found = logged(fitted(Forms(by), loader(8, 8), loader(53, 8)))
    high = float(dataset(53).tensors[1].max())
    collection = {"p_a_low": 0.0, "p_a_high": high, "p_b_low": 0.0, "p_b_top": high}
    assert found == {**collection, "low": 0.0, "high": high, "two_low": 0.0, "peak": high}


@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_what_cannot_be_shown_is_a_warning():
    module, run = Shared(), trainer_of_lightning()
    with pytest.warns(UserWarning, match=r"self.log\('val_matrix'\): value is no number, and no logger shows figures"):
        run.validate(module, loader(), verbose=False)


@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_a_picture_that_fails_is_a_warning_that_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(RuntimeWarning, match=r"val_matrix.*matplotlib is not installed, .*epochal\[plot\]"):
        trainer_of_lightning(logger=Figures(tmp_path)).validate(Shared(), loader(), verbose=False)


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
