"""What is in a checkpoint, that it is whole or absent, and what loads it."""

from __future__ import annotations

import argparse
import enum
import os
import signal
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import nn

import epochal.training as pl
from epochal.aggregation import SumMetric
from epochal.classification import MulticlassAccuracy
from epochal.training import storage
from epochal.training.callbacks import Callback, ModelCheckpoint
from tests.training.test_resume import Rich
from tests.training.toys import CLASSES, Model, loader, trainer

ROOT = Path(__file__).parents[2]


class Built(Model):
    def __init__(self, width=4, lr=0.1, *, name="x", **rest):
        super().__init__(lr)
        self.save_hyperparameters()
        self.head = nn.Linear(CLASSES, width)


def saved(module, path, run=None, **options):
    run = run or trainer(**options)
    run.fit(module, loader(16, 8))
    run.save_checkpoint(path)
    return run


# --- what it holds -------------------------------------------------------------------------------------------------------


def test_its_keys_are_those_that_users_of_lightning_read(tmp_path):
    run = saved(Built(5), tmp_path / "a.ckpt", max_epochs=3)
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert (found["epoch"], found["global_step"]) == (3, 6)
    assert found["hyper_parameters"] == {"width": 5, "lr": 0.1, "name": "x"}
    assert list(found["state_dict"]) == ["layer.weight", "layer.bias", "head.weight", "head.bias"]
    assert torch.equal(found["state_dict"]["layer.weight"], run.lightning_module.layer.weight)
    assert found["optimizer_states"][0]["param_groups"][0]["lr"] == 0.1
    assert found["lr_schedulers"] == []
    assert {"callbacks", "loops"} <= set(found)


def test_hooks_put_in_and_take_out(tmp_path):
    class Own(Model):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["mine"] = {"a": [1, 2.0, torch.ones(2)]}

        def on_load_checkpoint(self, checkpoint):
            self.found = checkpoint["mine"]["a"][:2]

    class Counts(Callback):
        count, loaded = 0, None

        def on_train_batch_end(self, *args):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state_dict):
            self.count = state_dict["count"]

        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            checkpoint["too"] = defaultdict(int, a=1)

        def on_load_checkpoint(self, trainer, pl_module, checkpoint):
            self.loaded = checkpoint["too"]

    saved(Own(), tmp_path / "a.ckpt", callbacks=Counts())
    module, again = Own(), Counts()
    trainer(callbacks=again, max_epochs=2).fit(module, loader(16, 8), ckpt_path=tmp_path / "a.ckpt")
    assert module.found == [1, 2.0]
    assert (again.count, again.loaded) == (4, {"a": 1})
    assert Own.load_from_checkpoint(tmp_path / "a.ckpt").found == [1, 2.0]


def test_what_does_not_load_safely_is_refused_where_it_is_put_in(tmp_path):
    class Own(Model):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["mine"] = {"a": [1, object()]}

    with pytest.raises(TypeError, match=r"mine\['a'\]\[1\] is a object, but numbers, strings"):
        saved(Own(), tmp_path / "a.ckpt")
    assert os.listdir(tmp_path) == []


class Allowed:
    pass


def test_registered_classes_are_kept(tmp_path):
    class Own(Model):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["mine"] = Allowed()

    with torch.serialization.safe_globals([Allowed]):
        saved(Own(), tmp_path / "a.ckpt")
        assert isinstance(storage.read(tmp_path / "a.ckpt")["mine"], Allowed)


def test_the_datamodule_is_in_it(tmp_path):
    class Data(pl.LightningDataModule):
        def __init__(self, size=16):
            self.save_hyperparameters()
            self.given = 0

        def train_dataloader(self):
            self.given += 1
            return loader(self.hparams.size, 8)

        def state_dict(self):
            return {"given": self.given}

        def load_state_dict(self, state_dict):
            self.given = state_dict["given"]

    run = trainer()
    run.fit(Model(), datamodule=Data(24))
    run.save_checkpoint(tmp_path / "a.ckpt")
    data = Data.load_from_checkpoint(tmp_path / "a.ckpt")
    assert (data.hparams.size, data.given) == (24, 1)
    again = Data(24)
    trainer(max_epochs=2).fit(Model(), datamodule=again, ckpt_path=tmp_path / "a.ckpt")
    assert again.given >= 1


