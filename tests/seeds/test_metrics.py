"""Two pages on metrics in Lightning, of 0.x and of 1.x: what each of their modules logs, beside scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score

import epochal
from epochal import Metric
from epochal.training import LightningModule
from tests.seeds.blocks.metrics import (
    collection,
    in_lines,
    loaders,
    manual,
    mixing,
    my_model,
    my_module,
    nested,
    rank_zero,
    update_only,
    value,
)
from tests.seeds.blocks.metrics_of_old import my_model as my_old_model
from tests.seeds.blocks.metrics_of_old import my_module as my_old_module
from tests.seeds.blocks.metrics_of_old import step_end
from tests.training.toys import CLASSES, Rows, dataset, ddp_trainer, labels, loader, rank_environment, trainer

TRAIN, VAL, BATCH = dataset(), dataset(29, 1), 8


def fitted(module: LightningModule, epochs: int = 2) -> tuple[dict[str, float], Rows]:
    """What is known after a fit, and all rows of the loggers."""
    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=1, max_epochs=epochs)
    run.fit(module, loader(), loader(29, seed=1))
    return {key: value.item() for key, value in run.callback_metrics.items()}, rows


def accuracy(module, data, score=accuracy_score) -> float:
    found, truth = labels(module, data)
    return pytest.approx(score(truth, found), abs=1e-6)


def by_batch(module, data, score=accuracy_score) -> list[float]:
    found, truth = labels(module, data)
    starts = range(0, len(truth), BATCH)
    return [pytest.approx(score(truth[i : i + BATCH], found[i : i + BATCH]), abs=1e-6) for i in starts]


def values(rows: Rows, key: str) -> list[float]:
    return [value for _, value in rows.of(key)]


@pytest.mark.parametrize("make", [my_old_model.MyModel, lambda: my_model.MyModel(CLASSES)], ids=["of old", "today"])
def test_the_step_in_the_step_and_the_epoch_in_its_end(make):
    """By value and ``compute()``, or by the object under two names."""
    module = make()
    got, rows = fitted(module)
    assert got["train_acc_epoch"] == accuracy(module, TRAIN)
    assert values(rows, "train_acc_step") == by_batch(module, TRAIN) * 2
    assert values(rows, "train_acc_epoch") == [accuracy(module, TRAIN)] * 2
    assert set(got) == {"train_acc_step", "train_acc_epoch"}


@pytest.mark.parametrize("make", [my_old_module.MyModule, lambda: my_module.MyModule(CLASSES)], ids=["of old", "today"])
def test_the_object(make):
    module = make()
    got, rows = fitted(module)
    assert values(rows, "train_acc") == by_batch(module, TRAIN) * 2
    assert values(rows, "valid_acc_step") == by_batch(module, VAL) * 2
    assert values(rows, "valid_acc_epoch") == [accuracy(module, VAL)] * 2
    assert got["valid_acc"] == got["valid_acc_epoch"] == accuracy(module, VAL)
    assert set(got) == {"train_acc", "valid_acc", "valid_acc_epoch"}


def test_a_step_is_measured_in_its_end():
    """``training_step_end`` returns nothing: the step's own output counts."""
    module = step_end.MyModule()
    got, rows = fitted(module)
    assert values(rows, "metric") == by_batch(module, TRAIN) * 2
    assert module.trainer.global_step == 14
    assert set(got) == {"metric"}


def test_values_by_hand():
    module = manual.MyModule(CLASSES)
    got, rows = fitted(module)
    assert values(rows, "train_acc_step") == by_batch(module, TRAIN) * 2
    assert values(rows, "valid_acc_epoch") == [accuracy(module, VAL)] * 2
    assert set(got) == {"train_acc_step", "valid_acc_epoch"}


def test_an_object_that_was_only_updated():
    module, rows = update_only.MyModule(CLASSES), Rows()
    run = trainer(logger=rows)
    (got,) = run.validate(module, loader(29, seed=1), verbose=False)
    assert got["valid_acc_epoch"] == accuracy(module, VAL)
    assert values(rows, "valid_acc_step") == by_batch(module, VAL)


def macro_f1(truth, found):
    return f1_score(truth, found, average="macro")


