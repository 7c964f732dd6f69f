"""The Logbook in a loop of one's own: the values of the Trainer, which are scikit-learn's, in every style and on ranks."""

from __future__ import annotations

import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import epochal.training as pl
from epochal import MetricCollection
from epochal.aggregation import MaxMetric, SumMetric
from epochal.classification import MulticlassAccuracy, MulticlassF1Score
from epochal.training import Logbook
from tests.training.toys import CLASSES, Model, Rows, dataset, labels, loader

TRAIN, VAL = dataset(53), dataset(29, 1)


def macro_f1():
    return MulticlassF1Score(CLASSES, average="macro")


def f1_of(data):
    found, truth = labels(Model(), data)
    return pytest.approx(f1_score(truth, found, average="macro", labels=sorted({*truth, *found})), abs=1e-6)


def loss_of(data):
    return pytest.approx(nn.functional.cross_entropy(Model().layer(data.tensors[0]), data.tensors[1]).item(), rel=1e-5)


class Metrics(nn.Module):
    def __init__(self):
        super().__init__()
        self.object, self.value, self.update, self.computed, self.shared = (macro_f1() for _ in range(5))
        self.members = MetricCollection({"f1": macro_f1(), "acc": MulticlassAccuracy(CLASSES, average="micro")})
        self.best = MaxMetric()

    def log_steps(self, book, stage, p, y):
        self.object(p, y)
        book.log(f"{stage}/object", self.object)
        book.log(f"{stage}/value", self.value(p, y))
        self.update.update(p, y)
        book.log(f"{stage}/update", self.update)
        book.log(f"{stage}/shared", self.shared(p, y))
        book.log_dict({f"{stage}/{name}": value for name, value in self.members(p, y).items()})
        self.computed.update(p, y)

    def log_end(self, book, stage):
        book.log(f"{stage}/computed", self.computed.compute())
        self.computed.reset()
        self.object.reset()  # which was logged, and loses nothing
        if stage == "val":
            self.best.update(self.shared.compute())
            book.log("best", self.best)


STYLES = ("object", "value", "update", "shared", "f1", "computed")


def run(book, model, metrics, epochs=2, val=(VAL,), batch_size=8, share=lambda data: data):
    """A plain loop."""
    rows = []
    for _ in range(epochs):
        for x, y in book.batches(DataLoader(share(TRAIN), batch_size)):
            p = model.layer(x)
            book.log("loss", nn.functional.cross_entropy(p, y))
            metrics.log_steps(book, "train", p, y)
        metrics.log_end(book, "train")
        with book.evaluation(), torch.no_grad():
            for i, data in enumerate(val):
                for x, y in book.batches(DataLoader(share(data), batch_size), name=f"set{i}" if len(val) > 1 else ""):
                    book.log("val/loss", nn.functional.cross_entropy(model.layer(x), y))
                    metrics.log_steps(book, "val", model.layer(x), y)
            metrics.log_end(book, "val")
        book.end_epoch()
        rows.append({key: float(value) for key, value in book.callback_metrics.items()})
    return rows


def check(found, val=VAL):
    for style in STYLES:
        assert found[f"train/{style}"] == f1_of(TRAIN), style
        assert found[f"val/{style}"] == f1_of(val), style
    predicted, truth = labels(Model(), val)
    assert found["val/acc"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-6)
    assert found["loss"] == loss_of(TRAIN)
    assert found["val/loss"] == loss_of(val)
    assert found["best"] == f1_of(val)


def test_every_style_gives_the_epochs_value():
    model, metrics, rows = Model(), Metrics(), Rows()
    with Logbook(model, metrics, logger=rows) as book:
        for found in run(book, model, metrics):
            check(found)
        assert book["train/f1"] == f1_of(TRAIN)
        with pytest.raises(KeyError, match="there is no 'f2', but logged so far are"):
            book["f2"]
    assert [step for step, _ in rows.of("train/f1")] == [step for step, _ in rows.of("val/f1")] == [6, 13]
    assert rows.of("epoch") == [(6, 0), (6, 0), (13, 1), (13, 1)]
    assert {m.update_count for m in metrics.modules() if hasattr(m, "update_count") and m is not metrics.best} == {0}
    assert metrics.best.update_count == 2
    assert book.history["best"] == [value for _, value in rows.of("best")]


