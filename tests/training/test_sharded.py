"""Weights and optimizer states in parts on several ranks: whole in checkpoints. On CPUs by torch's fully_shard, on GPUs by fsdp."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

import epochal.training as pl
from epochal.classification import MulticlassF1Score
from epochal.training import sharded, storage
from epochal.training.engine import Engine
from tests.training.test_flags import gpus
from tests.training.toys import CLASSES, Model, dataset, ddp_trainer, loader, rank_environment, trainer


class Net(Model):
    """With a metric whose state is saved beside the weights."""

    def __init__(self, lr=0.1):
        super().__init__(lr)
        self.f1 = MulticlassF1Score(CLASSES)
        self.f1.persistent(True)

    def forward(self, x):
        return self.layer(x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


def stepped(module, optimizer, call, seed):
    x, y = dataset(8, seed).tensors
    nn.functional.cross_entropy(call(x), y).backward()
    optimizer.step()
    optimizer.zero_grad()


def in_parts(rank, size):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's
        modules = [fully_shard(Net(), mesh=init_device_mesh("cpu", (size,))) for _ in range(2)]
        first, second = modules
        optimizers = [module.configure_optimizers() for module in modules]
        first.f1.update(torch.eye(CLASSES), torch.arange(CLASSES))
        stepped(first, optimizers[0], first, 1)
        weights, state = sharded.weights_of(first), sharded.optimizer_state_of(first, optimizers[0])
        file, content = copy.deepcopy((weights, state)), [copy.deepcopy((weights, state))]  # the state of a step is not copied
        torch.distributed.broadcast_object_list(content, src=0)  # a file that all ranks read
        sharded.load_weights(second, content[0][0], strict=True)
        sharded.load_optimizer_state(second, optimizers[1], content[0][1])
        for module, optimizer in zip(modules, optimizers, strict=True):
            stepped(module, optimizer, module, 2)
        same = all(torch.equal(a.to_local(), b.to_local()) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        parts = all(isinstance(p, DTensor) for p in first.parameters())
    return sorted(weights), bool(state), file, same, parts, second.f1.update_count


def test_what_is_in_parts_is_whole_on_the_first_rank_and_comes_back(pair):
    (names, state, (weights, optimizer_state), *first), (none, no_state, _, *second) = pair.run(in_parts)
    whole = Net()
    optimizer = whole.configure_optimizers()
    whole.f1.update(torch.eye(CLASSES), torch.arange(CLASSES))
    stepped(whole, optimizer, whole, 1)
    assert names == sorted(whole.state_dict())
    assert (none, state, no_state) == ([], True, False)
    assert first == second == [True, True, 1]
    for name, weight in whole.named_parameters():
        torch.testing.assert_close(weights[name], weight.detach())
    assert sharded.is_by_name(optimizer_state)
    other = Net()  # and in a run that is not sharded
    other.load_state_dict(weights)
    again = other.configure_optimizers()
    sharded.load_optimizer_state(other, again, optimizer_state)
    for module, steps in ((whole, optimizer), (other, again)):
        stepped(module, steps, module, 2)
    torch.testing.assert_close(other.layer.weight, whole.layer.weight)


# --- evaluation: no rank computes a batch alone -----------------------------------------------------------------------------


class Evaluates(Net):
    def __init__(self):
        super().__init__(0.0)
        self.steps = 0

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.steps += 1
        self.log("loss", nn.functional.cross_entropy(self.layer(x), y))
        self.log("f1", self.f1(self.layer(x), y))
        self.log_dict({"seen": float(len(y))}, reduce_fx="sum")


def evaluated(rank, size, samples):
    with rank_environment(rank, size), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "shards", property(lambda run: run.model if run.fitting else None))
        module, run = Evaluates(), ddp_trainer(size)
        try:
            run.fit(module, loader(8, 4), loader(samples, 4, seed=1))
        except ValueError as error:
            return str(error)
        return {key: float(value) for key, value in run.callback_metrics.items()}, module.steps


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("samples", [9, 16])
def test_ranks_with_fewer_batches_take_part_and_count_once(pair, samples):
    module, run = Evaluates(), trainer()
    run.validate(module, loader(samples, 4, seed=1), verbose=False)
    expected = {key: float(value) for key, value in run.callback_metrics.items()}
    for values, steps in pair.run(evaluated, samples):
        assert steps == 2
        assert values == pytest.approx(expected)


def test_a_rank_without_a_batch_is_an_error_on_all(pair):
    for text in pair.run(evaluated, 1):
        assert text.startswith("Trainer: a process has no batch of a loader")


@gpus
def test_fsdp_trains_validates_and_goes_on(tmp_path):
    flags = {"accelerator": "gpu", "devices": 2, "strategy": "fsdp", "logger": False, "enable_progress_bar": False}
    train, val = loader(48, 4), loader(29, 4, seed=1)
    whole, run = Evaluates(), pl.Trainer(max_epochs=2, **flags)
    run.fit(whole, train, val)
    run.save_checkpoint(tmp_path / "two.ckpt")
    half = pl.Trainer(max_epochs=1, **flags)
    half.fit(Evaluates(), train, val)
    half.save_checkpoint(tmp_path / "one.ckpt")
    again = pl.Trainer(max_epochs=2, **flags)
    again.fit(Evaluates(), train, val, ckpt_path=tmp_path / "one.ckpt")
    again.save_checkpoint(tmp_path / "again.ckpt")
    first, second = (storage.read(tmp_path / name)["state_dict"] for name in ("two.ckpt", "again.ckpt"))
    for name, weight in Net().state_dict().items():
        assert first[name].shape == weight.shape
        torch.testing.assert_close(first[name], second[name])
    assert float(again.callback_metrics["f1"]) == pytest.approx(float(run.callback_metrics["f1"]))
    loaded = Net()
    loaded.load_state_dict(first)
    trainer(max_epochs=3).fit(Evaluates(), train, val, ckpt_path=tmp_path / "two.ckpt")  # on one CPU