def test_a_collection_and_its_clone():
    module = collection.MyModule()
    got, rows = fitted(module)
    assert values(rows, "train_accuracy") == by_batch(module, TRAIN) * 2
    assert got["valid_accuracy"] == accuracy(module, VAL)
    assert got["valid_f1"] == accuracy(module, VAL)  # of all labels pooled the two are one
    assert set(got) == {"train_accuracy", "train_f1", "valid_accuracy", "valid_f1"}


def recall(average):
    """A class that occurs in neither truth nor prediction is no class of a batch."""
    return lambda truth, found: recall_score(truth, found, average=average, labels=sorted({*truth, *found}), zero_division=0)


def test_members_whose_values_are_dictionaries_do_not_fail():
    """Each leaf is a key; the name of the member stands before it. Of a batch, its value and both extremes are one."""
    module = nested.MyModule()
    _, rows = fitted(module)
    macro, weighted = (by_batch(module, TRAIN, recall(average)) for average in ("macro", "weighted"))
    for leaf in ("raw", "min", "max"):
        assert values(rows, f"train_macro_accuracy_{leaf}") == macro * 2
        assert values(rows, f"train_weighted_accuracy_{leaf}") == weighted * 2


def test_a_metric_for_each_loader():
    module, run = loaders.MyModule(CLASSES), trainer()
    first, second = run.validate(module, verbose=False)
    assert first == {"val_acc/dataloader_idx_0": accuracy(module, VAL)}
    assert second == {"val_acc/dataloader_idx_1": accuracy(module, dataset(17, 2))}


@pytest.mark.parametrize("block", [mixing, value])
def test_what_the_page_warns_of_gives_the_right_number(block):
    """The object in the step and ``compute()`` in the end, under one key; the value instead of the object."""
    module, run = block.MyModule(), trainer()
    (got,) = run.validate(module, loader(29, seed=1), verbose=False)
    assert got == {"val": accuracy(module, VAL, macro_f1)}
    assert macro_f1(*reversed(labels(module, VAL))) != pytest.approx(
        sum(v.expected for v in by_batch(module, VAL, macro_f1)) / 4, abs=1e-3
    )  # else the test could not tell


def test_called_in_one_line_and_logged_in_the_next():
    module = in_lines.MyModule()
    _, rows = fitted(module, 1)
    assert values(rows, "train_acc_step") == by_batch(module, TRAIN)


# --- a metric of rank 0 alone ------------------------------------------------------------------------------------------------


class Distance(Metric):
    """Of means: called like the page's metric, whose network is not at hand."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("real", torch.zeros(2), dist_reduce_fx="sum")
        self.add_state("fake", torch.zeros(2), dist_reduce_fx="sum")

    def measure(self, x, real):
        part = torch.tensor([float(x.sum()), x.numel()])
        return {"real": part * real, "fake": part * (not real)}

    def value(self, real, fake):
        return (real[0] / real[1] - fake[0] / fake[1]).abs()


def validated(rank, size):
    rank_zero.torchmetrics = SimpleNamespace(image=SimpleNamespace(FrechetInceptionDistance=Distance))
    with rank_environment(rank, size):
        module = rank_zero.MyModule(CLASSES)
        run = ddp_trainer(size)
        run.validate(module, loader(29, seed=1), verbose=False)
        return {key: value.item() for key, value in run.callback_metrics.items()}, module.metric.update_count


def test_a_metric_of_rank_0_alone_waits_for_nobody(pair):
    (got, _), (nothing, updates) = pair.run(validated)
    assert nothing == {}
    assert updates == 0
    assert got == {"val_fid": pytest.approx(expected_of_rank_0(), rel=1e-5)}


def expected_of_rank_0() -> float:
    """The metric's value of all the images of this rank, which are every second one: not a mean of what its steps logged."""
    images = dataset(29, 1).tensors[0][0::2]
    with torch.no_grad():
        return float((images.mean() - rank_zero.net()(images).mean()).abs())


IMAGE = getattr(epochal, "image", None)


@pytest.mark.skipif(not hasattr(IMAGE, "FrechetInceptionDistance"), reason="there are no metrics of images yet")
def test_the_metric_of_that_page_is_there():
    assert issubclass(IMAGE.FrechetInceptionDistance, Metric)
