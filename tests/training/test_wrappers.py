"""Wrappers in the trainer: their results have the right keys, and the epoch's values, in every style of logging."""

from __future__ import annotations

import pytest
import torch

import epochal
from epochal import wrappers as ew
from epochal.classification import MulticlassRecall
from tests.training.toys import CLASSES, Model, dataset, loader, trainer


def tasks():
    errors = [epochal.MetricCollection([epochal.MeanSquaredError()]) for _ in range(2)]
    return ew.MultitaskWrapper({"low": errors[0], "high": errors[1]}, prefix="task_")


class Wrapped(Model):
    def __init__(self, style):
        super().__init__()
        self.style = style
        self.classes = ew.ClasswiseWrapper(MulticlassRecall(CLASSES, average=None), [*"abc"], prefix="recall_")
        self.extremes = ew.MinMaxMetric(epochal.MeanMetric())
        self.tasks = tasks()

    def given(self, batch):
        x, y = batch
        p = self.layer(x).detach()
        truth = y.float()
        two = ({"low": p[:, 0], "high": p[:, 0] + 1}, {"low": truth, "high": truth})
        return {"classes": (p, y), "extremes": (p,), "tasks": two}

    def training_step(self, batch, batch_idx):
        for name, args in self.given(batch).items():
            metric = getattr(self, name)
            if self.style == "value":
                self.log_dict(metric(*args), on_step=True, on_epoch=True)
            elif self.style == "whole":
                self.log(name, metric(*args), on_step=True, on_epoch=True)
            else:
                metric.update(*args)
                self.log(name, metric, on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("style", ["value", "whole", "object"])
def test_keys_and_values_of_the_epoch(style):
    module, run = Wrapped(style), trainer(max_epochs=2)
    run.fit(module, loader())
    x, y = dataset().tensors
    given = module.given((x, y))
    expected = {**recall_by_class(given["classes"]), "raw": given["extremes"][0].mean()}
    for task, (preds, truth) in {"low": (given["tasks"][0]["low"], y), "high": (given["tasks"][0]["high"], y)}.items():
        expected[f"task_{task}_MeanSquaredError"] = (preds - truth).square().mean()
    last = (dataset().tensors[0][48:], y[48:])
    for name, value in expected.items():
        torch.testing.assert_close(run.callback_metrics[f"{name}_epoch"], value, rtol=1e-5, atol=1e-6)
    assert not [key for key in run.callback_metrics if key in ("MeanSquaredError", "MeanSquaredError_epoch")]
    low = (module.given(last)["tasks"][0]["low"] - last[1]).square().mean()
    torch.testing.assert_close(run.callback_metrics["task_low_MeanSquaredError_step"], low)


def recall_by_class(given):
    values = MulticlassRecall(CLASSES, average=None).of(*given)
    return {f"recall_{name}": value for name, value in zip("abc", values, strict=True)}


class Evaluated(Model):
    """Metrics inside of wrappers, by two loaders, of which each has its own value."""

    def __init__(self):
        super().__init__()
        self.extremes = ew.MinMaxMetric(epochal.MeanMetric())
        self.classes = ew.ClasswiseWrapper(MulticlassRecall(CLASSES, average=None), [*"abc"], prefix="recall_")
        self.listed = [ew.MinMaxMetric(epochal.MeanMetric())]

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        self.extremes.update(x)
        self.classes.update(self.layer(x), y)
        self.listed[0].update(x[:, 0])
        self.log("extremes", self.extremes)
        self.log("classes", self.classes)
        self.log("listed", self.listed[0]["raw"])


def test_each_loader_has_its_own_values():
    module, run = Evaluated(), trainer()
    run.validate(module, [loader(), loader(samples=29, seed=1)])
    for index, data in enumerate((dataset(), dataset(29, 1))):
        x, y = data.tensors
        got = {key: value for key, value in run.callback_metrics.items() if key.endswith(f"/dataloader_idx_{index}")}
        expected = {"raw": x.mean(), "listed": x[:, 0].mean(), **recall_by_class((module.layer(x), y))}
        for name, value in expected.items():
            torch.testing.assert_close(got[f"{name}/dataloader_idx_{index}"], value, rtol=1e-5, atol=1e-6)
        low, raw, high = (got[f"{name}/dataloader_idx_{index}"] for name in ("min", "raw", "max"))
        assert low <= raw <= high
    assert module.extremes.update_count == module.listed[0].update_count == 0


@pytest.mark.parametrize("logs", [None, "object", "value"])
@pytest.mark.parametrize("sanity", [0, 2])
def test_a_tracker_over_epochs(logs, sanity):
    class Tracked(Model):
        def __init__(self):
            super().__init__(lr=0.05)
            self.tracker = ew.MetricTracker(MulticlassRecall(CLASSES, average="micro"))
            self.seen = []

        def on_validation_epoch_start(self):
            self.tracker.increment()

        def validation_step(self, batch, batch_idx):
            x, y = batch
            self.tracker.update(self.layer(x), y)
            self.log("recall", self.tracker) if logs == "object" else None

        def on_validation_epoch_end(self):
            value = self.tracker.compute()
            self.log("recall", value) if logs == "value" else None
            if not self.trainer.sanity_checking:
                self.seen.append(value.item())

    module = Tracked()
    run = trainer(max_epochs=3, num_sanity_val_steps=sanity)
    run.fit(module, loader(), loader(samples=29, seed=1))
    assert module.tracker.n_steps == len(module.seen) == 3
    assert module.tracker.compute_all().tolist() == module.seen
    best, step = module.tracker.best_metric(return_step=True)
    assert best == max(module.seen)
    assert module.seen[step] == best
    x, y = dataset(29, 1).tensors
    assert module.seen[-1] == MulticlassRecall(CLASSES, average="micro").of(module.layer(x), y)
    if logs:
        assert run.callback_metrics["recall"].item() == module.seen[-1]
