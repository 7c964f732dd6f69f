"""Which checkpoints are written when, under which names, and which are kept."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
import torch

import epochal.training as pl
from epochal.training import storage
from epochal.training.callbacks import ModelCheckpoint
from tests.training.toys import Model, ddp_trainer, loader, rank_environment, trainer

ON = {"enable_checkpointing": True}


class Scores(Model):
    """Each validation logs the next of given values."""

    def __init__(self, values=(), key="val/acc"):
        super().__init__()
        self.values, self.key = list(values), key

    def on_validation_epoch_end(self):
        if self.values and not self.trainer.sanity_checking:
            self.log(self.key, self.values.pop(0))

    def validation_step(self, batch, batch_idx):
        pass


def fitted(checkpoints, module=None, batches=2, val=True, **options):
    run = trainer(**ON, callbacks=checkpoints, **{"max_epochs": 5, **options})
    run.fit(module or Scores(), loader(8 * batches, 8), loader(8, 8) if val else None)
    return run


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.ckpt"))


def test_by_default_the_last_epoch_is_kept(tmp_path):
    run = pl.Trainer(max_epochs=2, default_root_dir=tmp_path, enable_progress_bar=False, accelerator="cpu")
    run.fit(Model(), loader(16, 8))
    assert isinstance(run.checkpoint_callback, ModelCheckpoint)
    (path,) = tmp_path.rglob("*.ckpt")
    assert path == tmp_path / "lightning_logs" / "version_0" / "checkpoints" / "epoch=1-step=4.ckpt"
    assert run.checkpoint_callback.best_model_path == str(path)


def test_without_loggers_they_are_in_the_root_folder(tmp_path):
    fitted([], val=False, default_root_dir=tmp_path)
    assert names(tmp_path) == ["checkpoints/epoch=4-step=10.ckpt"]


def test_none_in_a_fast_dev_run_and_none_if_disabled(tmp_path):
    fitted([ModelCheckpoint(tmp_path)], fast_dev_run=True)
    assert trainer(enable_checkpointing=False).checkpoint_callback is None
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="enable_checkpointing=False"):
        trainer(enable_checkpointing=False, callbacks=ModelCheckpoint())


@pytest.mark.parametrize(
    ("mode", "k", "kept"), [("min", 1, [3]), ("min", 2, [1, 3]), ("max", 2, [0, 2]), ("min", -1, [0, 1, 2, 3, 4]), ("min", 0, [])]
)
def test_the_best_are_kept(mode, k, kept, tmp_path):
    values = [3.0, 1.0, 2.0, 0.5, 1.0]
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", mode=mode, save_top_k=k)
    fitted(checkpoints, Scores(values))
    assert names(tmp_path) == [f"epoch={epoch}.ckpt" for epoch in kept]
    if kept:
        best = min(values) if mode == "min" else max(values)
        assert checkpoints.best_model_score == best
        assert checkpoints.best_model_path == str(tmp_path / f"epoch={values.index(best)}.ckpt")
        assert set(checkpoints.best_k_models) == {str(tmp_path / name) for name in names(tmp_path)}
        assert checkpoints.kth_value == (sorted(values, reverse=mode == "max")[: len(kept)])[-1]


def test_ties_do_not_replace_and_nan_is_the_worst(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc")
    fitted(checkpoints, Scores([math.nan, 1.0, 1.0, math.nan, 1.0]))
    assert names(tmp_path) == ["epoch=1.ckpt"]


def test_names(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}-{val/acc:.2f}-{nope}", monitor="val/acc", mode="max")
    fitted(checkpoints, Scores([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert names(tmp_path) == ["epoch=4-val/acc=0.50-nope=0.ckpt"]
    plain = ModelCheckpoint(filename="e{epoch}-acc{val/acc:.2f}", auto_insert_metric_name=False)
    values = {"epoch": 3, "step": torch.tensor(7), "val/acc": torch.tensor(0.25)}
    assert plain.format_checkpoint_name(values) == "e3-acc0.25.ckpt"
    assert plain.format_checkpoint_name(values, "{step:04d}", ver=2, prefix="my") == "my-0007-v2.ckpt"
    assert ModelCheckpoint().format_checkpoint_name(values) == "epoch=3-step=7.ckpt"


def test_a_name_that_exists_gets_a_version(tmp_path):
    for _ in range(3):
        fitted(ModelCheckpoint(tmp_path, "{epoch}"))
    assert names(tmp_path) == ["epoch=4-v1.ckpt", "epoch=4-v2.ckpt", "epoch=4.ckpt"]
    fitted(ModelCheckpoint(tmp_path, "{epoch}", enable_version_counter=False))
    assert len(names(tmp_path)) == 3


def test_a_constant_name_is_one_file(tmp_path):
    fitted(ModelCheckpoint(tmp_path, "model"))
    assert names(tmp_path) == ["model.ckpt"]


@pytest.mark.parametrize(("save_last", "top_k"), [(True, 1), ("link", 1), (True, 0), ("link", 0)])
def test_last(save_last, top_k, tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", save_last=save_last, save_top_k=top_k)
    run = fitted(checkpoints, Scores([1.0, 0.5, 2.0, 3.0, 4.0]))
    assert names(tmp_path) == [*["epoch=1.ckpt"][:top_k], "last.ckpt"]
    assert checkpoints.last_model_path == str(tmp_path / "last.ckpt")
    assert storage.read(checkpoints.last_model_path)["global_step"] == run.global_step == 10
    again = fitted(ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", save_last="link"), Scores([1.0]), max_epochs=1)
    assert os.path.islink(again.checkpoint_callback.last_model_path)
    assert again.checkpoint_callback.last_model_path == str(tmp_path / "last-v1.ckpt")


def test_steps(tmp_path):
    fitted(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=3))
    assert names(tmp_path) == ["step=3.ckpt", "step=6.ckpt", "step=9.ckpt"]


def test_epochs(tmp_path):
    fitted(ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=2))
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=3.ckpt"]


def test_time(tmp_path):
    fitted(ModelCheckpoint(tmp_path / "often", "{step}", save_top_k=-1, train_time_interval=timedelta(0)), max_epochs=1)
    fitted(ModelCheckpoint(tmp_path / "never", "{step}", save_top_k=-1, train_time_interval=timedelta(days=1)), max_epochs=1)
    assert names(tmp_path) == ["often/step=1.ckpt", "often/step=2.ckpt"]


def test_several_validations_an_epoch_save_at_their_ends(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{step}", monitor="val/acc", save_top_k=-1)
    fitted(checkpoints, Scores([1.0, 2.0, 3.0, 4.0]), batches=4, val_check_interval=2, max_epochs=2)
    assert names(tmp_path) == [f"step={step}.ckpt" for step in (2, 4, 6, 8)]
    fitted(ModelCheckpoint(tmp_path / "a", "{step}", save_on_train_epoch_end=True), batches=4, val_check_interval=2, max_epochs=2)
    assert names(tmp_path / "a") == ["step=8.ckpt"]


def test_a_stale_value_never_decides(tmp_path):
    """Saves at each step wait for the validation that tells their score."""
    checkpoints = ModelCheckpoint(tmp_path, "{step}-{val/acc}", monitor="val/acc", save_top_k=-1, every_n_train_steps=1)
    fitted(checkpoints, Scores([3.0, 1.0, 2.0, math.nan, 0.5]))
    steps = [name.split("-")[0] for name in names(tmp_path / "")]
    assert sorted(steps) == sorted(f"step={step}" for step in (2, 4, 6, 8, 10))
    assert checkpoints.best_model_score == 0.5
    assert "step=10" in checkpoints.best_model_path


def test_a_score_of_steps_decides_at_once(tmp_path):
    class Steps(Model):
        def training_step(self, batch, batch_idx):
            self.log("falls", float(-self.global_step))
            return super().training_step(batch, batch_idx)

    checkpoints = ModelCheckpoint(tmp_path, "{step}", monitor="falls", save_top_k=2, every_n_train_steps=1)
    fitted(checkpoints, Steps(), val=False, max_epochs=2)
    assert names(tmp_path) == ["step=3.ckpt", "step=4.ckpt"]


def test_a_monitor_that_nobody_logs(tmp_path):
    with pytest.raises(ValueError, match=r"it monitors 'val_los', but logged so far are \['val_loss'\]. Log it"):
        fitted(ModelCheckpoint(tmp_path, monitor="val_los"), Scores([1.0], "val_loss"), max_epochs=1)


def test_a_monitor_whose_validation_comes_later(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", save_top_k=-1, save_on_train_epoch_end=True)
    fitted(checkpoints, Scores([1.0, 2.0]), check_val_every_n_epoch=2, max_epochs=4)
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=3.ckpt"]


def test_on_exception(tmp_path):
    class Fails(Scores):
        def training_step(self, batch, batch_idx):
            if self.global_step == 3:
                raise RuntimeError("here")
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="here"):
        fitted(ModelCheckpoint(tmp_path, "{step}", save_on_exception=True, every_n_epochs=9), Fails())
    assert names(tmp_path) == ["step=3.ckpt"]


def test_weights_only(tmp_path):
    fitted(ModelCheckpoint(tmp_path, "a", save_weights_only=True))
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert "state_dict" in found
    assert "optimizer_states" not in found
    with pytest.raises(ValueError, match="It holds weights alone"):
        trainer().fit(Model(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_what_was_kept_is_known_after_going_on(tmp_path):
    make = lambda: ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", save_top_k=2, save_last=True)  # noqa: E731
    fitted(make(), Scores([3.0, 1.0, 2.0]), max_epochs=3)
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=2.ckpt", "last.ckpt"]
    checkpoints = make()
    run = trainer(**ON, callbacks=checkpoints, max_epochs=5)
    run.fit(Scores([0.5, 9.0]), loader(16, 8), loader(8, 8), ckpt_path="last")
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=3.ckpt", "last.ckpt"]
    assert checkpoints.best_model_path == str(tmp_path / "epoch=3.ckpt")
    assert storage.read(tmp_path / "last.ckpt")["epoch"] == 4


def test_the_file_that_a_run_goes_on_from_stays(tmp_path):
    fitted(ModelCheckpoint(tmp_path, "{epoch}"), max_epochs=1)
    run = trainer(**ON, callbacks=ModelCheckpoint(tmp_path, "{epoch}"), max_epochs=3)
    run.fit(Scores(), loader(16, 8), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=2.ckpt"]


def test_several_at_once_keep_their_own_states(tmp_path):
    both = [ModelCheckpoint(tmp_path, "low", monitor="val/acc"), ModelCheckpoint(tmp_path, "high", monitor="val/acc", mode="max")]
    run = fitted(both, Scores([1.0, 3.0, 2.0]), max_epochs=3)
    run.save_checkpoint(tmp_path / "all")
    states = storage.read(tmp_path / "all")["callbacks"]
    assert [states[c.state_key]["best_model_score"].item() for c in both] == [1.0, 3.0]
    assert both[0].state_key.startswith("ModelCheckpoint{'monitor': 'val/acc', 'mode': 'min'")


def test_remote(tmp_path):
    files = fsspec.filesystem("memory")
    run = fitted(ModelCheckpoint("memory://runs/a", "{epoch}", save_last=True))
    assert sorted(path.rsplit("/", 1)[-1] for path in files.ls("/runs/a", detail=False)) == ["epoch=4.ckpt", "last.ckpt"]
    again = trainer(**ON, callbacks=ModelCheckpoint("memory://runs/a", "{epoch}", save_last=True), max_epochs=6)
    again.fit(Scores(), loader(16, 8), ckpt_path="last")
    assert (run.global_step, again.global_step) == (10, 12)
    assert sorted(path.rsplit("/", 1)[-1] for path in files.ls("/runs/a", detail=False)) == ["epoch=5.ckpt", "last.ckpt"]
    with pytest.raises(ValueError, match="links are local"):
        fitted(ModelCheckpoint("memory://runs/b", save_last="link"))


def test_to_yaml(tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/acc", save_top_k=2)
    fitted(checkpoints, Scores([1.0, 2.0]), max_epochs=2)
    checkpoints.to_yaml()
    text = (tmp_path / "best_k_models.yaml").read_text()
    assert text == f'"{tmp_path}/epoch=0.ckpt": 1.0\n"{tmp_path}/epoch=1.ckpt": 2.0\n'


def test_loggers_hear_of_it(tmp_path):
    heard = []

    class Hears(pl.loggers.Logger):
        def log_metrics(self, metrics, step=None):
            pass

        def after_save_checkpoint(self, checkpoint_callback):
            heard.append(checkpoint_callback.best_model_path)

    fitted(ModelCheckpoint(tmp_path, "{epoch}"), logger=Hears(), max_epochs=1)
    assert heard == [str(tmp_path / "epoch=0.ckpt")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"save_top_k": -2}, "save_top_k"),
        ({"save_top_k": 3}, "without a monitor"),
        ({"mode": "best"}, "mode"),
        ({"every_n_epochs": -1}, "every_n_epochs"),
        ({"every_n_epochs": 1, "every_n_train_steps": 1}, "came together"),
        ({"every_n_epochs": 1, "train_time_interval": timedelta(1)}, "came together"),
        ({"save_last": "copy"}, "save_last"),
    ],
)
def test_arguments_that_mean_nothing(arguments, words):
    with pytest.raises(ValueError, match=words):
        ModelCheckpoint(**arguments)


class Differs(Scores):
    """Each rank logs a value of its own, which rank 0 alone shall decide by."""

    def on_validation_epoch_end(self):
        epoch = self.trainer.current_epoch
        self.log("mine", float(epoch if self.global_rank else -epoch), sync_dist=False)


def on_two(rank, size, folder):
    with rank_environment(rank, size):
        checkpoints = ModelCheckpoint(folder, "{epoch}", monitor="mine", save_top_k=2, save_last=True)
        run = ddp_trainer(size, max_epochs=4, callbacks=checkpoints, **ON)
        run.fit(Differs(), loader(16, 4), loader(8, 4))
        return checkpoints.best_model_path, checkpoints.best_model_score.item(), sorted(checkpoints.best_k_models)


def test_ranks_decide_alike(pair, tmp_path):
    first, second = pair.run(on_two, str(tmp_path))
    assert first == second
    assert first[:2] == (str(tmp_path / "epoch=3.ckpt"), -3.0)
    assert names(tmp_path) == ["epoch=2.ckpt", "epoch=3.ckpt", "last.ckpt"]
