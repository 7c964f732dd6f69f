"""Our metrics in an unchanged LightningModule of the real Lightning: each value of an epoch is scikit-learn's."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.utils.data import DataLoader

from epochal import MetricCollection
from epochal.classification import MulticlassAccuracy, MulticlassF1Score
from tests.integrations.runs import Model, fitted, logged, on_ranks
from tests.training.toys import CLASSES, dataset, labels, loader

SAMPLES = 44  # shares equally over two ranks and their batches, where Lightning would repeat samples else


def f1() -> MulticlassF1Score:
    return MulticlassF1Score(CLASSES, average="macro")


def members(prefix: str) -> MetricCollection:
    return MetricCollection({"accuracy": MulticlassAccuracy(CLASSES, average="micro"), "f1": f1()}, prefix=prefix)


class Logs(Model):
    """The object, as Lightning's documentation has it."""

    def __init__(self):
        super().__init__()
        self.train_f1, self.val_f1, self.members = f1(), f1(), members("val_")

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.train_f1(self.layer(x), y)
        self.log("train_f1", self.train_f1, on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.val_f1.update(self.layer(x), y)
        self.members(self.layer(x), y)
        self.log("val", self.val_f1)
        self.log_dict(self.members)


def scores(samples: int, seed: int = 0) -> tuple[float, float]:
    predicted, truth = labels(Model(), dataset(samples, seed))
    return accuracy_score(truth, predicted), f1_score(truth, predicted, average="macro")


def test_objects_and_collections_are_logged_and_reset():
    module = Logs()
    found = logged(fitted(module, loader(53, 8), loader(37, 8, seed=1), max_epochs=3))
    accuracy, f1_of_all = scores(37, 1)
    assert found["val"] == found["val_f1"] == pytest.approx(f1_of_all, abs=1e-6)
    assert found["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert found["train_f1_epoch"] == found["train_f1"] == pytest.approx(scores(53)[1], abs=1e-6)
    assert [metric.update_count for metric in (module.train_f1, module.val_f1, *module.members.values())] == [0] * 4


def test_the_step_is_the_batch():
    module, data = Logs(), dataset(53)
    found = logged(fitted(module, DataLoader(data, 8)))
    x, y = (tensor[48:] for tensor in data.tensors)
    assert found["train_f1_step"] == pytest.approx(f1().of(module.layer(x), y).item())


def test_two_processes(pair):
    accuracy, f1_of_all = scores(SAMPLES, 1)
    for found in pair.run(on_ranks, Logs, loader(SAMPLES, 4), loader(SAMPLES, 4, seed=1)):
        assert found["val"] == found["val_f1"] == pytest.approx(f1_of_all, abs=1e-6)
        assert found["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)
        assert found["train_f1_epoch"] == pytest.approx(scores(SAMPLES)[1], abs=1e-6)


def test_the_module_moves_its_metrics():
    module = Logs().to("meta")
    assert module.val_f1.device == module.members["f1"].device == torch.device("meta")


def test_checkpoints_keep_persistent_states(tmp_path):
    class Keeps(Logs):
        def __init__(self):
            super().__init__()
            self.total = f1()
            self.total.persistent(True)

        def validation_step(self, batch, batch_idx):
            self.total.update(self.layer(batch[0]), batch[1])

    path, module = tmp_path / "last.ckpt", Keeps()
    run = fitted(module, loader(24, 8), loader(37, 8, seed=1))
    run.save_checkpoint(path)
    other = Keeps.load_from_checkpoint(path)
    assert other.total.update_count == module.total.update_count == 5
    assert other.total.compute() == module.total.compute()


# --- being taken for a metric of torchmetrics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "imports", ["import epochal.metric as ours, torchmetrics as theirs", "import torchmetrics as theirs, epochal.metric as ours"]
)
def test_whichever_is_imported_first(imports):
    code = f"import sys; {imports}; print(issubclass(ours.Metric, theirs.Metric), 'Awaiting' in repr(sys.meta_path))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["True", "False"]


def test_a_step_has_a_value_only_where_forward_gave_one():
    metric, x, y = f1(), torch.randn(6, CLASSES), torch.tensor([0, 1, 2, 0, 1, 0])
    assert metric._forward_cache is None
    value = metric(x, y)
    assert metric._forward_cache == value
    metric.update(x, y)
    assert metric._forward_cache is None
    group = members("")
    values = group(x, y)
    assert group["f1"]._forward_cache == values["f1"]
    assert pickle.loads(pickle.dumps(group))["f1"]._forward_cache is None
    group.update(x, y)
    assert group["f1"]._forward_cache is None
    formula = f1() + 1
    assert formula(x, y) == formula._forward_cache
