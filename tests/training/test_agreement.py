"""Among processes: what one rank decides holds for all, and step values merge where they are asked to."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch

from epochal import dist
from tests.training.toys import Model, Rows, ddp_trainer, loader, rank_environment, trainer

BATCHES = 6  # of each rank


class Stops(Model):
    """Asks to stop on one rank, in one place."""

    def __init__(self, where: str, rank: int) -> None:
        super().__init__(lr=0.1)
        self.where, self.rank = where, rank

    def ask(self, where: str) -> None:
        if where == self.where and self.global_rank == self.rank:
            self.trainer.should_stop = True

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            self.ask("training_step")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        if not self.trainer.sanity_checking:
            self.ask("validation_step")

    def on_train_epoch_end(self):
        self.ask("on_train_epoch_end")

    def on_train_start(self):
        self.ask("on_train_start")

    def on_train_batch_start(self, batch, batch_idx):
        skips = self.where == "on_train_batch_start" and self.global_rank == self.rank and batch_idx == 3
        return -1 if skips else None


def stopped(rank, size, where, asks):
    with rank_environment(rank, size):
        module, run = Stops(where, asks), ddp_trainer(size, max_epochs=2, val_check_interval=4)
        run.fit(module, loader(48, 4), loader(16, 4))
        return run.current_epoch, run.global_step, module.layer.weight.sum().item()


@pytest.mark.parametrize("asks", [0, 1])
@pytest.mark.parametrize(
    ("where", "progress"),
    [
        ("training_step", (1, 3)),
        ("validation_step", (1, 4)),
        ("on_train_epoch_end", (1, BATCHES)),
        ("on_train_start", (0, 0)),
        ("on_train_batch_start", (2, 2 * 3)),
    ],
)
def test_a_stop_on_one_rank_stops_all(pair, where, progress, asks):
    first, second = pair.run(stopped, where, asks)
    assert first == second
    assert first[:2] == progress


def any_of_three(rank, size):
    return dist.any_rank(rank == 1, False, True)


def test_what_holds_on_any_rank(pair):
    assert pair.run(any_of_three) == [(True, False, True)] * 2
    assert dist.any_rank(True, False) == (True, False)  # alone


class Shares(Model):
    """Step values that the ranks merge: each reduction, a key of one rank alone, a step in which nobody logs."""

    def training_step(self, batch, batch_idx):
        rank = self.global_rank
        if batch_idx != 2:
            self.log("mean", float(rank), sync_dist=True, on_epoch=True)
            self.log("weighted", torch.tensor(float(rank)), sync_dist=True, batch_size=1 + 2 * rank)
            self.log("sum", rank + 1.0, sync_dist=True, reduce_fx="sum")
            self.log("max", float(rank), sync_dist=True, reduce_fx="max")
            self.log("last", float(rank), sync_dist=True, reduce_fx=lambda values: values[-1])
            self.log("own", float(rank))
        if rank == 1:
            self.log("there", 5.0 + batch_idx, sync_dist=True)
        return super().training_step(batch, batch_idx)


def shared(rank, size):
    with rank_environment(rank, size):
        rows = Rows()
        run = ddp_trainer(size, logger=rows, log_every_n_steps=1)
        run.fit(Shares(), loader(48, 4))
        return rows.rows, {key: value.item() for key, value in run.callback_metrics.items()}


def test_step_values_merge_where_sync_dist_is_true(pair):
    (rows, first), (none, second) = pair.run(shared)
    assert none == []  # rank 0 writes
    merged = {"mean_step": 0.5, "weighted": 0.75, "sum": 3.0, "max": 1.0, "last": 1.0}
    for step in range(BATCHES):
        (row,) = [row for at, row in rows if at == step and "mean_epoch" not in row]
        here = {} if step == 2 else {**merged, "own": 0.0}
        assert row == {**here, "there": 5.0 + step, "epoch": 0}
    assert {**first, "own": 1.0} == second
    assert first["mean"] == 0.5


def evaluated(rank, size):
    class Steps(Model):
        def validation_step(self, batch, batch_idx):
            self.log("x", float(self.global_rank), sync_dist=True, on_step=True)
            self.log("x2", 1.0, sync_dist=True)

    with rank_environment(rank, size), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (values,) = ddp_trainer(size).validate(Steps(), loader(12, 4), verbose=False)
        return values["x_epoch"], [str(w.message) for w in caught if "sync_dist" in str(w.message)]


def test_step_values_of_an_evaluation_stay_local_with_a_warning(pair):
    for value, (text,) in pair.run(evaluated):
        assert value == pytest.approx(0.5)
        assert text.startswith("self.log('x'): sync_dist=True in validation_step, but step values of uneven ranks stay local.")


def test_a_group_of_its_own_is_refused():
    class Grouped(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", 1.0, sync_dist_group=object())

    with pytest.raises(ValueError, match="sync_dist_group is a group of its own, but values merge over all ranks"):
        trainer().fit(Grouped(), loader())


def differing(rank, size):
    class Differs(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", 1.0, on_epoch=True, reduce_fx="sum" if self.global_rank else "mean")
            return super().training_step(batch, batch_idx)

    with rank_environment(rank, size):
        try:
            ddp_trainer(size).fit(Differs(), loader(16, 4))
        except ValueError as error:
            return str(error)


def test_a_key_declared_differently_is_an_error_in_words(pair):
    first, second = pair.run(differing)
    assert first == second
    assert first.startswith("self.log('x'): in training_step one rank said kind='sum', but another said kind='mean'.")


def reduced_by_functions(rank, size):
    class Reduces(Model):
        def training_step(self, batch, batch_idx):
            value = float(10 * self.global_rank + batch_idx)
            self.log("lambda", value, on_epoch=True, on_step=False, reduce_fx=lambda values: values.median())
            quantile = functools.partial(torch.quantile, q=1.0)
            self.log("partial", value, on_epoch=True, on_step=False, reduce_fx=quantile)
            return super().training_step(batch, batch_idx)

    with rank_environment(rank, size):
        run = ddp_trainer(size)
        run.fit(Reduces(), loader(24, 4))
        return {key: value.item() for key, value in run.callback_metrics.items()}


def test_a_function_may_be_written_in_the_call(pair):
    expected = {"lambda": torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0]).median().item(), "partial": 12.0}
    assert pair.run(reduced_by_functions) == [expected] * 2


def test_another_function_under_one_key_is_an_error():
    class Changes(Model):
        def training_step(self, batch, batch_idx):
            self.log("x", 1.0, on_epoch=True, reduce_fx=torch.median if batch_idx else torch.quantile)

    with pytest.raises(ValueError, match="Use one set of arguments for a key"):
        trainer().fit(Changes(), loader())


def one_and_two(rank, size, flags):
    with rank_environment(rank, size):
        module = Model(lr=0.1)
        ddp_trainer(size, max_epochs=2, **flags).fit(module, loader(48, 4))
        return module.layer.weight.detach()


@pytest.mark.parametrize("flags", [{}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}])
def test_two_processes_train_as_one_with_the_same_global_batch(pair, flags):
    module = Model(lr=0.1)
    trainer(max_epochs=2, **flags).fit(module, loader(48, 8))
    first, second = pair.run(one_and_two, flags)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, module.layer.weight.detach())
