"""Several loaders, for training and for the rest; overfitting, reloading, streams, datamodules."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import epochal.training as pl
from epochal.training import CombinedLoader
from tests.training.toys import Model, dataset, ddp_trainer, loader, rank_environment, trainer


def numbers(samples, batch_size=2, **options):
    return DataLoader(torch.arange(float(samples)), batch_size, **options)


class Sees(Model):
    """Keeps what its steps get, as numbers."""

    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.trained.append(plain(batch))
        return self.layer(torch.ones(1, 4)).sum()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.validated.append((plain(batch), dataloader_idx))

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return plain(batch)


def plain(batch):
    if isinstance(batch, int):
        return batch
    if isinstance(batch, dict):
        return {name: plain(part) for name, part in batch.items()}
    return [plain(part) for part in batch] if isinstance(batch, list | tuple) else batch if batch is None else batch.tolist()


A, B = [[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
ROWS = {
    "min_size": list(zip(A, B, strict=False)),
    "max_size_cycle": [(A[0], B[0]), (A[1], B[1]), (A[0], B[2])],
    "max_size": [(A[0], B[0]), (A[1], B[1]), (None, B[2])],
}


@pytest.mark.parametrize("mode", ROWS)
def test_combined_loaders_train_side_by_side(mode):
    module = Sees()
    trainer().fit(module, CombinedLoader({"a": numbers(4), "b": numbers(6)}, mode))
    assert module.trained == [{"a": a, "b": b} for a, b in ROWS[mode]]


@pytest.mark.filterwarnings("ignore")  # Lightning's
@pytest.mark.parametrize("mode", [*ROWS, "sequential"])
def test_combined_loaders_are_lightnings(mode):
    from lightning.pytorch.utilities import CombinedLoader as Theirs

    for form in ([numbers(4), numbers(6)], {"a": numbers(6), "b": [numbers(2), numbers(4)]}):
        theirs = Theirs(form, mode)
        expected = [(plain(batch), *rest) for batch, *rest in iter(theirs)]
        ours = CombinedLoader(form, mode)
        assert [(plain(batch), *rest) for batch, *rest in ours] == expected
        assert len(ours) == len(expected)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (lambda: [numbers(4), numbers(6)], lambda a, b: [a, b]),
        (lambda: {"a": numbers(4), "b": numbers(6)}, lambda a, b: {"a": a, "b": b}),
        (lambda: {"a": [numbers(4), numbers(6)]}, lambda a, b: {"a": [a, b]}),
    ],
)
def test_lists_and_dicts_of_loaders_last_as_long_as_the_longest(given, shape):
    module, run = Sees(), trainer()
    run.fit(module, given())
    assert module.trained == [shape(a, b) for a, b in ROWS["max_size_cycle"]]
    assert run.num_training_batches == 3


def test_batches_in_a_list_are_one_loader():
    module = Sees()
    trainer().fit(module, [{"x": torch.zeros(2)}, {"x": torch.ones(2)}])
    assert module.trained == [{"x": [0.0, 0.0]}, {"x": [1.0, 1.0]}]


def test_training_takes_no_sequence_of_loaders():
    with pytest.raises(ValueError, match="a CombinedLoader of mode 'sequential' came"):
        trainer().fit(Sees(), CombinedLoader([numbers(4)], "sequential"))
    with pytest.raises(ValueError, match="CombinedLoader: mode is 'cycle'"):
        CombinedLoader([numbers(4)], "cycle")
    with pytest.raises(TypeError, match="the data set TensorDataset came"):
        trainer().fit(Model(), {"a": loader(), "b": dataset()})


def test_each_of_several_training_loaders_is_shuffled_anew():
    module = Sees()
    trainer(max_epochs=2).fit(module, [numbers(8, shuffle=True), numbers(8, shuffle=True)])
    for index in (0, 1):
        first, second = ([x for row in rows for x in row[index]] for rows in (module.trained[:4], module.trained[4:]))
        assert sorted(first) == sorted(second) == [float(i) for i in range(8)]
        assert first != second
    assert any(row[0] != row[1] for row in module.trained)  # each in its own order


def shares(rank, size):
    with rank_environment(rank, size):
        module = Sees()
        ddp_trainer(size).fit(module, {"a": numbers(8), "b": numbers(4)})
        return module.trained


def test_each_of_several_training_loaders_is_shared(pair):
    first, second = pair.run(shares)
    assert first == [{"a": [0.0, 2.0], "b": [0.0, 2.0]}, {"a": [4.0, 6.0], "b": [0.0, 2.0]}]
    assert second == [{"a": [1.0, 3.0], "b": [1.0, 3.0]}, {"a": [5.0, 7.0], "b": [1.0, 3.0]}]


@pytest.mark.parametrize("given", [list, lambda it: dict(zip("ab", it, strict=True)), CombinedLoader])
def test_several_loaders_of_evaluation_come_one_after_the_other(given):
    module, run = Sees(), trainer()
    loaders = given([numbers(2), numbers(4)])
    if isinstance(loaders, CombinedLoader):
        loaders = CombinedLoader(loaders.iterables, "sequential")
    run.validate(module, loaders, verbose=False)
    assert module.validated == [(A[0], 0), (A[0], 1), (A[1], 1)]
    assert run.predict(module, loaders) == [[A[0]], A]


def test_evaluation_takes_loaders_side_by_side_as_well():
    module = Sees()
    trainer().validate(module, CombinedLoader([numbers(4), numbers(6)], "max_size_cycle"), verbose=False)
    assert module.validated == [([a, b], 0) for a, b in ROWS["max_size_cycle"]]


@pytest.mark.parametrize(("overfit", "batches"), [(2, 2), (0.4, 2)])
def test_overfitting_sees_the_same_few_batches_in_order(overfit, batches):
    module = Sees()
    trainer(overfit_batches=overfit, max_epochs=2).fit(module, numbers(10, shuffle=True), numbers(10))
    assert module.trained == B[:batches] * 2
    assert [batch for batch, _ in module.validated] == B[:batches] * 2


def test_reloaded_data_are_those_of_the_epoch():
    class Grows(Sees):
        def train_dataloader(self):
            return numbers(2 * (self.current_epoch + 1))

        val_dataloader = train_dataloader

    module, run = Grows(), trainer(max_epochs=4, reload_dataloaders_every_n_epochs=2)
    run.fit(module)
    assert module.trained == [A[0], A[0], *B, *B]
    assert [batch for batch, _ in module.validated] == [A[0], A[0], *B, *B]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(10.0).split(2))


def test_a_stream_has_no_length():
    module, run = Sees(), trainer(max_epochs=2, limit_train_batches=3, limit_val_batches=1)
    run.fit(module, DataLoader(Stream(), batch_size=None), DataLoader(Stream(), batch_size=None))
    assert (run.global_step, len(module.validated)) == (6, 2)
    run = trainer()
    run.fit(Sees(), DataLoader(Stream(), batch_size=None))
    assert run.global_step == 5
    with pytest.raises(ValueError, match="limit_train_batches is a fraction, but the loader has no length"):
        trainer(limit_train_batches=0.5).fit(Sees(), DataLoader(Stream(), batch_size=None))


@pytest.mark.parametrize("flag", ["limit_train_batches", "limit_val_batches"])
def test_a_fraction_of_a_loader_is_one_batch_at_least(flag):
    with pytest.raises(ValueError, match=f"{flag} is 0.2, of a loader of 3 batches, but one batch at least is needed"):
        trainer(**{flag: 0.2}).fit(Sees(), numbers(6), [numbers(10), numbers(6)])


def test_validation_more_rarely_than_an_epoch_counts_over_epochs():
    with pytest.raises(ValueError, match="val_check_interval is 5, but an epoch has 3 batches"):
        trainer(val_check_interval=5).fit(Sees(), numbers(6), numbers(2))
    module = Sees()
    trainer(val_check_interval=2, check_val_every_n_epoch=None, max_epochs=2).fit(module, numbers(6), numbers(2))
    assert len(module.validated) == 3


@pytest.mark.parametrize("at_once", ["00:00:00:00", timedelta(0), {"seconds": 0}])
def test_validation_by_the_clock_comes_after_a_batch(at_once):
    module = Sees()
    trainer(val_check_interval=at_once).fit(module, numbers(6), numbers(2))
    assert len(module.validated) == 3
    module = Sees()
    trainer(val_check_interval=at_once, check_val_every_n_epoch=2, max_epochs=2).fit(module, numbers(6), numbers(2))
    assert len(module.validated) == 3  # of the second epoch
    for every in (1, None):
        module = Sees()
        trainer(val_check_interval="01:00:00:00", check_val_every_n_epoch=every, max_epochs=2).fit(module, numbers(6), numbers(2))
        assert module.validated == []


def test_the_clock_of_validation_starts_anew_after_each(monkeypatch):
    now = 0.0
    monkeypatch.setattr("epochal.training.fit.time.monotonic", lambda: now)

    class Ticks(Sees):
        def training_step(self, batch, batch_idx):
            nonlocal now
            now += 10
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            nonlocal now
            now += 100
            super().validation_step(len(self.trained), batch_idx)

    module = Ticks()
    trainer(val_check_interval={"seconds": 25}, max_epochs=2).fit(module, numbers(14), numbers(2))
    assert [done for done, _ in module.validated] == [3, 6, 9, 12]


def test_an_interval_is_a_count_a_fraction_or_a_time():
    with pytest.raises(ValueError, match=r"Trainer: val_check_interval is '10 minutes', .*DD:HH:MM:SS"):
        trainer(val_check_interval="10 minutes")


def clocks(rank, size):
    with rank_environment(rank, size):
        module = Sees()
        ddp_trainer(size, val_check_interval=timedelta(seconds=0 if rank else 3600)).fit(module, numbers(12), numbers(4))
        return len(module.validated)


def test_the_first_clock_decides_for_all(pair):
    assert pair.run(clocks) == [3, 3]


def test_a_datamodule_has_the_whole_life_of_a_run():
    calls = []

    class Data(pl.LightningDataModule):
        def __init__(self, samples):
            super().__init__()
            self.save_hyperparameters()

        def prepare_data(self):
            calls.append("prepare_data")

        def setup(self, stage):
            calls.append(f"setup {stage}")
            self.data = dataset(self.hparams.samples)

        def teardown(self, stage):
            calls.append(f"teardown {stage}")

        def train_dataloader(self):
            return DataLoader(self.data, 4)

        def on_before_batch_transfer(self, batch, dataloader_idx):
            calls.append(f"batch of {len(batch[0])}")
            return batch

        def on_exception(self, exception):
            calls.append(repr(exception))

    data = Data(6)
    trainer().fit(Model(), datamodule=data)
    assert calls == ["prepare_data", "setup fit", "batch of 4", "batch of 2", "teardown fit"]
    assert data.trainer is not None
    calls.clear()

    class Fails(Model):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("the step")

    with pytest.raises(RuntimeError, match="the step"):
        trainer().fit(Fails(), data)
    assert calls[-1] == "RuntimeError('the step')"


def test_the_loaders_of_a_run_can_be_read():
    train, val = loader(), loader(8, 8)
    run = trainer()
    run.fit(Sees(), [numbers(4)], numbers(2))
    assert run.num_val_batches == [1]

    module = Model()
    module.validation_step = lambda batch, batch_idx: None
    run = trainer()
    run.fit(module, train, val)
    assert (run.train_dataloader, run.val_dataloaders) == (train, val)
    assert run.test_dataloaders is None


def test_how_many_steps_there_will_be_is_known_to_the_scheduler():
    class Asks(Model):
        def configure_optimizers(self):
            self.total = self.trainer.estimated_stepping_batches
            return super().configure_optimizers()

    for flags, total in (
        ({"max_epochs": 3}, 21),
        ({"max_epochs": 3, "accumulate_grad_batches": 2}, 12),
        ({"max_epochs": 3, "max_steps": 10}, 10),
        ({"max_epochs": -1}, float("inf")),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 6),
    ):
        module = Asks()
        run = trainer(**flags)
        if total == float("inf"):
            run.limit_train_batches = 0
        run.fit(module, loader())
        assert module.total == total