def test_several_loaders_are_kept_apart():
    model, metrics, other = Model(), Metrics(), dataset(17, 2)
    with Logbook(model, metrics) as book:
        (found,) = run(book, model, metrics, epochs=1, val=(VAL, other))
    for style in STYLES[:-1]:
        assert found[f"val/{style}/set0"] == f1_of(VAL)
        assert found[f"val/{style}/set1"] == f1_of(other)
    both = TensorDataset(*(torch.cat(parts) for parts in zip(VAL.tensors, other.tensors, strict=True)))
    assert found["val/computed"] == found["best"] == f1_of(both)
    assert found["train/f1"] == f1_of(TRAIN)


def share_of(rank, size):
    return lambda data: TensorDataset(*(part[rank::size] for part in data.tensors))


def on_ranks(rank, size, samples):
    model, metrics, rows = Model(), Metrics(), Rows()
    with Logbook(model, metrics, logger=rows) as book:
        found = run(book, model, metrics, val=(dataset(samples, 1),), batch_size=4, share=share_of(rank, size))
    return found, len(rows.rows)


@pytest.mark.parametrize("samples", [1, 29])  # of one, rank 1 has none
def test_two_processes_with_uneven_loops(pair, samples):
    (first, written), (second, not_written) = pair.run(on_ranks, samples)
    assert first == second
    assert written == 4
    assert not_written == 0  # rank 0 writes
    for found in first:
        check(found, dataset(samples, 1))


def bare(book, metrics, epochs=2):
    for _ in range(epochs):
        for x, y in DataLoader(TRAIN, 8):
            p = Model().layer(x)
            book.log("loss", nn.functional.cross_entropy(p, y), batch_size=len(y))
            metrics.log_steps(book, "train", p, y)
        book.log("train/computed", metrics.computed.compute())
        metrics.computed.reset()
        metrics.object.reset()
        book.end_epoch()
        for style in STYLES:
            assert book[f"train/{style}"] == f1_of(TRAIN), style
        assert book["loss"] == loss_of(TRAIN)


@pytest.mark.parametrize("known", [True, False])
def test_a_loop_that_does_not_say_where_its_steps_are(known):
    """The metrics need not be known, either, where there is one process."""
    metrics = Metrics()
    with Logbook(*([metrics] if known else [])) as book:
        bare(book, metrics)


def test_what_is_logged_in_a_bare_evaluation_is_its_own():
    total = SumMetric()
    with Logbook(total) as book:
        for value in (1.0, 2.0):
            book.log("train", total(value))
            with book.evaluation():
                for other in (10.0, 20.0):
                    book.log("val", total(other))
                total.reset()
            assert book["val"] == 30.0
        book.end_epoch()
        assert book["train"] == 3.0


def test_a_mean_without_a_weight_is_an_error_that_says_how_to_give_one():
    with Logbook() as book:
        book.log("x", 1.0, reduce_fx="sum")
        with pytest.raises(ValueError, match=r"no batch is known.*Iterate over book.batches\(loader\), or pass batch_size=\."):
            book.log("loss", 1.0)


def test_steps_are_sent_every_so_many_at_their_own_x():
    rows = Rows()
    with Logbook(logger=rows, log_every_n_steps=2) as book:
        for _ in range(2):
            for i, _batch in enumerate(book.batches(loader(20, 8))):
                book.log("x", float(i), on_step=True)
                assert book["x"] == i
            with book.evaluation():
                for i, _batch in enumerate(book.batches(loader(9, 8))):
                    book.log("v", float(i), on_step=True, on_epoch=False)
            book.end_epoch()
    assert rows.of("x_step") == [(1, 1.0), (3, 0.0), (5, 2.0)]
    assert rows.of("x_epoch") == [(2, pytest.approx(0.8)), (5, pytest.approx(0.8))]
    assert rows.of("v") == [(0, 0.0), (1, 1.0), (2, 0.0), (3, 1.0)]


def test_an_evaluation_in_the_midst_of_a_loop_leaves_it_as_it_was():
    total, rows = SumMetric(), Rows()
    with Logbook(total, logger=rows) as book:
        for i, _batch in enumerate(book.batches(loader(20, 8))):
            book.log("train", total(1.0))
            if i == 1:
                with book.evaluation():
                    for _other in book.batches(loader(9, 8)):
                        book.log("val", total(100.0))
            book.log("mean", float(i))
        book.end_epoch()
    assert rows.of("val") == [(1, 200.0)]
    assert rows.of("train") == [(2, 3.0)]
    assert rows.of("mean") == [(2, pytest.approx(0.8))]


def test_a_loop_may_be_left_and_may_go_on_over_epochs():
    total = SumMetric()
    with Logbook(total) as book:
        for i, _batch in enumerate(book.batches(loader(80, 8))):
            book.log("n", total(1.0))
            if i == 3:
                break
        book.log("again", total)
        book.end_epoch()
        assert book["n"] == book["again"] == 4.0
        steps = book.batches(loader(80, 8))
        for n in (2, 3):
            for _ in range(n):
                next(steps)
                book.log("n", total(1.0))
            book.end_epoch()
            assert book["n"] == n
    assert book.steps_done == 3 + 5  # of the loop that was left the last step was not finished


