"""A run that is broken off and goes on ends as one that was not: the same weights, bit by bit, and the same epoch values."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, WeightedRandomSampler

from epochal.aggregation import MaxMetric, MeanMetric
from epochal.classification import MulticlassAccuracy, MulticlassF1Score
from epochal.training import CombinedLoader
from epochal.training.callbacks import Callback, ModelCheckpoint
from tests.training.toys import CLASSES, Model, Rows, dataset, ddp_trainer, loader, rank_environment, trainer


class Rich(Model):
    """Dropout, momentum, a scheduler, metrics of training, validation, both and the run, and every kind of a logged number."""

    def __init__(self, persistent=False):
        super().__init__(lr=0.05)
        self.drop = nn.Dropout(0.3)
        self.shared = MulticlassAccuracy(CLASSES, average="micro")
        self.f1 = MulticlassF1Score(CLASSES, average="macro")
        self.best = MaxMetric()
        self.seen_in_epoch = MeanMetric()  # not logged: the user's own
        self.f1.persistent(persistent)

    def training_step(self, batch, batch_idx):
        x, y = batch
        p = self.layer(self.drop(x))
        loss = nn.functional.cross_entropy(p, y)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("train_acc", self.shared(p, y), on_step=False, on_epoch=True)
        self.f1.update(p, y)
        self.log("train_f1", self.f1, on_step=False, on_epoch=True)
        self.log("least", loss, reduce_fx="min", on_step=False, on_epoch=True)
        self.log("median", loss, reduce_fx=lambda v: v.median(), on_step=False, on_epoch=True)
        if batch_idx == 0:
            self.log("first", float(y[0]), on_step=False, on_epoch=True)
        self.seen_in_epoch.update(float(len(y)))
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.shared.update(self.layer(x), y)
        self.log("val_acc", self.shared)
        self.log("place", float(batch_idx), on_step=True, on_epoch=False)

    def on_validation_epoch_end(self):
        self.best.update(self.trainer.callback_metrics["val_acc"])
        self.log("best", self.best)

    def on_train_epoch_end(self):
        self.log("samples", self.seen_in_epoch.compute())
        self.seen_in_epoch.reset()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class SavesAt(Callback):
    """Saves in one hook, at one batch of one epoch."""

    def __init__(self, path, hook="on_train_batch_end", epoch=1, batch=2):
        self.path, self.epoch, self.batch = str(path), epoch, batch
        setattr(self, hook, self.save)

    def save(self, trainer, module, *args):
        numbers = [value for value in args if isinstance(value, int)]
        batch_idx = numbers[0] if numbers else self.batch
        if not trainer.sanity_checking and trainer.current_epoch == self.epoch and batch_idx == self.batch:
            trainer.save_checkpoint(self.path)


def fitted(module, train, val=None, callbacks=(), ckpt_path=None, **options):
    rows = Rows()
    torch.manual_seed(1 if ckpt_path is None else 99)  # who goes on does not depend on the seed of the day
    run = trainer(**{"max_epochs": 3, "logger": rows, "log_every_n_steps": 2, "callbacks": list(callbacks), **options})
    run.fit(module, train, loader(29, 8, seed=1) if val is None else val, ckpt_path=ckpt_path)
    return module, rows, run


def epoch_rows(rows):
    """The rows of epochs' ends, as they were sent."""
    return [(step, row) for step, row in rows.rows if "val_acc" in row or "loss_epoch" in row]


def same_weights(a, b):
    for (name, x), (_, y) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        assert torch.equal(x, y), name


def goes_on(make_module, make_loader, path, saver, **options):
    """A whole run that saves in its midst, and one that goes on from there, compared."""
    whole, rows, run = fitted(make_module(), make_loader(), callbacks=[saver], **options)
    again, later, rerun = fitted(make_module(), make_loader(), ckpt_path=str(path), **options)
    same_weights(whole, again)
    tail = epoch_rows(later)
    assert tail, "the second run has ended no epoch"
    for (step, row), (other_step, other) in zip(epoch_rows(rows)[-len(tail) :], tail, strict=True):
        assert step == other_step
        assert row == pytest.approx(other, rel=1e-6, nan_ok=True)
    assert (run.current_epoch, run.global_step) == (rerun.current_epoch, rerun.global_step)
    for row, other in zip(run.history.rows, rerun.history.rows, strict=True):  # no row is lost, doubled or at another step
        assert row == pytest.approx(other, rel=1e-6, nan_ok=True)
    return rows, later, rerun


class Stream(IterableDataset):
    def __iter__(self):
        yield from dataset(53)


LOADERS = {
    "in order": lambda: loader(53, 8),
    "shuffled": lambda: loader(53, 8, shuffle=True),
    "dropping the last": lambda: loader(53, 8, shuffle=True, drop_last=True),
    "its own generator": lambda: loader(53, 8, shuffle=True, generator=torch.Generator().manual_seed(5)),
    "with replacement": lambda: loader(53, 8, sampler=RandomSampler(dataset(53), replacement=True)),
    "weighted": lambda: loader(53, 8, sampler=WeightedRandomSampler(torch.rand(53).tolist(), 53)),
    "a stream": lambda: DataLoader(Stream(), 8),
}


