"""Flags of the Trainer beyond limits: time, profilers, strategies and precisions, and what is not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import nn

import epochal.training as pl
from epochal import MetricCollection
from epochal.classification import MulticlassAccuracy, MulticlassF1Score
from epochal.training.settings import NOT_HERE, duration_of
from tests.training.toys import CLASSES, Model, ddp_trainer, loader, rank_environment, trainer

ROOT = Path(__file__).parents[2]
gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


# --- time ------------------------------------------------------------------------------------------------------------------


class Slow(Model):
    def training_step(self, batch, batch_idx):
        time.sleep(0.05)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("duration", [timedelta(milliseconds=10), {"milliseconds": 10}])
def test_time_may_be_up_after_a_batch(duration):
    run = trainer(max_time=duration, max_epochs=None)
    run.fit(Slow(), loader())
    assert run.global_step == 1


@pytest.mark.parametrize("duration", ["00:00:00:00", timedelta(0)])
def test_without_time_nothing_is_trained(duration):
    run = trainer(max_time=duration, max_epochs=None)
    run.fit(Slow(), loader())
    assert run.global_step == 0


def test_time_leaves_the_minimum():
    run = trainer(max_time={"seconds": 0}, max_epochs=5, min_epochs=2)
    run.fit(Slow(), loader(16, 8))
    assert (run.global_step, run.current_epoch) == (4, 2)
    run = trainer(max_time="01:00:00:00")
    run.fit(Slow(), loader(16, 8))
    assert run.global_step == 2


def test_durations_as_users_write_them():
    assert duration_of("max_time", "01:02:03:04") == timedelta(days=1, hours=2, minutes=3, seconds=4)
    for wrong in ("1:2", "soon", 5):
        with pytest.raises(ValueError, match=r"Trainer: max_time is .*DD:HH:MM:SS"):
            trainer(max_time=wrong)
    with pytest.raises(TypeError, match=r"max_time is .*'hour'.*hours"):
        trainer(max_time={"hour": 1})


def timed_ranks(rank, size):
    with rank_environment(rank, size):
        run = ddp_trainer(size, max_time=timedelta(milliseconds=10) if rank else timedelta(hours=1), max_epochs=3)
        run.fit(Slow(), loader(48, 4))
        return run.global_step


def test_time_that_is_up_on_one_rank_stops_all(pair):
    assert pair.run(timed_ranks) == [1, 1]


# --- profilers -------------------------------------------------------------------------------------------------------------


class Listens(pl.Callback):
    def on_train_batch_end(self, *args):
        pass


class Validates(Model):
    def validation_step(self, batch, batch_idx):
        self.log("x", 1.0)


def test_the_simple_profiler_counts_each_action(capsys):
    profiler = pl.profilers.SimpleProfiler()
    module = Validates(lr=0.1)
    twin = Validates(lr=0.1)
    trainer(profiler=profiler, callbacks=Listens()).fit(module, loader(24, 8), loader(8, 8))
    trainer().fit(twin, loader(24, 8), loader(8, 8))
    assert torch.equal(module.layer.weight, twin.layer.weight)
    counts = {action: len(times) for action, times in profiler.recorded_durations.items()}
    net = "[LightningModule]Validates"
    assert counts[f"{net}.training_step"] == counts[f"{net}.optimizer_step"] == counts[f"{net}.backward"] == 3
    assert counts[f"{net}.validation_step"] == 1
    assert counts["[Callback]Listens.on_train_batch_end"] == 3
    assert counts["[Loader].train_next"] == 3
    step, whole = (sum(profiler.recorded_durations[f"{net}.{name}"]) for name in ("training_step", "optimizer_step"))
    assert 0 < step < whole  # the closure of the second runs the first
    printed = capsys.readouterr().out
    assert "fit profile" in printed
    assert f"{net}.training_step" in printed


def test_a_profile_may_be_a_file(tmp_path, capsys):
    run = trainer(profiler=pl.profilers.SimpleProfiler(tmp_path / "new", "speed", extended=False))
    run.fit(Model(), loader(8, 8))
    assert "training_step" in (tmp_path / "new/fit-speed.txt").read_text()
    assert capsys.readouterr().out == ""


def test_the_advanced_profiler_names_functions(capsys):
    trainer(profiler="advanced").fit(Validates(), loader(8, 8), loader(8, 8))
    assert "cross_entropy" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_torchs_profiler_sees_the_actions(tmp_path):
    profiler = pl.profilers.PyTorchProfiler(tmp_path, "torch", steps=2, row_limit=-1)
    trainer(profiler=profiler).fit(Model(), loader(48, 8))
    report = (tmp_path / "fit-torch.txt").read_text()
    assert "aten::addmm" in report
    assert "[LightningModule]Model.training_step" in report
    ranges = [event for event in profiler.torch_profiler.events() if event.name.endswith("training_step")]
    assert len(ranges) == 2
    assert json.loads((tmp_path / "fit-torch.json").read_text())["traceEvents"]


def test_a_profiler_of_ones_own():
    class Counts(pl.profilers.Profiler):
        actions: tuple[str, ...] = ()

        def start(self, action_name):
            self.actions += (action_name,)

    profiler = Counts()
    with profiler.profile("mine"):
        pass
    trainer(profiler=profiler).validate(Validates(), loader(8, 8), verbose=False)
    assert profiler.actions == ("mine", "[Loader].validate_next", "[LightningModule]Validates.validation_step")
    with pytest.raises(ValueError, match=r"profiler is 'simpel', .* Did you mean 'simple'"):
        trainer(profiler="simpel")
    with pytest.raises(TypeError, match="profiler is 3"):
        trainer(profiler=3)


# --- hardware: Fabric's work -------------------------------------------------------------------------------------------------


def launched(tmp_path, strategy, *more):
    report = tmp_path / "report.json"
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.launched", str(report), strategy, *more]
    began = time.monotonic()
    process = subprocess.run(command, cwd=ROOT, env=environment, timeout=150, capture_output=True, text=True)
    return process, (json.loads(report.read_text()) if report.exists() else None), time.monotonic() - began


def test_ddp_starts_its_processes_and_trains_as_one(tmp_path):
    process, found, _ = launched(tmp_path, "ddp")
    assert process.returncode == 0, process.stderr
    module, run = Validates(lr=0.1), trainer(max_epochs=2)
    module.validation_step = lambda batch, batch_idx: module.log("val_loss", Model.training_step(module, batch, batch_idx))
    run.fit(module, loader(48, 8), loader(13, 4, seed=1))
    torch.testing.assert_close(torch.tensor(found["weights"]), module.layer.weight.detach())
    assert found["val_loss"] == pytest.approx(float(run.callback_metrics["val_loss"]), rel=1e-5)


@pytest.mark.parametrize("where", ["train", "validate"])
def test_a_killed_process_ends_the_other_with_an_error(tmp_path, where):
    process, found, seconds = launched(tmp_path, "ddp", where)
    assert process.returncode != 0
    ends = ("by peer", "exit code", "is unusable from now on")  # torch's, the launcher's, the exchange's
    assert any(end in process.stderr for end in ends)
    assert found is None
    assert seconds < 120


def precise(rank, size, flags):
    with rank_environment(rank, size):
        module = Model(lr=0.5)
        ddp_trainer(size, **flags).fit(module, loader(48, 4))
        return module.layer.weight.detach()


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_in_mixed_precision(pair, algorithm):
    flags = {"precision": "bf16-mixed", "gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    first, second = pair.run(precise, flags)
    one = Model(lr=0.5)
    trainer(**flags).fit(one, loader(48, 8))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, one.layer.weight.detach(), atol=1e-3, rtol=0)
    moved = (first - Model().layer.weight).abs().max()
    assert 0 < moved <= 6 * 0.5 * 1e-3 * 1.01


def test_fsdp_is_for_gpus():
    with pytest.raises(ValueError, match="FSDP is only available on GPU"):
        trainer(strategy="fsdp", devices=2)


def test_dp_on_cpus_is_ddp():
    from lightning_fabric.strategies import DDPStrategy

    with pytest.warns(UserWarning, match="'dp' is not supported on CPUs, hence setting"):
        run = trainer(strategy="dp", devices=2)
    assert isinstance(run.strategy, DDPStrategy)


@gpus
@pytest.mark.parametrize("strategy", ["fsdp", "dp"])
def test_on_gpus(strategy):
    run = pl.Trainer(accelerator="gpu", devices=2, strategy=strategy, max_epochs=1, logger=False, enable_progress_bar=False)
    run.fit(Model(lr=0.1), loader())
    assert run.global_step > 0


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ({"strategy": "ddpp"}, r"Trainer: strategy is 'ddpp', .* Did you mean 'ddp'\?"),
        ({"accelerator": "gpus"}, r"Trainer: accelerator is 'gpus', .* Did you mean 'gpu'\?"),
        ({"precision": "bf16-mixd"}, r"Trainer: precision is 'bf16-mixd', .* Did you mean 'bf16-mixed'\?"),
    ],
)
def test_what_fabric_does_not_know_names_the_closest(flags, match):
    with pytest.raises(ValueError, match=match):
        trainer(**flags)


def test_plugins_and_nodes_are_passed_through():
    from lightning_fabric.plugins.precision import DoublePrecision

    run = trainer(plugins=DoublePrecision())
    assert (run.precision, run.num_nodes, run.device_ids, run.num_devices) == ("64-true", 1, [0], 1)
    assert isinstance(run.precision_plugin, DoublePrecision)
    run.fit(Model(), loader(8, 8))


def test_a_module_is_built_in_the_precision_of_the_run():
    run = trainer(precision="64-true")
    with run.init_module():
        module = Model()
    assert module.layer.weight.dtype == torch.float64
    assert module.device_mesh is None


class Normalises(Model):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(CLASSES)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.norm(self.layer(batch[0])), batch[1])


def normalised(rank, size):
    with rank_environment(rank, size):
        try:
            ddp_trainer(size, sync_batchnorm=True).fit(Normalises(), loader(16, 4))
        except ValueError as error:
            return str(error)


def test_sync_batchnorm_is_for_gpus(pair):
    module = Normalises()
    trainer(sync_batchnorm=True).fit(module, loader())  # one process has nothing to synchronise
    assert isinstance(module.norm, nn.BatchNorm1d)
    for text in pair.run(normalised):
        assert text.startswith("Trainer: sync_batchnorm is True on CPUs, but torch has it for GPUs alone")


@pytest.mark.parametrize("inference_mode", [True, False])
def test_inference_mode(inference_mode):
    seen = []

    class Looks(Model):
        def validation_step(self, batch, batch_idx):
            seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))

    trainer(inference_mode=inference_mode).validate(Looks(), loader(8, 8), verbose=False)
    assert seen == [(inference_mode, False)]


def test_deterministic_asks_cublas_too(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        trainer(deterministic="warn").fit(Model(), loader(8, 8))
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("flag", sorted(NOT_HERE))
def test_flags_of_lightnings_platform_are_refused(flag):
    with pytest.raises(ValueError, match=f"Trainer: {flag} is .* it is not here"):
        trainer(**{flag: True})


# --- errors in the midst of a run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_is_named(value):
    class Diverges(Model):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * float(value) if batch_idx == 2 else loss

    with pytest.raises(ValueError, match=f"training_step: the loss is {value} in batch 2 of epoch 0"):
        trainer(detect_anomaly=True).fit(Diverges(), loader())
    trainer().fit(Diverges(), loader())  # nobody asked


@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected")
def test_gradients_that_are_nan_are_named_by_torch():
    class Root(Model):
        def training_step(self, batch, batch_idx):
            return (self.layer(batch[0]) * 0).sqrt().sum()

    with pytest.raises(RuntimeError, match="returned nan values"):
        trainer(detect_anomaly=True).fit(Root(), loader())


def test_a_batch_that_is_elsewhere_is_named():
    class Stays(Model):
        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            return {"x": batch[0].to("meta"), "y": [batch[1]]}

        def training_step(self, batch, batch_idx):
            return super().training_step((batch["x"], batch["y"][0]), batch_idx)

    with pytest.raises(RuntimeError, match=r"batch\['x'\] is on meta, but the model is on cpu. Move it in transfer_batch"):
        trainer().fit(Stays(), loader())


def test_no_optimizer_runs_and_warns():
    class Without(Model):
        def configure_optimizers(self):
            return None

    module = Without()
    before = module.layer.weight.clone()
    with pytest.warns(UserWarning, match="configure_optimizers: it returned no optimizer"):
        trainer().fit(module, loader())
    assert torch.equal(before, module.layer.weight)


# --- nn.DataParallel, which is made for GPUs: its replicas without them -------------------------------------------------------


class Parallel(Model):
    """Metrics of old, where they belong under strategy dp; ``where`` is the wrong place that it is asked for."""

    def __init__(self, where=""):
        super().__init__(lr=0.1)
        self.where, self.accuracy, self.scores = where, MulticlassAccuracy(CLASSES), MetricCollection([MulticlassF1Score(CLASSES)])

    def training_step(self, batch, batch_idx):
        x, y = batch
        p = self.layer(x)
        if self.where:
            p = torch.nn.functional.one_hot(y, CLASSES).float()
        if self.where == "log":
            self.log("x", 1.0)
        elif self.where == "log_dict":
            self.log_dict({"x": 1.0})
        elif self.where:
            getattr(self, self.where)(p, y)
        return {"p": p, "y": y, "losses": torch.nn.functional.cross_entropy(p, y, reduction="none")}

    def training_step_end(self, out):
        self.accuracy.update(out["p"], out["y"])
        self.scores(out["p"], out["y"])
        self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
        self.log_dict(self.scores, on_step=False, on_epoch=True)
        return out["losses"].mean()


PLACES = ["accuracy", "scores", "log", "log_dict"]


@pytest.mark.parametrize("where", PLACES)
def test_a_replica_takes_no_data_and_points_to_the_hook_behind_the_step(where):
    module = Parallel(where)
    trainer().fit(Parallel(), loader(8, 8))  # in one process nothing is replicated
    module.layer = nn.Identity()  # replicas of parameters need GPUs
    replicas = nn.parallel.replicate(module, [0, 1])
    for replica in replicas:
        with pytest.raises(RuntimeError, match=r"in a replica of nn.DataParallel \(strategy dp\).* training_step_end"):
            replica.training_step([torch.zeros(2, 4), torch.tensor([0, 1])], 0)
        assert replica.where == where
    assert module.accuracy.update_count == module.scores["MulticlassF1Score"].update_count == 0
    module.accuracy.update(torch.eye(3), torch.arange(3))
    assert module.accuracy.compute() == 1
    assert nn.parallel.replicate(module, [0])[0].accuracy.compute() == 1  # it may be read


def test_the_losses_of_several_devices_are_averaged(monkeypatch):
    class Losses(Model):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return torch.stack([nn.functional.cross_entropy(self.layer(x[i::2]), y[i::2]) for i in (0, 1)])

    with pytest.raises(ValueError, match=r"training_step: the loss is of shape \(2,\), .* Return loss.mean\(\)"):
        trainer().fit(Losses(lr=0.1), loader(16, 8))
    monkeypatch.setattr("epochal.training.steps.DataParallelStrategy", SingleDeviceStrategy)  # what dp gathers, without GPUs
    gathered, whole = Losses(lr=0.1), Model(lr=0.1)
    trainer().fit(gathered, loader(16, 8))
    trainer().fit(whole, loader(16, 8))
    torch.testing.assert_close(gathered.layer.weight, whole.layer.weight)


@gpus
@pytest.mark.parametrize("where", PLACES)
def test_an_update_in_the_step_raises_under_dp(where):
    run = pl.Trainer(accelerator="gpu", devices=2, strategy="dp", max_epochs=1, logger=False, enable_progress_bar=False)
    with pytest.raises(RuntimeError, match="training_step_end"):
        run.fit(Parallel(where), loader(16, 8))


@gpus
def test_metrics_behind_the_step_see_all_devices_under_dp():
    run = pl.Trainer(accelerator="gpu", devices=2, strategy="dp", max_epochs=2, logger=False, enable_progress_bar=False)
    one, many, alone = Parallel(), Parallel(), trainer(max_epochs=2)
    run.fit(many, loader(48, 8))
    alone.fit(one, loader(48, 8))
    torch.testing.assert_close(many.layer.weight.cpu(), one.layer.weight)
    for key in ("accuracy", "MulticlassF1Score"):
        assert float(run.callback_metrics[key]) == pytest.approx(float(alone.callback_metrics[key]))
