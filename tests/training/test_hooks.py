"""Hooks, old and new: their order, their arguments, and how near the loop is to the user's code."""

from __future__ import annotations

import inspect
import itertools
import json
import traceback
from pathlib import Path

import pytest
import torch

import epochal.training as pl
from epochal.training.hooks import RULES
from tests.training.order import order
from tests.training.toys import Model, Rows, loader, trainer


@pytest.mark.filterwarnings("ignore")  # Lightning's
@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"batches": 3, "accumulate_grad_batches": 2},
        {"manual": True},
        {"verb": "validate"},
        {"verb": "test"},
        {"verb": "predict"},
        {"fails": True},
        {"gradient_clip_val": 1.0, "num_sanity_val_steps": 0, "val_check_interval": 1},
        {"fast_dev_run": True},
        {"limit_val_batches": 0},
        {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 5},
    ],
    ids=str,
)
def test_the_order_of_hooks_is_lightnings(flags):
    import lightning.pytorch as theirs

    found = order(pl, **flags)
    assert found == order(theirs, **flags)
    assert len(found) > 10
    print("\n".join(found))  # shown by `pytest -s`


def test_the_page_shows_the_order():
    text = (Path(__file__).parents[2] / "docs/logging.md").read_text()
    section = text.split("## Order of hooks")[1].split("\n## ")[0]
    blocks = section.split("```")
    for verb, block in zip(("fit", "validate"), blocks[1::2], strict=False):
        shown = [line.split("#")[0].strip() for line in block.strip().splitlines()]
        called = [name.split(".")[-1] for name in order(pl, verb, batches=1)]
        assert shown == [name for name, _ in itertools.groupby(called)]


@pytest.mark.parametrize(
    ("names", "owner"),
    [
        ("ModelHooks", pl.LightningModule),
        ("DataHooks", pl.LightningModule),
        ("CheckpointHooks", pl.LightningModule),
        ("DataHooks", pl.LightningDataModule),
        ("Callback", pl.Callback),
    ],
)
def test_hooks_have_the_arguments_that_users_write(names, owner):
    contract = Path(__file__).parent / "contract.json"
    for name, arguments in json.loads(contract.read_text())[names].items():
        if name == "__init__" or arguments == "property":
            assert hasattr(owner, name)
            continue
        wanted = [text.split("=")[0] for text in arguments.split(", ") if text]
        assert list(inspect.signature(getattr(owner, name)).parameters)[1:] == wanted, name


def test_the_name_of_old_for_configure_model():
    class Sharded(Model):
        def configure_sharded_model(self):
            self.built = torch.nn.Linear(2, 2)

    module = Sharded()
    trainer().fit(module, loader(8, 8))
    assert isinstance(module.built, torch.nn.Linear)


def test_callbacks_that_watch_come_after_the_modules_own_and_see_its_values():
    seen = []

    class Watches(pl.Callback):
        monitors = True

        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(trainer.callback_metrics["x"].item())

    class Logs(Model):
        def on_train_epoch_end(self):
            self.log("x", 4.0)

    trainer(callbacks=Watches()).fit(Logs(), loader())
    assert seen == [4.0]


@pytest.mark.parametrize("hook", ["on_train_start", "on_train_epoch_start", "on_validation_start", "on_validation_epoch_start"])
def test_what_is_logged_before_any_batch_weighs_one(hook):
    class Logs(Model):
        def validation_step(self, batch, batch_idx):
            """Nothing to do."""

    setattr(Logs, hook, lambda self: self.log("x", 2.0))
    module, run = Logs(), trainer()
    if "train" in hook:
        run.fit(module, loader())
    else:
        run.validate(module, loader(), verbose=False)
    assert run.callback_metrics["x"] == 2.0


