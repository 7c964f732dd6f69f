"""State has a scope: one metric object in several stages and loaders, the sanity check, and what belongs to the run."""

from __future__ import annotations

import pytest
import torch

from epochal import Metric
from epochal.aggregation import CatMetric, MaxMetric, SumMetric
from tests.training.toys import Model, Rows, loader, trainer


class ClassicMean(Metric):
    """A mean of the classic way: its states change in place."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, value):
        self.total += value
        self.count += 1

    def compute(self):
        return self.total / self.count


class Shared(Model):
    """One sum in training and validation, of 1 per training batch and 100 per validation batch."""

    def __init__(self, metric):
        super().__init__()
        self.metric = metric
        self.before: list[float] = []

    def training_step(self, batch, batch_idx):
        self.metric.update(1.0)
        self.log("train", self.metric, on_epoch=True, on_step=False)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.metric.update(100.0)
        self.log("val", self.metric)


def test_one_metric_in_training_and_validation_at_once():
    rows = Rows()
    run = trainer(max_epochs=2, val_check_interval=2, num_sanity_val_steps=2, logger=rows)
    run.fit(Shared(SumMetric()), loader(40, 8), loader(20, 8))
    assert [value for _, value in rows.of("train")] == [5.0, 5.0]
    assert [value for _, value in rows.of("val")] == [300.0] * 4  # after batches 2 and 4 of each epoch


def test_the_classic_way_as_well():
    run = trainer(max_epochs=2, num_sanity_val_steps=1)
    run.fit(Shared(ClassicMean()), loader(40, 8), loader(20, 8))
    assert (run.callback_metrics["train"], run.callback_metrics["val"]) == (1.0, 100.0)


class TwoLoaders(Model):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric
        self.whole = None

    def validation_step(self, batch, batch_idx, dataloader_idx):
        self.metric.update(10.0**dataloader_idx)
        self.log("n", self.metric)

    def on_validation_epoch_end(self):
        self.whole = self.metric.compute().item()
        self.log("all", self.metric.compute())


def test_one_metric_over_several_loaders():
    module = TwoLoaders(SumMetric())
    results = trainer().validate(module, [loader(20, 8), loader(9, 8)], verbose=False)
    assert results == [{"n/dataloader_idx_0": 3.0, "all": 23.0}, {"n/dataloader_idx_1": 20.0, "all": 23.0}]
    assert module.whole == 23.0
    assert module.metric.update_count == 0


def test_the_sanity_check_leaves_every_state_as_it_was():
    module, rows = Shared(CatMetric()), Rows()
    module.metric.update(torch.tensor([7.0]))
    seen = []
    module.on_fit_start = lambda: seen.append(module.metric.update_count)
    module.on_train_start = lambda: seen.append((module.metric.compute().tolist(), module.trainer.callback_metrics))
    trainer(max_epochs=1, num_sanity_val_steps=2, logger=rows, limit_train_batches=1).fit(module, loader(8, 8), loader(20, 8))
    assert seen == [1, ([7.0], {})]


class Best(Model):
    """A metric that no step updates belongs to the run."""

    def __init__(self):
        super().__init__()
        self.score, self.best = SumMetric(), MaxMetric()
        self.highs = iter([1.0, 3.0, 2.0])

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.score.update(next(self.highs))
        self.log("score", self.score)

    def on_validation_epoch_end(self):
        self.best.update(self.score.compute())
        self.log("best", self.best)
        self.score.reset()


def test_a_metric_that_no_step_updates_is_never_reset():
    rows = Rows()
    trainer(max_epochs=3, logger=rows).fit(Best(), loader(8, 8), loader(20, 8))
    assert [value for _, value in rows.of("score")] == [1.0, 3.0, 2.0]
    assert [value for _, value in rows.of("best")] == [1.0, 3.0, 3.0]


class BestByForward(Best):
    def on_validation_epoch_end(self):
        self.log("best", self.best(self.score.compute()))


def test_the_value_that_it_returned_is_the_metric_as_well():
    rows = Rows()
    trainer(max_epochs=3, logger=rows).fit(BestByForward(), loader(8, 8), loader(20, 8))
    assert [value for _, value in rows.of("best")] == [1.0, 3.0, 3.0]


def test_a_metric_that_was_never_logged_is_the_users_own():
    class Counts(Model):
        def __init__(self):
            super().__init__()
            self.batches, self.evaluated = SumMetric(), SumMetric()

        def training_step(self, batch, batch_idx):
            self.batches.update(1.0)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.evaluated.update(1.0)

    module = Counts()
    trainer(max_epochs=3, num_sanity_val_steps=2).fit(module, loader(40, 8), loader(20, 8))
    assert module.batches.compute() == 15.0
    assert module.evaluated.compute() == 9.0


def test_a_metric_outside_of_the_module_is_kept_apart_too():
    class Listed(Model):
        def __init__(self):
            super().__init__()
            self.hidden = [SumMetric()]

        def validation_step(self, batch, batch_idx):
            self.hidden[0].update(1.0)
            self.log("hidden", self.hidden[0])

    rows = Rows()
    trainer(max_epochs=2, logger=rows).fit(Listed(), loader(8, 8), loader(20, 8))
    assert [value for _, value in rows.of("hidden")] == [3.0, 3.0]


def test_a_metric_updated_again_in_the_hook_is_read_again():
    class Again(Shared):
        def on_train_epoch_end(self):
            self.metric.update(0.5)
            self.log("again", self.metric)

    run = trainer()
    run.fit(Again(SumMetric()), loader(40, 8))
    assert run.callback_metrics["train"] == 5.0
    assert run.callback_metrics["again"] == 5.5


@pytest.mark.parametrize("flag", [True, False])
def test_inference_mode_leaves_states_that_training_can_change(flag):
    run = trainer(max_epochs=2, inference_mode=flag)
    run.fit(Shared(ClassicMean()), loader(16, 8), loader(16, 8))
    assert run.callback_metrics["train"] == 1.0
