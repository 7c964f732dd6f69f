"""Every way to log a metric gives the epoch's value over all of its data: scikit-learn's."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from epochal import Metric, MetricCollection
from epochal.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score
from tests.training.toys import CLASSES, Model, Rows, dataset, labels, loader, trainer


def macro_f1():
    return MulticlassF1Score(CLASSES, average="macro")


def collection():
    return MetricCollection({"f1": macro_f1(), "acc": MulticlassAccuracy(CLASSES, average="micro")})


class Styles(Model):
    """The same metric, by every style, in both stages."""

    def __init__(self):
        super().__init__()
        self.by_object, self.by_value, self.by_update, self.by_compute = (macro_f1() for _ in range(4))
        self.by_mix, self.by_collection = macro_f1(), collection()

    def shared(self, batch, stage):
        x, y = batch
        p = self.layer(x)
        self.by_object(p, y)
        self.log(f"{stage}/object", self.by_object, on_step=False, on_epoch=True)
        self.log(f"{stage}/value", self.by_value(p, y), on_step=False, on_epoch=True)
        self.by_update.update(p, y)
        self.log(f"{stage}/update", self.by_update, on_step=True, on_epoch=True)
        self.by_compute.update(p, y)
        self.log_dict({f"{stage}/{k}": v for k, v in self.by_collection(p, y).items()}, on_step=False, on_epoch=True)
        self.log(f"{stage}/mix", self.by_mix(p, y), on_epoch=True, on_step=False)
        return torch.nn.functional.cross_entropy(p, y)

    def training_step(self, batch, batch_idx):
        return self.shared(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.shared(batch, "val")

    def epoch_end(self, stage):
        self.log(f"{stage}/compute", self.by_compute.compute())
        self.by_compute.reset()
        self.log(f"{stage}/mix_compute", self.by_mix.compute())

    def on_train_epoch_end(self):
        self.epoch_end("train")

    def on_validation_epoch_end(self):
        self.epoch_end("val")


@pytest.mark.parametrize("epochs", [1, 2])
def test_all_styles_agree_with_scikit_learn(epochs):
    module, run = Styles(), trainer(max_epochs=epochs, num_sanity_val_steps=2)
    run.fit(module, loader(shuffle=True), loader(samples=29, seed=1))
    got = run.callback_metrics
    for stage, data in (("train", dataset()), ("val", dataset(29, 1))):
        found, truth = labels(module, data)
        f1 = f1_score(truth, found, average="macro")
        for style in ("object", "value", "update", "compute", "f1", "mix", "mix_compute"):
            assert got[f"{stage}/{style}"].item() == pytest.approx(f1, abs=1e-6), (stage, style)
        assert got[f"{stage}/update_epoch"].item() == pytest.approx(f1, abs=1e-6)
        assert got[f"{stage}/acc"].item() == pytest.approx(accuracy_score(truth, found), abs=1e-6)


def test_the_mean_of_batch_values_would_be_another_number():
    """Else the tests above could not tell a right epoch value from a wrong one."""
    module, data = Styles(), dataset()
    found, truth = labels(module, data)
    batches = [f1_score(truth[i : i + 8], found[i : i + 8], average="macro") for i in range(0, len(truth), 8)]
    assert sum(batches) / len(batches) != pytest.approx(f1_score(truth, found, average="macro"), abs=1e-3)


class OneCall(Model):
    def __init__(self, how):
        super().__init__()
        self.how, self.metric, self.members = how, MulticlassConfusionMatrix(CLASSES), collection()
        self.per_class = MulticlassF1Score(CLASSES, average=None)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.how(self, self.layer(x), y)


def validated(how, **options):
    module, run = OneCall(how), trainer(**options)
    (result,) = run.validate(module, loader(), verbose=False)
    return module, run, result


def test_a_matrix_is_kept_whole_in_callback_metrics_alone():
    rows = Rows()
    module, run, result = validated(lambda self, p, y: self.log("cm", self.metric(p, y)), logger=rows)
    found, truth = labels(module, dataset())
    assert run.callback_metrics["cm"].tolist() == confusion_matrix(truth, found, labels=range(CLASSES)).tolist()
    assert "cm" not in result
    assert rows.rows == []


@pytest.mark.parametrize("by", ["value", "object"])
def test_a_vector_becomes_a_key_for_each_element(by):
    def how(self, p, y):
        value = self.per_class(p, y)
        self.log("f1", self.per_class if by == "object" else value)

    module, _, result = validated(how)
    found, truth = labels(module, dataset())
    expected = f1_score(truth, found, average=None, labels=range(CLASSES))
    assert result == {f"f1_{i}": pytest.approx(value, abs=1e-6) for i, value in enumerate(expected)}


@pytest.mark.parametrize("verb", ["log", "log_dict"])
def test_a_collection_gives_its_members(verb):
    def how(self, p, y):
        self.members.update(p, y)
        if verb == "log":
            self.log("members", self.members)
        else:
            self.log_dict(self.members)

    module, _, result = validated(how)
    found, truth = labels(module, dataset())
    assert result == {
        "f1": pytest.approx(f1_score(truth, found, average="macro"), abs=1e-6),
        "acc": pytest.approx(accuracy_score(truth, found), abs=1e-6),
    }


def test_what_was_computed_from_a_value_is_a_plain_number():
    _, _, result = validated(lambda self, p, y: self.log("f1", 100 * self.members(p, y)["f1"], batch_size=1))
    module, data = Styles(), dataset()
    found, truth = labels(module, data)
    batches = [
        MulticlassF1Score.of(macro_f1(), torch.as_tensor(found[i : i + 8]), torch.as_tensor(truth[i : i + 8]))
        for i in range(0, 53, 8)
    ]
    assert result["f1"] == pytest.approx(100 * float(torch.stack(batches).mean()), rel=1e-5)


def test_a_formula_of_metrics_is_a_metric():
    def how(self, p, y):
        self.members.update(p, y)
        self.log("half", 0.5 * self.members["acc"])

    module, _, result = validated(how)
    found, truth = labels(module, dataset())
    assert result["half"] == pytest.approx(0.5 * accuracy_score(truth, found), abs=1e-6)


def test_metrics_of_torchmetrics_are_logged_alike():
    import torchmetrics.classification as theirs

    class Theirs(Model):
        def __init__(self):
            super().__init__()
            self.recall = theirs.MulticlassRecall(CLASSES, average="macro")

        def validation_step(self, batch, batch_idx):
            x, y = batch
            self.recall(self.layer(x), y)
            self.log("recall", self.recall)

    module, run = Theirs(), trainer(num_sanity_val_steps=2, max_epochs=2)
    run.fit(module, loader(), loader(29, seed=1))
    found, truth = labels(module, dataset(29, 1))
    assert run.callback_metrics["recall"].item() == pytest.approx(recall_score(truth, found, average="macro"), abs=1e-6)


def test_values_that_metrics_of_torchmetrics_returned_remember_them():
    import torchmetrics
    from torchmetrics.classification import MulticlassF1Score as TheirF1
    from torchmetrics.classification import MulticlassRecall as TheirRecall

    class Theirs(Model):
        def __init__(self):
            super().__init__()
            self.f1 = TheirF1(CLASSES, average="macro")
            self.members = torchmetrics.MetricCollection([TheirF1(CLASSES), TheirRecall(CLASSES)], prefix="c_")

        def shared(self, batch, stage):
            p = self.layer(batch[0])
            self.log(f"{stage}/f1", self.f1(p, batch[1]), on_step=True, on_epoch=True)
            self.log_dict({f"{stage}/{k}": v for k, v in self.members(p, batch[1]).items()}, on_step=False, on_epoch=True)
            return torch.nn.functional.cross_entropy(p, batch[1])

        def training_step(self, batch, batch_idx):
            return self.shared(batch, "train")

        def validation_step(self, batch, batch_idx):
            self.shared(batch, "val")

    module, run = Theirs(), trainer(num_sanity_val_steps=2, max_epochs=2)
    run.fit(module, loader(), loader(29, seed=1))
    for stage, data in (("train", dataset()), ("val", dataset(29, 1))):
        found, truth = labels(module, data)
        f1, recall = f1_score(truth, found, average="macro"), recall_score(truth, found, average="macro")
        got = {key: value.item() for key, value in run.callback_metrics.items()}
        assert got[f"{stage}/f1_epoch"] == pytest.approx(f1, abs=1e-6)
        assert got[f"{stage}/c_MulticlassF1Score"] == pytest.approx(f1, abs=1e-6)
        assert got[f"{stage}/c_MulticlassRecall"] == pytest.approx(recall, abs=1e-6)
    twin = copy.deepcopy(module.f1)  # which the trainer never met
    assert not hasattr(twin(torch.tensor([0, 1]), torch.tensor([0, 1])), "_epochal_foreign")


class Extremes(Metric):
    """The classic way, with a dict as its result."""

    def __init__(self):
        super().__init__()
        self.add_state("low", torch.tensor(torch.inf), dist_reduce_fx="min")
        self.add_state("high", torch.tensor(-torch.inf), dist_reduce_fx="max")

    def update(self, values):
        self.low, self.high = torch.minimum(self.low, values.min()), torch.maximum(self.high, values.max())

    def compute(self):
        return {"low": self.low, "high": self.high}


@pytest.mark.parametrize("by", ["object", "value"])
@pytest.mark.parametrize(("on_step", "on_epoch"), [(True, True), (True, False), (False, True)])
def test_a_dict_has_the_same_keys_as_an_object_and_as_its_output(by, on_step, on_epoch):
    class Logs(Model):
        def __init__(self):
            super().__init__()
            self.extremes = Extremes()

        def training_step(self, batch, batch_idx):
            value = self.extremes(batch[1])
            self.log("x", self.extremes if by == "object" else value, on_step=on_step, on_epoch=on_epoch)
            return super().training_step(batch, batch_idx)

    logger = Rows()
    run = trainer(logger=logger, log_every_n_steps=1)
    run.fit(Logs(), loader())
    y = dataset().tensors[1]
    batches = y.split(8)
    steps = [(i, float(b.max())) for i, b in enumerate(batches)] if on_step else []
    assert logger.of("high_step" if on_epoch else "high")[: len(steps)] == steps
    last = {"low": float(batches[-1].min()), "high": float(batches[-1].max())}
    whole = {"low": float(y.min()), "high": float(y.max())}
    expected = dict(whole if on_epoch else last)
    if on_step and on_epoch:
        expected.update({f"{k}_step": v for k, v in last.items()}, **{f"{k}_epoch": v for k, v in whole.items()})
    assert {key: value.item() for key, value in run.callback_metrics.items()} == expected


def test_a_vector_of_a_step_becomes_a_key_for_each_element():
    rows = Rows()
    validated(lambda self, p, y: self.log("f1", self.per_class(p, y), on_step=True, on_epoch=False), logger=rows)
    module = OneCall(None)
    found, truth = labels(module, dataset())
    for i in range(CLASSES):
        expected = [
            f1_score(truth[at : at + 8], found[at : at + 8], average=None, labels=range(CLASSES), zero_division=0)[i]
            for at in range(0, 53, 8)
        ]
        assert [value for _, value in rows.of(f"f1_{i}")] == pytest.approx(expected, abs=1e-6)


def test_step_values_are_those_of_the_batch():
    rows = Rows()

    def how(self, p, y):
        self.members["acc"].update(p, y)
        self.log("acc", self.members["acc"], on_step=True)

    module, _, _ = validated(how, logger=rows)
    found, truth = labels(module, dataset())
    expected = [(i // 8, accuracy_score(truth[i : i + 8], found[i : i + 8])) for i in range(0, 53, 8)]
    assert rows.of("acc_step") == [(step, pytest.approx(value, abs=1e-6)) for step, value in expected]