class Legacy(Model):
    """The hooks of Lightning 1.x."""

    def __init__(self):
        super().__init__()
        self.outs: dict[str, list] = {}

    def training_step(self, batch, batch_idx):
        return {"loss": super().training_step(batch, batch_idx), "n": len(batch[0])}

    def training_step_end(self, out):
        self.log("end_of_step", float(out["n"]))
        return out

    def training_epoch_end(self, outs):
        self.outs["train"] = outs
        self.log("epoch", float(sum(out["n"] for out in outs)))

    def validation_step(self, batch, batch_idx):
        return len(batch[0])

    def validation_step_end(self, out):
        self.log("val_step_end", float(out))
        return out * 2

    def validation_epoch_end(self, outs):
        self.outs["val"] = outs
        self.log("val_epoch", float(sum(outs)))

    def on_validation_epoch_end(self, outputs):
        self.outs["on_val"] = outputs

    def test_step(self, batch, batch_idx, dataloader_idx):
        return dataloader_idx

    def test_epoch_end(self, outs):
        self.outs["test"] = outs


def test_an_end_of_a_step_that_returns_nothing_leaves_what_the_step_returned():
    class Silent(Legacy):
        def training_step_end(self, out):
            self.log("n", float(out["n"]))

        def validation_step_end(self, out):
            self.log("val_n", float(out))

    module = Silent()
    trainer().fit(module, loader(20, 8), loader(12, 8))
    assert module.trainer.global_step == 3
    assert [out["n"] for out in module.outs["train"]] == [8, 8, 4]
    assert module.outs["val"] == [8, 4]


def test_hooks_of_old():
    module, run = Legacy(), trainer()
    run.fit(module, loader(20, 8), loader(12, 8))
    got = {key: value.item() for key, value in run.callback_metrics.items()}
    assert got == {"end_of_step": 4.0, "epoch": 20.0, "val_step_end": pytest.approx((8 * 8 + 4 * 4) / 12), "val_epoch": 24.0}
    assert [out["n"] for out in module.outs["train"]] == [8, 8, 4]
    assert not module.outs["train"][0]["loss"].requires_grad
    assert module.outs["val"] == module.outs["on_val"] == [16, 8]
    run.test(module, [loader(8, 8), loader(16, 8)], verbose=False)
    assert module.outs["test"] == [[0], [1, 1]]


def test_outputs_are_kept_for_those_alone_who_ask():
    class Asks(Model):
        def on_train_epoch_end(self, outputs):
            self.kept = outputs

    module = Asks()
    trainer().fit(module, loader(20, 8))
    assert len(module.kept) == 3


def test_minus_one_from_on_train_batch_start_ends_the_epoch():
    class Ends(Model):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    run = trainer(max_epochs=2)
    run.fit(Ends(), loader(40, 8))
    assert run.global_step == 4


@pytest.mark.parametrize("listening", [False, True])
def test_few_frames_lie_between_fit_and_the_step(listening):
    class Looks(Model):
        def training_step(self, batch, batch_idx):
            self.frames = [frame.name for frame in traceback.extract_stack()]
            return super().training_step(batch, batch_idx)

        if listening:

            def on_before_zero_grad(self, optimizer):
                pass

    module = Looks()
    trainer().fit(module, loader(8, 8))
    names = module.frames
    assert len(names) - 1 - names.index("fit") - 1 <= (8 if listening else 6), names