@pytest.mark.parametrize("name", LOADERS)
def test_in_mid_epoch(name, tmp_path):
    goes_on(Rich, seeded(LOADERS[name]), tmp_path / "a.ckpt", SavesAt(tmp_path / "a.ckpt"))


def seeded(make):
    def made():
        torch.manual_seed(7)
        return make()

    return made


class Noisy(torch.utils.data.Dataset):
    """Draws in the worker that loads it."""

    def __len__(self):
        return 53

    def __getitem__(self, i):
        x, y = dataset(53)[i]
        return x + 0.1 * torch.randn(4), y


@pytest.mark.parametrize("workers", [0, 2])
def test_random_data(workers, tmp_path):
    goes_on(
        Rich, lambda: DataLoader(Noisy(), 8, shuffle=True, num_workers=workers), tmp_path / "a.ckpt", SavesAt(tmp_path / "a.ckpt")
    )


HOOKS = [
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_epoch_end",
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("persistent", [False, True])
def test_saved_in_any_hook(hook, persistent, tmp_path):
    saver = SavesAt(tmp_path / "a.ckpt", hook, epoch=0 if hook == "on_train_start" else 1)
    goes_on(lambda: Rich(persistent), lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 6])
def test_with_validation_in_mid_epoch(batch, tmp_path):
    saver = SavesAt(tmp_path / "a.ckpt", batch=batch)
    goes_on(Rich, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver, val_check_interval=2)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_start", "on_validation_batch_end", "on_validation_end"])
def test_with_validation_by_the_clock(hook, tmp_path):
    """One that had begun comes again, though the clock starts anew."""
    saver = SavesAt(tmp_path / "a.ckpt", hook)
    goes_on(Rich, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver, val_check_interval=timedelta(0))


def test_the_sanity_check_is_that_of_the_first_start(tmp_path):
    ran = []

    class Checks(Rich):
        def on_validation_start(self):
            ran.append(self.trainer.sanity_checking)

    saver = SavesAt(tmp_path / "a.ckpt")
    goes_on(Checks, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver, num_sanity_val_steps=2)
    assert ran == [True, *[False] * 3, *[False] * 2]


