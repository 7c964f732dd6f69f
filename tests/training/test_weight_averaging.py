"""WeightAveraging: the average validates, is saved and remains; beside Lightning's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

import epochal.training as pl
from epochal.training.callbacks import WeightAveraging
from tests.training.beside import of_both, quiet
from tests.training.toys import CLASSES, ddp_trainer, loader, rank_environment, trainer


def averaged(library, room, every=None, **options):
    asked, validated = [], []

    class Averages(room.WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            asked.append((step_idx, epoch_idx))
            if every is None:
                return super().should_update(step_idx, epoch_idx)
            return epoch_idx is not None if every == "epoch" else step_idx is not None and step_idx % every == 0

    module = net(library)
    module.on_validation_epoch_start = lambda: validated.append(module.layer.weight.square().sum().item())
    arguments = {name: options.pop(name) for name in ("use_buffers", "multi_avg_fn") if name in options}
    run = quiet(library, callbacks=Averages(**arguments), max_epochs=3, **options)
    run.fit(module, loader(40, 8), loader(8, 8))
    final = {name: value.tolist() for name, value in module.state_dict().items()}
    return asked, validated, final, run


def net(library):
    class Net(library.LightningModule):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(3)
                self.layer, self.tied = nn.Linear(4, CLASSES), nn.Linear(4, CLASSES)
            self.norm = nn.BatchNorm1d(4)
            self.tied.weight = self.layer.weight

        def training_step(self, batch, batch_idx):
            x = self.norm(batch[0])
            return nn.functional.cross_entropy(self.layer(x) + self.tied(x), batch[1])

        def validation_step(self, batch, batch_idx):
            self.log("val", self.training_step(batch, batch_idx))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.5)

    return Net()


CASES = [
    {},
    {"every": 2},
    {"every": "epoch"},
    {"use_buffers": False},
    {"accumulate_grad_batches": 2},
    {"multi_avg_fn": get_ema_multi_avg_fn(0.5)},
]


@pytest.mark.parametrize("options", CASES)
def test_the_average_is_that_of_lightning(options):
    ours, theirs = of_both(lambda *where: averaged(*where, **options))
    assert ours[0] == theirs[0]
    first = options.get("every") == "epoch"  # Lightning validates with an average that there is not yet
    assert ours[1][first:] == pytest.approx(theirs[1][first:])
    assert ours[1][1] != ours[1][2]
    for name, value in theirs[2].items():
        torch.testing.assert_close(torch.tensor(ours[2][name]), torch.tensor(value), msg=name)


def fitted(path, callback=None, **options):
    module = net(pl)
    run = trainer(callbacks=callback or WeightAveraging(), max_epochs=2, **options)
    run.fit(module, loader(40, 8), loader(8, 8), ckpt_path=path)
    return module, run


def test_a_run_that_goes_on_ends_as_one_that_was_not_broken_off(tmp_path):
    whole, run = fitted(None)
    rows = run.callback_metrics["val"]

    class Saves(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

        def on_validation_batch_end(self, trainer, *args):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}v.ckpt")  # the module is the average now

    fitted(None, [WeightAveraging(), Saves()])
    for name in ("3", "5v", "7", "10v"):
        again, run = fitted(tmp_path / f"{name}.ckpt")
        for mine, other in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
            assert torch.equal(mine, other), name
        assert torch.equal(run.callback_metrics["val"], rows)


def test_what_others_load_is_the_average(tmp_path):
    module, run = fitted(None)
    run.save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert set(saved["state_dict"]) == set(saved["current_model_state"]) == set(module.state_dict())
    assert saved["averaging_state"]["n_averaged"] == 10
    torch.testing.assert_close(saved["state_dict"]["tied.weight"], module.tied.weight.detach())
    (values,) = trainer().validate(net(pl), loader(8, 8), ckpt_path=tmp_path / "end.ckpt", verbose=False)
    assert values["val"] == pytest.approx(run.callback_metrics["val"].item())


def test_without_an_update_nothing_is_averaged(tmp_path):
    class Never(WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            return False

    module, run = fitted(None, Never())
    plain = net(pl)
    trainer(max_epochs=2).fit(plain, loader(40, 8), loader(8, 8))
    assert torch.equal(module.layer.weight, plain.layer.weight)
    run.save_checkpoint(tmp_path / "end.ckpt")
    assert "current_model_state" not in torch.load(tmp_path / "end.ckpt", weights_only=True)


def test_an_error_in_validation_leaves_the_weights_of_training():
    module = net(pl)
    before = []

    def fails(batch, batch_idx):
        raise RuntimeError("the step")

    module.on_validation_model_eval = lambda: before.append(module.layer.weight.detach().clone())
    module.validation_step = fails
    with pytest.raises(RuntimeError, match="the step"):
        trainer(callbacks=WeightAveraging()).fit(module, loader(40, 8), loader(8, 8))
    assert torch.equal(module.layer.weight, before[0])


def on_two(rank, size):
    with rank_environment(rank, size):
        module = net(pl)
        ddp_trainer(size, callbacks=WeightAveraging(), max_epochs=2).fit(module, loader(32, 4), loader(8, 4))
        return module.layer.weight.detach()


def test_ranks_average_alike(pair):
    first, second = pair.run(on_two)
    assert torch.equal(first, second)
