"""Experiment trackers, by Lightning's logger classes: each run is found again by the tracker's own means."""

from __future__ import annotations

import json

import pytest

from epochal.classification import MulticlassConfusionMatrix
from tests.training.test_remote import Logs
from tests.training.toys import CLASSES, loader, trainer


class Drawn(Logs):
    def __init__(self):
        super().__init__()
        self.matrix = MulticlassConfusionMatrix(num_classes=CLASSES)

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        self.matrix.update(self.layer(batch[0]), batch[1])
        self.log("matrix", self.matrix)


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(offline=True, project="toys", save_dir=tmp_path)
    run = trainer(logger=logger, max_epochs=2, log_every_n_steps=1, enable_checkpointing=True)
    run.fit(Drawn(), loader(), loader(29, seed=1))
    logger.experiment.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = path.read_bytes()
    where = [content.find(json.dumps(loss).encode()) for loss in run.history["loss"]]
    assert -1 not in where
    assert where == sorted(where)
    assert all(json.dumps(value).encode() in content for value in run.history["val"])
    assert len(list(path.parent.glob("files/media/images/matrix*.png"))) == 2
    assert run.checkpoint_callback.best_model_path == str(tmp_path / "toys" / logger.version / "checkpoints/epoch=1-step=14.ckpt")


def test_mlflow_in_files(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from lightning.pytorch.loggers import MLFlowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger("toys", tracking_uri=f"file:{tmp_path}", log_model=True)
    run = trainer(logger=logger, max_epochs=2, log_every_n_steps=1, enable_checkpointing=True)
    run.fit(Logs(), loader(), loader(29, seed=1))
    found = logger.experiment.get_run(logger.run_id)
    assert (found.info.status, found.data.params) == ("FINISHED", {"lr": "0.25"})
    history = logger.experiment.get_metric_history(logger.run_id, "loss")
    assert [(item.step, item.value) for item in history] == list(enumerate(run.history["loss"]))
    folder = tmp_path / logger.name / logger.version
    assert list(folder.glob("artifacts/**/*.ckpt"))
    assert run.checkpoint_callback.best_model_path == str(folder / "checkpoints/epoch=1-step=14.ckpt")