class Pairs(Rich):
    """One batch of those of two loaders, of which one may have ended."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.stage != "train":
            return batch
        return [torch.cat(fields) for fields in zip(*(part for part in batch.values() if part is not None), strict=True)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle"])
def test_several_loaders_side_by_side(mode, batch, shuffle, tmp_path):
    """The shorter one has ended, or begun again, before batch 4."""

    def make():
        loaders = {"a": loader(53, 8, shuffle=shuffle), "b": loader(21 if mode != "min_size" else 45, 8, seed=1, shuffle=shuffle)}
        return CombinedLoader(loaders, mode)

    goes_on(Pairs, make, tmp_path / "a.ckpt", SavesAt(tmp_path / "a.ckpt", batch=batch))


@pytest.mark.parametrize("batch", [0, 1, 2, 5, 6])
def test_with_gradients_that_accumulate(batch, tmp_path):
    saver = SavesAt(tmp_path / "a.ckpt", batch=batch)
    goes_on(Rich, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver, accumulate_grad_batches=3)
    held = torch.load(tmp_path / "a.ckpt", weights_only=True)["gradients"]
    assert bool(held) == (batch not in (2, 5, 6))


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_manual_optimization(batch, tmp_path):
    class Manual(Rich):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.manual_backward(super().training_step(batch, batch_idx))
            if batch_idx % 2:
                self.optimizers().step()
                self.optimizers().zero_grad()

    goes_on(Manual, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", SavesAt(tmp_path / "a.ckpt", batch=batch))


def test_with_adam_and_a_plateau(tmp_path):
    class Plateau(Rich):
        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), 0.05)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
            return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_acc"}

    checkpoints = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    whole, rows, _ = fitted(Plateau(), loader(53, 8, shuffle=True), callbacks=[checkpoints], enable_checkpointing=True)
    for epoch in range(2):
        again, later, run = fitted(Plateau(), loader(53, 8, shuffle=True), ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
        same_weights(whole, again)
        assert epoch_rows(rows)[-len(epoch_rows(later)) :] == epoch_rows(later)
        assert run.current_epoch == 3


def test_the_rows_of_both_runs_are_those_of_one(tmp_path):
    """Step rows, too: nothing is missing and nothing comes twice."""
    saver = SavesAt(tmp_path / "a.ckpt", epoch=1, batch=2)
    rows, later, run = goes_on(Rich, lambda: loader(53, 8, shuffle=True), tmp_path / "a.ckpt", saver)
    cut = len(rows.rows) - len(later.rows)
    assert [(s, pytest.approx(r, nan_ok=True)) for s, r in rows.rows[cut:]] == later.rows
    assert max(step for step, _ in rows.rows[:cut]) <= 10
    assert run.history["val_acc"] == [row["val_acc"] for _, row in rows.rows if "val_acc" in row]


def test_a_hook_of_old_that_resets_by_itself(tmp_path):
    class Resets(Rich):
        def on_train_epoch_start(self):
            self.shared.reset()
            self.f1.reset()

    goes_on(Resets, lambda: loader(53, 8), tmp_path / "a.ckpt", SavesAt(tmp_path / "a.ckpt"))


def test_twice_in_one_epoch(tmp_path):
    make = lambda: loader(53, 8, shuffle=True)  # noqa: E731
    whole, rows, _ = fitted(Rich(), make(), callbacks=[SavesAt(tmp_path / "a.ckpt", batch=1)])
    fitted(Rich(), make(), callbacks=[SavesAt(tmp_path / "b.ckpt", batch=4)], ckpt_path=tmp_path / "a.ckpt")
    again, later, _ = fitted(Rich(), make(), ckpt_path=tmp_path / "b.ckpt")
    same_weights(whole, again)
    tail = epoch_rows(later)
    assert [pytest.approx(row) for _, row in epoch_rows(rows)[-len(tail) :]] == [row for _, row in tail]


def test_max_steps_goes_on_behind_them(tmp_path):
    class Saves(Callback):
        def on_fit_end(self, trainer, pl_module):
            trainer.save_checkpoint(str(tmp_path / "a.ckpt"))

    make = lambda: loader(53, 8, shuffle=True)  # noqa: E731
    whole, _, _ = fitted(Rich(), make(), max_epochs=-1, max_steps=17)
    fitted(Rich(), make(), max_epochs=-1, max_steps=10, callbacks=[Saves()])
    again, _, run = fitted(Rich(), make(), ckpt_path=tmp_path / "a.ckpt", max_epochs=-1, max_steps=17)
    same_weights(whole, again)
    assert run.global_step == 17


# --- processes -----------------------------------------------------------------------------------------------------------


class Counts(Model):
    """Which samples came, and their metric, for weights that stay."""

    def __init__(self, lr):
        super().__init__(lr)
        self.f1 = MulticlassF1Score(CLASSES, average="macro")
        self.came = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        p = self.layer(x)
        self.came += [round(float(v), 5) for v in x[:, 0]]
        self.f1.update(p, y)
        self.log("f1", self.f1, on_step=False, on_epoch=True)
        loss = nn.functional.cross_entropy(p, y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        self.log("mine", float(len(y)), reduce_fx="sum", on_step=False, on_epoch=True)
        return loss


def run_on(rank, size, path, ckpt_path, lr, samples=48):
    with rank_environment(rank, size):
        return run_here(ddp_trainer, path, ckpt_path, lr, samples, size)


def run_here(make_trainer, path, ckpt_path, lr, samples=48, *size):
    torch.manual_seed(11 if ckpt_path is None else 5)
    module, rows = Counts(lr), Rows()
    callbacks = [SavesAt(path, epoch=1, batch=1)] if path else []
    run = make_trainer(*size, max_epochs=2, logger=rows, callbacks=callbacks)
    run.fit(module, loader(samples, 4, shuffle=True), ckpt_path=ckpt_path)
    values = {key: value.item() for key, value in run.callback_metrics.items()}
    return values, module.layer.weight.detach().tolist(), module.came


def test_the_same_processes_give_the_same_weights(pair, tmp_path):
    path = str(tmp_path / "a.ckpt")
    whole = pair.run(run_on, path, None, 0.1)
    again = pair.run(run_on, None, path, 0.1)
    for (values, weights, came), (later, after, rest) in zip(whole, again, strict=True):
        assert weights == after
        assert values == pytest.approx(later, rel=1e-6)
        assert came[-len(rest) :] == rest


def test_from_two_processes_to_one_and_back(pair, tmp_path):
    two, one = str(tmp_path / "two.ckpt"), str(tmp_path / "one.ckpt")
    parts = pair.run(run_on, two, None, 0.0)
    alone = run_here(trainer, one, None, 0.0)
    from_two = run_here(trainer, None, two, 0.0)
    from_one = pair.run(run_on, None, one, 0.0)
    for values, *_ in (*parts, from_two, *from_one):
        assert values == pytest.approx(alone[0], rel=1e-6)
    every = sorted(round(float(x), 5) for x in dataset(48).tensors[0][:, 0])
    second = sorted([*parts[0][2][24:32], *parts[1][2][24:32], *from_two[2]])  # of the second epoch: 2 batches each, and the rest
    assert second == every
    assert sorted([*alone[2][48:56], *from_one[0][2], *from_one[1][2]]) == every


def test_to_three_processes(pair, pools, tmp_path):
    two = str(tmp_path / "two.ckpt")
    parts = pair.run(run_on, two, None, 0.0, 49 - 1)
    for values, *_ in pools[3].run(run_on, None, two, 0.0, 48):
        assert values["f1"] == pytest.approx(parts[0][0]["f1"], rel=0.2)  # 32 samples are left: two come twice, for equal shares