def test_callbacks_log_like_the_module():
    class Logs(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.log("cb", float(batch_idx), on_epoch=True)

    run = trainer(callbacks=[Logs()])
    run.fit(Model(), loader(20, 8))
    assert run.callback_metrics["cb_epoch"] == pytest.approx(0.8)


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize(("form", "keys"), [("tensor", ["loss"]), ("dict", ["loss", "n"]), ("none", [])])
def test_outputs_are_a_dictionary_with_the_loss(form, keys, manual):
    class Shows(Model):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = not manual

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.losses = [loss, *getattr(self, "losses", [])]
            return {"tensor": loss, "dict": {"loss": loss, "n": 3}, "none": loss if batch_idx == 0 and not manual else None}[form]

    class Looks(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.seen = outputs

    module, looks = Shows(), Looks()
    trainer(callbacks=[looks]).fit(module, loader(20, 8))
    assert list(looks.seen) == keys
    if keys:
        assert looks.seen["loss"] == module.losses[0]
        assert not looks.seen["loss"].requires_grad


def test_a_nested_module_logs_too():
    class Inner(pl.LightningModule):
        def forward(self, x):
            self.log("inner", x.mean())
            return x

    class Outer(Model):
        def __init__(self):
            self.inner = Inner()  # before super().__init__(), as in the older documentation
            super().__init__()

        def training_step(self, batch, batch_idx):
            self.inner(batch[0])
            return super().training_step(batch, batch_idx)

    run = trainer()
    run.fit(Outer(), loader())
    assert "inner" in run.callback_metrics


def test_a_module_need_not_call_super_init():
    class Never(pl.LightningModule):
        def __init__(self):
            self.layer = torch.nn.Linear(4, 3)

        training_step = Model.training_step
        configure_optimizers = Model.configure_optimizers
        lr = 0.1

    module = Never()
    before = module.layer.weight.clone()
    trainer().fit(module, loader())
    assert not torch.equal(before, module.layer.weight)


def test_every_rule_names_a_hook_that_exists_or_did():
    old = {f"{s}_{e}" for s in ("training", "validation", "test") for e in ("step_end", "epoch_end")}
    for name in RULES:
        assert name in old or hasattr(pl.LightningModule, name), name


def test_an_exception_reaches_callbacks_and_loggers():
    told = []

    class Told(pl.Callback):
        def on_exception(self, trainer, pl_module, exception):
            told.append(str(exception))

    class Closes(Rows):
        def finalize(self, status):
            told.append(status)

    class Fails(Model):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("the step")

    with pytest.raises(RuntimeError, match="the step"):
        trainer(callbacks=Told(), logger=Closes()).fit(Fails(), loader())
    assert told == ["the step", "failed"]


def test_hooks_that_nothing_calls_any_more_are_named():
    class Old(Model):
        def on_epoch_end(self):
            raise AssertionError

    class Watches(pl.Callback):
        def on_keyboard_interrupt(self, trainer, pl_module):
            raise AssertionError

    with pytest.warns(UserWarning, match="Old: on_epoch_end is defined, .* Use on_train_epoch_end"):
        trainer().fit(Old(), loader())
    with pytest.warns(UserWarning, match="Watches: on_keyboard_interrupt is defined"):
        trainer(callbacks=Watches()).fit(Model(), loader())

    class Truncated(Model):
        def training_step(self, batch, batch_idx, hiddens):
            raise AssertionError

    with pytest.raises(ValueError, match="training_step: it takes hiddens"):
        trainer().fit(Truncated(), loader())


def test_a_clip_gradients_of_the_modules_own_is_called():
    class Clips(Model):
        def __init__(self):
            super().__init__()
            self.clipped = []

        def clip_gradients(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
            self.clipped.append(gradient_clip_val)
            super().clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    module = Clips()
    trainer(gradient_clip_val=0.5).fit(module, loader(20, 8))
    assert module.clipped == [0.5] * 3


def test_an_optimizer_step_of_the_modules_own_logs_before_and_after_the_step():
    class Steps(Model):
        def training_step(self, batch, batch_idx):
            self.log("in_it", 1.0)
            return super().training_step(batch, batch_idx)

        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            self.log("before", 1.0)
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            self.log("after", 1.0)

    run = trainer()
    run.fit(Steps(), loader(20, 8))
    hooks = {name: hook for (hook, _), scope in run.logbook.scopes.items() for name in scope.entries}
    assert hooks == {"before": "optimizer_step", "in_it": "training_step", "after": "optimizer_step"}
