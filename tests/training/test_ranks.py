"""Two processes: uneven, one without data, keys that differ; each epoch's value is that of all data on all ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

import epochal.training as pl
from epochal import MetricCollection
from epochal.aggregation import MaxMetric, SumMetric
from epochal.classification import MulticlassF1Score
from tests.training.toys import CLASSES, Model, Rows, dataset, ddp_trainer, labels, loader, rank_environment, trainer

torch_warnings = pytest.mark.filterwarnings("ignore")


class Logs(Model):
    def __init__(self, lr=0.0):
        super().__init__(lr)
        self.members = MetricCollection({"f1": MulticlassF1Score(CLASSES, average="macro")})
        self.twin = MulticlassF1Score(CLASSES, average="macro")
        self.best = MaxMetric()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        p = self.layer(x)
        self.log_dict(self.members(p, y), on_step=False, on_epoch=True)
        self.twin.update(p, y)
        self.log("twin", self.twin)
        self.log("seen", float(len(x)), reduce_fx="sum")
        self.log("loss", torch.nn.functional.cross_entropy(p, y))
        self.log("most", y.float().max(), reduce_fx="max")

    def on_validation_epoch_end(self):
        self.log("computed", self.twin.compute())
        self.best.update(self.trainer.callback_metrics["f1"])
        self.log("best", self.best)


def fitted(rank, size, samples, batch_size, epochs=2, lr=0.0):
    with rank_environment(rank, size):
        module = Logs(lr)
        run = ddp_trainer(size, max_epochs=epochs, num_sanity_val_steps=2)
        run.fit(module, loader(24, 4, shuffle=True), loader(samples, batch_size, seed=1))
        values = {key: value.item() for key, value in run.callback_metrics.items()}
        return values, {name: weight.numpy() for name, weight in module.state_dict().items()}


@pytest.mark.parametrize("samples", [1, 2, 9, 37])  # of one sample, rank 1 has no batch
def test_uneven_ranks_give_the_value_of_all_data(pair, samples):
    module, data = Logs(), dataset(samples, 1)
    found, truth = labels(module, data)
    f1 = f1_score(truth, found, average="macro", labels=sorted({*truth, *found}))
    (first, _), (second, _) = pair.run(fitted, samples, 4)
    assert {k: v for k, v in first.items() if k != "loss_step"} == {k: v for k, v in second.items() if k != "loss_step"}
    for key in ("f1", "twin", "computed", "best"):
        assert first[key] == pytest.approx(f1, abs=1e-6)
    assert first["seen"] == samples
    assert first["most"] == truth.max()


def test_plain_means_are_weighted_by_the_samples_of_all_ranks(pair):
    class Validates(Logs):
        pass

    module, run = Logs(), trainer()
    (alone,) = run.validate(module, loader(37, 37, seed=1), verbose=False)
    (values, _), _ = pair.run(validated, 37)
    assert values["loss"] == pytest.approx(alone["loss"], rel=1e-6)


def validated(rank, size, samples):
    with rank_environment(rank, size):
        (result,) = ddp_trainer(size).validate(Logs(), loader(samples, 4, seed=1), verbose=False)
        return result, None


def test_the_same_global_batches_train_the_same_network(pair):
    """Of an epoch's order, rank r takes elements r, r + 2, ...: together the batch of one process."""
    torch.manual_seed(11)
    module = Logs(lr=0.5)
    trainer(max_epochs=2).fit(module, loader(24, 8, shuffle=True))
    one = {name: weight.numpy() for name, weight in module.state_dict().items()}
    for weights in pair.run(seeded_fit, 4):
        for name in one:
            np.testing.assert_allclose(weights[name], one[name], atol=1e-6)
    assert not np.allclose(one["layer.weight"], Logs().layer.weight.detach().numpy())


def seeded_fit(rank, size, batch_size):
    with rank_environment(rank, size):
        torch.manual_seed(11 if rank == 0 else 99)  # the order is rank 0's
        module = Logs(lr=0.5)
        ddp_trainer(size, max_epochs=2).fit(module, loader(24, batch_size, shuffle=True))
        return {name: weight.numpy() for name, weight in module.state_dict().items()}


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(11.0).split(2))


class Sees(Model):
    def __init__(self):
        super().__init__()
        self.seen: list[float] = []

    def validation_step(self, batch):
        self.seen += (batch[0] if isinstance(batch, list) else batch).flatten().tolist()