@pytest.mark.parametrize("persistent", [False, True])
def test_metrics_are_resumed_and_never_count_twice(persistent, tmp_path):
    """What an epoch held is gone at its end, also from ``state_dict``; what belongs to the run stays."""

    class Counts(Model):
        def __init__(self):
            super().__init__()
            self.samples, self.steps = SumMetric(), SumMetric()
            for metric in (self.samples, self.steps):
                metric.persistent(persistent)

        def training_step(self, batch, batch_idx):
            self.samples.update(float(len(batch[0])))
            self.log("samples", self.samples, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

        def on_train_epoch_end(self):
            self.steps.update(1.0)
            self.log("epochs", self.steps)

    make = lambda: ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)  # noqa: E731
    trainer(enable_checkpointing=True, callbacks=make(), max_epochs=2).fit(Counts(), loader(53, 8))
    found = storage.read(tmp_path / "epoch=1.ckpt")
    assert ("samples.sum_value" in found["state_dict"]) == persistent
    if persistent:
        assert found["state_dict"]["samples.sum_value"] == 0
    run = trainer(max_epochs=3)
    run.fit(Counts(), loader(53, 8), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert run.callback_metrics["samples"] == 53
    assert run.callback_metrics["epochs"] == 3
    module = Counts.load_from_checkpoint(tmp_path / "epoch=1.ckpt")
    run = trainer(max_epochs=1)
    run.fit(module, loader(53, 8))
    assert run.callback_metrics["samples"] == 53


# --- files ---------------------------------------------------------------------------------------------------------------

KILLED = """
import os, sys, threading, time
from epochal.training import storage
import torch

def kill():
    time.sleep(float(sys.argv[2]))
    os.kill(os.getpid(), 9)

big = {"x": torch.zeros(20_000_000)}
storage.write({"n": 0, **big}, sys.argv[1])
print("ready", flush=True)
threading.Thread(target=kill).start()
for n in range(1, 1000):
    big["x"].fill_(n)
    storage.write({"n": n, **big}, sys.argv[1])
"""


@pytest.mark.parametrize("after", [0.05, 0.12])
def test_a_file_is_whole_or_absent(after, tmp_path):
    path = tmp_path / "a.ckpt"
    ended = subprocess.run([sys.executable, "-c", KILLED, path, str(after)], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    assert ended.returncode == -signal.SIGKILL
    found = storage.read(path)
    assert bool((found["x"] == found["n"]).all())


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    storage.write({"n": 1}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="pickle"):
        storage.write({"n": lambda: 0}, tmp_path / "a.ckpt")
    assert storage.read(tmp_path / "a.ckpt") == {"n": 1}


def test_on_a_memory_file_system():
    saved(Model(), "memory://some/where/a.ckpt")
    assert Model.load_from_checkpoint("memory://some/where/a.ckpt").layer.weight.shape == (CLASSES, 4)


def test_files_that_cannot_be_read(tmp_path):
    storage.write({"n": 1}, tmp_path / "epoch=1.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no such file. Did you mean 'epoch=1.ckpt'|The folder holds epoch=1.ckpt"):
        trainer().fit(Model(), loader(), ckpt_path=tmp_path / "epoch=2.ckpt")
    whole = (tmp_path / "epoch=1.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="a whole file is needed"):
        storage.read(tmp_path / "half.ckpt")
    torch.save({"n": Allowed()}, tmp_path / "unsafe.ckpt")
    with pytest.raises(TypeError, match="pass weights_only=False"):
        storage.read(tmp_path / "unsafe.ckpt")
    assert isinstance(storage.read(tmp_path / "unsafe.ckpt", weights_only=False)["n"], Allowed)


# --- hyperparameters and load_from_checkpoint ----------------------------------------------------------------------------


def test_a_module_is_built_again(tmp_path):
    module = Built(7, name="y", extra=3)
    saved(module, tmp_path / "a.ckpt")
    again = Built.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.hparams == {"width": 7, "lr": 0.1, "name": "y", "extra": 3} == again.hparams_initial
    assert torch.equal(again.layer.weight, module.layer.weight)
    assert Built.load_from_checkpoint(tmp_path / "a.ckpt", lr=0.5).hparams.lr == 0.5


def test_a_subclass_keeps_its_own_arguments(tmp_path):
    class Base(Model):
        def __init__(self, lr):
            super().__init__(lr)
            self.save_hyperparameters(ignore="ignored")

    class Derived(Base):
        def __init__(self, depth, ignored=None):
            super().__init__(lr=depth / 10)

    module = Derived(3)
    assert module.hparams == {"lr": 0.3, "depth": 3}
    saved(module, tmp_path / "a.ckpt")
    assert Derived.load_from_checkpoint(tmp_path / "a.ckpt").hparams.depth == 3


@pytest.mark.parametrize("kind", [dict, argparse.Namespace])
def test_one_argument_that_holds_all(kind, tmp_path):
    class Configured(Model):
        def __init__(self, conf):
            super().__init__()
            self.save_hyperparameters(conf)

    saved(Configured(kind(a=1, b=[2])), tmp_path / "a.ckpt")
    again = Configured.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.hparams.a == 1
    assert again.hparams == {"a": 1, "b": [2]}


def test_names_and_other_classes(tmp_path):
    class Named(Model):
        def __init__(self, a, b, c=3):
            super().__init__()
            self.save_hyperparameters("a", "c", logger=False)

    assert Named(1, 2).hparams == {"a": 1, "c": 3}
    assert Named(1, 2).hparams_to_log == {}
    saved(Named(1, 2), tmp_path / "a.ckpt")
    with pytest.raises(TypeError, match=r"__init__ needs \['b'\], too. Pass them: load_from_checkpoint\(path, b=...\)"):
        Named.load_from_checkpoint(tmp_path / "a.ckpt")
    assert Named.load_from_checkpoint(tmp_path / "a.ckpt", b=2).hparams.c == 3


class Color(str, enum.Enum):
    RED = "red"


def test_hyperparameters_that_are_not_plain_are_left_out(tmp_path):
    class Wraps(Model):
        def __init__(self, backbone, folder, color):
            super().__init__()
            self.save_hyperparameters()

    with pytest.warns(UserWarning, match=r"hyperparameters \['backbone'\] are \['Linear'\].*pass them to load_from_checkpoint"):
        saved(Wraps(nn.Linear(1, 1), Path("x"), Color.RED), tmp_path / "a.ckpt")
    assert storage.read(tmp_path / "a.ckpt")["hyper_parameters"] == {"folder": "x", "color": "red"}
    with pytest.raises(TypeError, match=r"backbone=..."):
        Wraps.load_from_checkpoint(tmp_path / "a.ckpt")
    Wraps.load_from_checkpoint(tmp_path / "a.ckpt", backbone=None)


def test_strictness(tmp_path):
    saved(Model(), tmp_path / "a.ckpt")

    class More(Model):
        def __init__(self):
            super().__init__()
            self.more = nn.Linear(1, 1)

    class Lenient(More):
        strict_loading = False

    with pytest.raises(RuntimeError, match=r"more.weight"):
        More.load_from_checkpoint(tmp_path / "a.ckpt")
    More.load_from_checkpoint(tmp_path / "a.ckpt", strict=False)
    Lenient.load_from_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(RuntimeError, match=r"more.weight"):
        Lenient.load_from_checkpoint(tmp_path / "a.ckpt", strict=True)


def test_weights_come_from_lightning_and_go_back(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Theirs(lightning.LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.layer = nn.Linear(4, CLASSES)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

    module = Theirs(0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=False, default_root_dir=tmp_path,
        )  # fmt: skip
        run.fit(module, loader(16, 8))
        run.save_checkpoint(tmp_path / "theirs.ckpt")
    again = Model.load_from_checkpoint(tmp_path / "theirs.ckpt")
    assert again.lr == 0.25
    assert torch.equal(again.layer.weight, module.layer.weight)
    here = trainer()
    here.fit(again, loader(16, 8))
    here.save_checkpoint(tmp_path / "ours.ckpt")
    back = Theirs.load_from_checkpoint(tmp_path / "ours.ckpt", weights_only=True, lr=0.25)
    assert torch.equal(back.layer.weight, again.layer.weight)
    with pytest.raises(ValueError, match="not of this trainer"):
        trainer().fit(Model(), loader(), ckpt_path=tmp_path / "theirs.ckpt")


# --- the other verbs -----------------------------------------------------------------------------------------------------


class Evaluates(Model):
    def validation_step(self, batch, batch_idx):
        self.log("weight", self.layer.weight.abs().sum())

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return self.layer.weight.abs().sum().item()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_verbs_take_best_last_and_paths(verb, tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", monitor="weight", save_top_k=-1, save_last=True)
    run = trainer(enable_checkpointing=True, callbacks=checkpoints, max_epochs=3)
    module = Evaluates(0.5)
    data = loader(16, 8)
    run.fit(module, data, data)
    sums = [storage.read(tmp_path / f"epoch={epoch}.ckpt")["state_dict"]["layer.weight"].abs().sum().item() for epoch in range(3)]

    def weight(**how):
        quiet = {} if verb == "predict" else {"verbose": False}
        (first, *_) = getattr(run, verb)(how.pop("model", None), data, **quiet, **how)
        return first if verb == "predict" else first["weight"]

    assert weight(ckpt_path="best") == pytest.approx(min(sums))
    assert weight(ckpt_path="last") == pytest.approx(sums[2])
    assert weight(ckpt_path=tmp_path / "epoch=1.ckpt") == pytest.approx(sums[1])
    assert weight() == pytest.approx(min(sums))  # without a model: the best
    assert weight(model=Evaluates()) not in sums


def test_what_is_not_there(tmp_path):
    run = trainer()
    with pytest.raises(ValueError, match="no ModelCheckpoint"):
        run.validate(Evaluates(), loader(), ckpt_path="best")
    run = trainer(enable_checkpointing=True, callbacks=ModelCheckpoint(tmp_path))
    with pytest.raises(ValueError, match="no checkpoint was saved yet"):
        run.test(Evaluates(), loader(), ckpt_path="best")
    run.fit(Model(), loader(16, 8), ckpt_path="last")  # nothing yet: from the start
    assert run.global_step == 2
    with pytest.raises(ValueError, match=r"Call trainer.fit"):
        trainer().save_checkpoint(tmp_path / "a.ckpt")


def test_optimizers_that_differ(tmp_path):
    saved(Model(), tmp_path / "a.ckpt")

    class Two(Model):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self):
            return [super().configure_optimizers(), super().configure_optimizers()]

    with pytest.raises(ValueError, match="the checkpoint has 1 optimizers, but configure_optimizers returned 2"):
        trainer().fit(Two(), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_metrics_that_the_module_has_no_more(tmp_path):
    class Old(Model):
        def __init__(self):
            super().__init__()
            self.gone = MulticlassAccuracy(CLASSES)

        def on_train_end(self):
            self.gone.update(torch.tensor([1]), torch.tensor([1]))

    saved(Old(), tmp_path / "a.ckpt")
    with pytest.warns(UserWarning, match=r"has the metrics \['gone'\]"):
        trainer(max_epochs=2).fit(Model(), loader(), ckpt_path=tmp_path / "a.ckpt")


# --- signals -------------------------------------------------------------------------------------------------------------

SIGNALLED = """
import sys, torch
import epochal.training as pl
from epochal.training.callbacks import ModelCheckpoint
from tests.training.test_resume import Rich
from tests.training.toys import loader

class Slow(Rich):
    def training_step(self, batch, batch_idx):
        if self.global_step == 9 and sys.argv[2] != "again":
            print("now", flush=True)
            import time; time.sleep(1)
        return super().training_step(batch, batch_idx)

torch.manual_seed(4)
again = sys.argv[2] == "again"
module = Slow()
pl.Trainer(
    max_epochs=3, accelerator="cpu", enable_progress_bar=False, log_every_n_steps=1, num_sanity_val_steps=0,
    logger=pl.loggers.CSVLogger(sys.argv[1], version=int(again)), callbacks=ModelCheckpoint(sys.argv[1] + "/c", save_last=True),
).fit(module, loader(53, 8, shuffle=True), loader(29, 8, seed=1), ckpt_path="last" if again else None)
torch.save(module.state_dict(), sys.argv[1] + "/weights.pt")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(number, tmp_path):
    """The step is ended, logs are readable, and the run goes on to the weights of one that was left alone."""
    command = [sys.executable, "-W", "ignore", "-c", SIGNALLED, str(tmp_path)]
    with subprocess.Popen([*command, "first"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(number)
        process.communicate(timeout=120)
    assert process.returncode == (143 if number == signal.SIGTERM else 1)
    assert storage.read(tmp_path / "c" / "last.ckpt")["global_step"] == 10
    (path,) = tmp_path.rglob("metrics.csv")
    assert len(path.read_text().splitlines()) == 1 + 10 + 2 + 4
    subprocess.run([*command, "again"], cwd=ROOT, check=True, timeout=120)
    torch.manual_seed(4)
    module = Rich()
    trainer(max_epochs=3).fit(module, loader(53, 8, shuffle=True), loader(29, 8, seed=1))
    for name, weight in torch.load(tmp_path / "weights.pt", weights_only=True).items():
        assert torch.equal(weight, module.state_dict()[name])


def test_handlers_of_the_program_stay(tmp_path):
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    seen = []

    class Looks(Callback):
        def on_train_start(self, *args):
            seen.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)))

    try:
        trainer(callbacks=Looks()).fit(Model(), loader(16, 8))
        assert seen[0][0] is mine
        assert seen[0][1] is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