def test_an_evaluation_may_be_left_and_what_training_has_can_be_read_in_it():
    total, train = SumMetric(), SumMetric()
    with Logbook(total, train) as book:
        for _batch in book.batches(loader(20, 8)):
            train.update(1.0)
            book.log("n", total(1.0))
        with book.evaluation():
            for _batch in book.batches(loader(20, 8)):
                book.log("v", total(10.0))
                break
            assert (total.compute(), train.compute()) == (10.0, 3.0)
        assert (total.compute(), book["v"]) == (3.0, 10.0)


def test_an_epoch_that_was_not_ended_is_ended_by_the_block():
    rows = Rows()
    with Logbook(logger=rows) as book:
        for _batch in book.batches(loader(20, 8)):
            book.log("x", 1.0)
    assert rows.of("x") == [(2, 1.0)]
    book.close()
    with pytest.raises(RuntimeError, match="nothing can be logged there"):
        book.log("x", 1.0)


def test_an_error_ends_it_and_gives_metrics_back(tmp_path):
    total, ended = SumMetric(), []

    class Ends(Rows):
        def finalize(self, status):
            ended.append(status)

    def fails():
        with Logbook(total, logger=[Ends(), pl.loggers.CSVLogger(tmp_path)]) as book:
            book.log("train", total(1.0))
            with book.evaluation():
                for _batch in book.batches(loader(20, 8)):
                    book.log("val", total(100.0))
                    raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        fails()
    assert ended == ["failed"]
    assert total.compute() == 1.0


class Head(nn.Module):
    def forward(self, x):
        self.log("head", x.mean())
        return x


class Lightning(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.head = Head()

    def forward(self, x):
        self.log("size", float(len(x)), reduce_fx="sum")
        return self.head(x)


def test_modules_log_by_themselves_while_it_is_open():
    module = Lightning()
    with Logbook(module) as book:
        for x, _ in book.batches(loader(20, 8)):
            module(x)
        book.end_epoch()
        assert book["size"] == 20.0
        assert book["head"] == pytest.approx(dataset(20).tensors[0].mean().item(), rel=1e-5)
    assert not hasattr(module.head, "log")
    with pytest.warns(UserWarning, match="without a Trainer"):
        module.log("x", 1.0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda book: [next(book.batches([1])) for _ in book.batches([1])], "another one of 'train' is not over"),
        (lambda book: next(book.batches([1], name="a")), "it tells the loaders of an evaluation apart"),
        (lambda book: book.evaluation("train").__enter__(), "'train' began in 'train'"),
    ],
)
def test_what_makes_no_sense_says_so(wrong, match):
    with Logbook() as book, pytest.raises(ValueError, match=match):
        wrong(book)


def test_what_makes_no_sense_in_an_evaluation_says_so():
    with Logbook() as book, book.evaluation():
        for _ in book.batches([1]):
            pass
        with pytest.raises(ValueError, match="another loader came without a name"):
            next(book.batches([1]))
        with pytest.raises(ValueError, match="inside of an evaluation"):
            book.end_epoch()
        with pytest.raises(ValueError, match="'test' began in 'validate'"):
            book.evaluation("test").__enter__()
        with pytest.raises(ValueError, match="can only log the epoch"):
            book.log("x", 1.0, on_step=True)


def asks_for_merged_steps(rank, size):
    with warnings.catch_warnings(record=True) as caught, Logbook() as book:
        warnings.simplefilter("always")
        for _ in book.batches(loader(8 * (rank + 1), 8)):
            book.log("x", float(rank), on_step=True, sync_dist=True)
        book.end_epoch()
        return book["x_step"], book["x_epoch"], len([w for w in caught if "stay local" in str(w.message)])


def test_step_values_stay_local_with_a_warning(pair):
    assert pair.run(asks_for_merged_steps) == [(0.0, pytest.approx(2 / 3), 1), (1.0, pytest.approx(2 / 3), 1)]


def test_rows_are_in_the_files(tmp_path):
    with Logbook(logger=pl.loggers.CSVLogger(tmp_path)) as book:
        for x, _ in book.batches(loader(20, 8)):
            book.log("x", float(len(x)))
        book.end_epoch()
    header, row = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()
    found = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
    assert found == {"epoch": 0.0, "step": 2.0, "x": pytest.approx(7.2)}