def shares(rank, size, kind):
    data = torch.utils.data.TensorDataset(torch.arange(11.0))
    loaders = {
        "plain": lambda: DataLoader(data, 2),
        "shuffled": lambda: DataLoader(data, 2, shuffle=True),
        "padded by the user": lambda: DataLoader(data, 2, sampler=DistributedSampler(data, size, rank)),
        "stream": lambda: DataLoader(Numbers(), batch_size=None),
        "batches": lambda: list(torch.arange(11.0).split(2)),
    }
    with rank_environment(rank, size):
        torch.manual_seed(rank)
        module = Sees()
        ddp_trainer(size).validate(module, loaders[kind](), verbose=False)
        return module.seen


@pytest.mark.parametrize("kind", ["plain", "shuffled", "padded by the user", "stream", "batches"])
def test_evaluation_sees_each_sample_once(pair, kind):
    assert sorted(number for share in pair.run(shares, kind) for number in share) == [float(i) for i in range(11)]


class Differs(Model):
    """Keys that one rank alone logs."""

    def validation_step(self, batch, batch_idx):
        rank = self.global_rank
        self.log(f"rank{rank}", float(rank + 1), batch_size=1)
        self.log("local", float(rank), sync_dist=False, batch_size=1)
        self.log("own", float(rank), rank_zero_only=True) if rank == 0 else None
        self.decorated()

    @pl.rank_zero_only
    def decorated(self):
        self.log("decorated", 5.0, batch_size=1)


def differing(rank, size):
    with rank_environment(rank, size):
        run = ddp_trainer(size)
        run.validate(Differs(), loader(16, 4), verbose=False)
        return {key: value.item() for key, value in run.callback_metrics.items()}


def test_keys_merge_as_a_union(pair):
    first, second = pair.run(differing)
    assert first == {"rank0": 1.0, "rank1": 2.0, "local": 0.0, "own": 0.0, "decorated": 5.0}
    assert second == {"rank0": 1.0, "rank1": 2.0, "local": 1.0}


class Quarrels(Model):
    def validation_step(self, batch, batch_idx):
        self.log("quarrel", 1.0, reduce_fx="sum" if self.global_rank else "mean")


def quarrel(rank, size):
    with rank_environment(rank, size):
        try:
            ddp_trainer(size).validate(Quarrels(), loader(16, 4), verbose=False)
        except ValueError as error:
            return str(error)
        return ""


def test_a_key_declared_differently_is_an_error_on_all_ranks(pair):
    for text in pair.run(quarrel):
        assert "self.log('quarrel')" in text


class RankZeroCompute(Model):
    def __init__(self):
        super().__init__()
        self.total = SumMetric()

    def validation_step(self, batch, batch_idx):
        self.total.update(1.0)
        self.log("total", self.total)
        self.alone()

    @pl.rank_zero_only
    def alone(self):
        self.total.compute()


def rank_zero_compute(rank, size):
    with rank_environment(rank, size):
        (result,) = ddp_trainer(size).validate(RankZeroCompute(), loader(16, 4), verbose=False)
        return result


def test_compute_under_rank_zero_only_waits_for_nobody(pair):
    assert pair.run(rank_zero_compute) == [{"total": 4.0}, {"total": 4.0}]


def rows_of(rank, size):
    with rank_environment(rank, size):
        rows = Rows()
        ddp_trainer(size, logger=rows, log_every_n_steps=1).fit(Logs(), loader(24, 4), loader(9, 4))
        return len(rows.rows)


def test_rank_zero_alone_writes(pair):
    first, second = pair.run(rows_of)
    assert first > 0
    assert second == 0


def collectives(rank, size):
    """How many collectives the end of an epoch takes, with few metrics and with many."""
    import torch.distributed as dist

    counts = []
    with rank_environment(rank, size):
        for many in (1, 12):
            module = Logs()
            module.more = torch.nn.ModuleList(SumMetric() for _ in range(many))

            def step(batch, batch_idx, module=module):
                for i, metric in enumerate(module.more):
                    metric.update(1.0)
                    module.log(f"m{i}", metric)
                    module.log(f"n{i}", 1.0)

            module.validation_step = step
            module.on_validation_epoch_end = lambda: None
            calls = []
            original = dist.all_gather
            run = ddp_trainer(size, max_epochs=3, limit_train_batches=1)
            dist.all_gather = lambda *a, **k: (calls.append(module.current_epoch), original(*a, **k))[1]
            try:
                run.fit(module, loader(24, 4), loader(16, 4))
            finally:
                dist.all_gather = original
            counts.append([calls.count(epoch) for epoch in range(3)])
    return counts


def test_an_epochs_end_is_a_constant_number_of_collectives(pair):
    few, many = pair.run(collectives)[0]
    assert few == many
    assert few[2] <= 8  # two stages of two exchanges, each of sizes and of bytes
