"""What ``self.log`` promises, sentence by sentence: those that no other file here holds it to."""

from __future__ import annotations

import inspect
import types
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score
from torch import nn

import epochal.training as pl
from epochal import Metric, MetricCollection
from epochal.aggregation import MaxMetric, MeanMetric, SumMetric
from epochal.classification import MulticlassConfusionMatrix, MulticlassF1Score
from tests.training.toys import CLASSES, Model, Rows, dataset, ddp_trainer, labels, loader, rank_environment, trainer

torch_loss = nn.functional.cross_entropy


class Extremes(Metric):
    """A dict as the result; ``names`` of its entries, which may lie in a dict inside of it."""

    def __init__(self, names=("low", "high"), inner=False):
        super().__init__()
        self.names, self.inner = names, inner
        self.add_state("low", torch.tensor(torch.inf), dist_reduce_fx="min")
        self.add_state("high", torch.tensor(-torch.inf), dist_reduce_fx="max")

    def measure(self, values):
        return {"low": values.min().float(), "high": values.max().float()}

    def value(self, low, high):
        both = dict(zip(self.names, (low, high), strict=True))
        return {"inner": both, "range": high - low} if self.inner else both


class Curve(Metric):
    """How many of the labels are at most 0, 1, ...: a list of tensors, as a curve is."""

    def __init__(self):
        super().__init__()
        self.add_state("counts", torch.zeros(CLASSES, dtype=torch.int64), dist_reduce_fx="sum")

    def measure(self, labels):
        return {"counts": nn.functional.one_hot(labels, CLASSES).sum(0)}

    def value(self, counts):
        return torch.arange(CLASSES), counts.cumsum(0)

    def plot(self, value, ax=None):
        axes = ax.add_subplot()
        axes.plot(*value)
        return ax, axes


class Mixed(Metric):
    """A number, a vector and a matrix in one dict, as detection and retrieval have them."""

    def __init__(self):
        super().__init__()
        self.add_state("table", torch.zeros(CLASSES, 2), dist_reduce_fx="sum")

    def measure(self, labels):
        return {"table": nn.functional.one_hot(labels, CLASSES).sum(0)[:, None] * torch.tensor([1.0, 2.0])}

    def value(self, table):
        return {"total": table.sum(), "each": table.sum(1), "table": table}


class Steps(Model):
    """Runs functions of the test as its steps and hooks, with metrics of the test's choice."""

    def __init__(self, metrics=None, **hooks):
        super().__init__()
        for name, metric in (metrics or {}).items():
            setattr(self, name, metric)
        for name, hook in hooks.items():
            setattr(self, name, types.MethodType(hook if name != "training_step" else trains(hook), self))


def trains(hook):
    def training_step(self, batch, batch_idx):
        hook(self, batch, batch_idx)
        return Model.training_step(self, batch, batch_idx)

    return training_step


def fit(metrics=None, data=None, val=None, run=None, **hooks):
    """The run, after a fit with these hooks."""
    run = run or trainer()
    run.fit(Steps(metrics, **hooks), data or loader(20, 8), val)
    return run


def values(run):
    return {key: value.item() for key, value in run.callback_metrics.items() if isinstance(value, torch.Tensor)}


def validate(hook, metrics=None, data=None, **options):
    (result,) = trainer(**options).validate(Steps(metrics, validation_step=hook), data or loader(20, 8), verbose=False)
    return result


Y = dataset(20).tensors[1]  # of the data that fit and validate use

# --- the one rule -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("called", [True, False])
def test_an_object_has_the_batchs_value_for_the_step_and_is_reset_after_the_epoch(called):
    """Measured now where only ``update`` was called."""

    def step(self, batch, i):
        (self.total if called else self.total.update)(batch[1].float())
        self.log("total", self.total, on_step=True, on_epoch=True)

    rows, total = Rows(), SumMetric()
    fit({"total": total}, run=trainer(logger=rows, log_every_n_steps=1, max_epochs=2), training_step=step)
    steps = [float(part.sum()) for part in Y.split(8)]
    assert [value for _, value in rows.of("total_step")] == steps * 2
    assert [value for _, value in rows.of("total_epoch")] == [float(Y.sum())] * 2
    assert total.update_count == 0


COLLECTIONS = {
    "alike": ({"a": {}, "b": {}}, ["a_low", "a_high", "b_low", "b_high"]),
    "partly alike": ({"a": {}, "b": {"names": ("low", "top")}}, ["a_low", "a_high", "b_low", "b_top"]),
    "apart": ({"a": {}, "b": {"names": ("bottom", "top")}}, ["low", "high", "bottom", "top"]),
    "nested": ({"a": {"inner": True}, "b": {}}, ["inner_low", "inner_high", "range", "low", "high"]),
    "alike and nested": ({"a": {"inner": True}, "b": {"inner": True}},
                         [f"{m}_{k}" for m in "ab" for k in ("inner_low", "inner_high", "range")]),
}  # fmt: skip
WAYS = {
    "the object": lambda self, value: self.log("c", self.members),
    "the object as a dict": lambda self, value: self.log_dict(self.members),
    "its output": lambda self, value: self.log("c", value),
    "its output as a dict": lambda self, value: self.log_dict(value),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefix", [None, "p_"])
@pytest.mark.parametrize("kind", COLLECTIONS)
def test_a_collections_dicts_become_keys_by_torchmetrics_rule_the_same_for_the_object_and_for_its_output(kind, prefix, way):
    members, names = COLLECTIONS[kind]

    def step(self, batch, i):
        WAYS[way](self, self.members(batch[1]))

    collection = MetricCollection({name: Extremes(**options) for name, options in members.items()}, prefix=prefix)
    got = validate(step, {"members": collection})
    wanted = {"low": 0.0, "bottom": 0.0, "high": float(Y.max()), "top": float(Y.max()), "range": float(Y.max())}
    assert got == {(prefix or "") + name: wanted[name.rpartition("_")[2]] for name in names}


@pytest.mark.parametrize("way", WAYS)
def test_a_collection_of_torchmetrics_has_the_names_that_it_gives(way):
    import torchmetrics

    class Theirs(torchmetrics.Metric):
        def __init__(self, names):
            super().__init__()
            self.names = names
            self.add_state("low", torch.tensor(torch.inf), dist_reduce_fx="min")

        def update(self, values):
            self.low = torch.minimum(self.low, values.min())

        def compute(self):
            return dict.fromkeys(self.names, self.low)

    Theirs.__module__ = "torchmetrics.mine"
    members = torchmetrics.MetricCollection({"a": Theirs(["low", "x"]), "b": Theirs(["low"])}, prefix="p_")
    got = validate(lambda self, batch, i: WAYS[way](self, self.members(batch[1])), {"members": members})
    assert got == dict.fromkeys(["p_a_low", "p_a_x", "p_b_low"], 0.0)


@pytest.mark.parametrize("way", ["object", "value"])
def test_two_dicts_have_the_keys_before_their_names_only_where_two_would_clash(way):
    def step(self, batch, i):
        for name in ("a", "b"):
            value = getattr(self, name)(batch[1])
            self.log(name, value if way == "value" else getattr(self, name), on_step=True, on_epoch=True)

    rows = Rows()
    run = fit({"a": Extremes(), "b": Extremes(("low", "top"))}, run=trainer(logger=rows, log_every_n_steps=1), training_step=step)
    names = {"a_low", "high", "b_low", "top"}
    assert set(values(run)) == {name + end for name in names for end in ("", "_step", "_epoch")}
    first, *_, last = [set(row) - {"epoch"} for _, row in rows.rows]
    assert first == {f"{name}_step" for name in names}
    assert last == {f"{name}_epoch" for name in names}


@pytest.mark.parametrize("style", ["object", "value", "update"])
def test_a_collection_has_the_batchs_values_and_the_epochs(style):
    def step(self, batch, i):
        y = batch[1].float()
        if style == "update":
            self.members.update(y)
        found = None if style == "update" else self.members(y)
        self.log_dict(found if style == "value" else self.members, on_step=True, on_epoch=True)

    rows = Rows()
    members = MetricCollection({"sum": SumMetric(), "mean": MeanMetric(), "max": MaxMetric()})
    fit({"members": members}, run=trainer(logger=rows, log_every_n_steps=1, max_epochs=2), training_step=step)
    for name in ("sum", "mean", "max"):
        of = lambda part: float(getattr(part.float(), name)())  # noqa: E731
        assert [value for _, value in rows.of(f"{name}_step")] == pytest.approx([of(part) for part in Y.split(8)] * 2)
        assert [value for _, value in rows.of(f"{name}_epoch")] == pytest.approx([of(Y)] * 2)


@pytest.mark.parametrize("verb", ["log", "log_dict"])
def test_what_metrics_returned_is_the_metric_inside_of_a_dict_too(verb):
    def step(self, batch, i):
        found = {"f1": self.f1(self.layer(batch[0]), batch[1]), "sum": self.total(batch[1].float())}
        if verb == "log":
            self.log("both", found)
        else:
            self.log_dict(found)

    module = Model()
    found, truth = labels(module, dataset(20))
    got = validate(step, {"f1": MulticlassF1Score(CLASSES, average="macro"), "total": SumMetric()})
    expected = f1_score(truth, found, average="macro", labels=sorted({*truth, *found}))
    assert got == {"f1": pytest.approx(expected, abs=1e-6), "sum": float(Y.sum())}


def test_what_compute_returned_in_the_epochs_end_is_that_value():
    def step(self, batch, i):
        self.total.update(batch[1].float())
        self.extremes.update(batch[1])

    def end(self):
        self.log("total", self.total.compute())
        self.log("extremes", self.extremes.compute())
        self.log_dict({f"x_{name}": value for name, value in self.extremes.compute().items()})

    run = fit({"total": SumMetric(), "extremes": Extremes()}, training_step=step, on_train_epoch_end=end)
    high = float(Y.max())
    assert values(run) == {"total": float(Y.sum()), "low": 0.0, "high": high, "x_low": 0.0, "x_high": high}


@pytest.mark.parametrize("reduce_fx", ["mean", "sum", "max", "min", torch.median])
@pytest.mark.parametrize("form", ["number", "one element", "a value per sample"])
def test_numbers_are_reduced_by_reduce_fx_over_batches(form, reduce_fx):
    """The mean by the sizes of batches, or over the samples; a callable on the stacked values."""

    def step(self, batch, i):
        samples = batch[0][:, 0]
        value = {"number": samples.sum().item(), "one element": samples.sum()[None]}.get(form, samples)
        self.log("x", value, reduce_fx=reduce_fx)

    samples = dataset(20).tensors[0][:, 0]
    each = samples if form == "a value per sample" else torch.stack([part.sum() for part in samples.split(8)])
    weights = [1.0] * 20 if form == "a value per sample" else [8.0, 8.0, 4.0]
    wanted = (
        np.average(each, weights=weights)
        if reduce_fx == "mean"
        else float(getattr(each, getattr(reduce_fx, "__name__", reduce_fx))())
    )
    assert validate(step)["x"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("change", [lambda v: v.item(), lambda v: 100 * v, lambda v: v.detach(), lambda v: v + 0, float])
def test_what_was_computed_from_a_value_has_lost_its_metric(change):
    got = validate(lambda self, batch, i: self.log("x", change(self.most(batch[1].float())), batch_size=1), {"most": MaxMetric()})
    most = [part.float().max() for part in Y.split(8)]
    assert got["x"] == pytest.approx(sum(float(change(value)) for value in most) / 3, rel=1e-6)
    assert got["x"] != float(change(Y.float().max()))  # else this could not tell


@pytest.mark.parametrize("hook", ["step", "end"])
@pytest.mark.parametrize("way", ["object", "value"])
@pytest.mark.parametrize("metric", [Curve, Mixed, lambda: MulticlassConfusionMatrix(CLASSES)], ids=["curve", "mixed", "matrix"])
def test_results_that_are_no_scalars_become_keys_figures_and_callback_metrics(metric, way, hook, tmp_path):
    """Matrices and curves go to loggers that can show a figure, numbers and vectors to all; nothing raises."""
    figures, rows = [], Rows()

    class Draws(Rows):
        def log_figure(self, name, figure, step=None):
            figures.append((name, len(figure.axes) > 0))

    def call(self, y):
        return self.metric(y, y) if isinstance(self.metric, MulticlassConfusionMatrix) else self.metric(y)

    def step(self, batch, i):
        value = call(self, batch[1])
        if hook == "step":
            self.log("x", value if way == "value" else self.metric, on_step=True, on_epoch=True)

    def end(self):
        if hook == "end":
            self.log("x", self.metric.compute() if way == "value" else self.metric)

    csv = pl.loggers.CSVLogger(tmp_path)
    run = trainer(logger=[Draws(), rows, csv], log_every_n_steps=1)
    fit({"metric": metric()}, run=run, training_step=step, on_train_epoch_end=end)
    fork = "_epoch" if hook == "step" else ""
    got = run.callback_metrics
    counts = torch.bincount(Y, minlength=CLASSES)
    if metric is Curve:
        assert [part.tolist() for part in got["x"]] == [[0, 1, 2], counts.cumsum(0).tolist()]
        assert figures == [(f"x{fork}", True)]
        assert rows.rows == []
    elif metric is Mixed:
        assert got["table"].tolist() == (counts[:, None] * torch.tensor([1, 2])).tolist()
        assert {name for name, _ in figures} == {f"table{fork}"}
        last = rows.rows[-1][1]
        assert last == {f"total{fork}": 60.0, **{f"each{fork}_{i}": 3.0 * n for i, n in enumerate(counts.tolist())}, "epoch": 0}
        header = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()[0].split(",")
        assert set(last) <= set(header)
    else:
        assert got["x"].tolist() == confusion_matrix(Y, Y, labels=range(CLASSES)).tolist()
        assert figures == [(f"x{fork}", True)]


@pytest.mark.parametrize("stage", ["train", "validation"])
def test_the_object_in_the_step_and_compute_in_the_epochs_end_give_the_same_number(stage):
    """Under one name, and under two: reset comes after the user's hook."""

    def step(self, batch, i):
        self.total.update(batch[1].float())
        self.log("total", self.total, on_step=False, on_epoch=True)

    def end(self):
        self.log("total", self.total.compute())
        self.log("again", self.total.compute())
        self.log("object", self.total)

    rows = Rows()
    hooks = {f"{'training' if stage == 'train' else stage}_step": step, f"on_{stage}_epoch_end": end}
    fit({"total": SumMetric()}, val=loader(20, 8), run=trainer(logger=rows, max_epochs=2), **hooks)
    for key in ("total", "again", "object"):
        assert [value for _, value in rows.of(key)] == [float(Y.sum())] * 2, key


@pytest.mark.parametrize("logs", ["object in the step", "value in the step", "object in the end", "value in the end"])
@pytest.mark.parametrize("stage", ["train", "validation"])
def test_a_users_own_reset_in_the_epochs_end_loses_no_logged_value(stage, logs):
    def step(self, batch, i):
        value = self.total(batch[1].float())
        if "step" in logs:
            self.log("total", self.total if "object" in logs else value, on_step=False, on_epoch=True)

    def end(self):
        if "end" in logs:
            self.log("total", self.total if "object" in logs else self.total.compute())
        self.total.reset()

    rows = Rows()
    hooks = {f"{'training' if stage == 'train' else stage}_step": step, f"on_{stage}_epoch_end": end}
    fit({"total": SumMetric()}, val=loader(20, 8), run=trainer(logger=rows, max_epochs=2), **hooks)
    assert [value for _, value in rows.of("total")] == [float(Y.sum())] * 2


@pytest.mark.parametrize("stage", ["train", "validation"])
@pytest.mark.parametrize("by", ["update", "forward"])
def test_a_metric_without_an_update_in_any_step_belongs_to_the_run(by, stage):
    """And neither logging nor the sanity check resets it."""
    numbers = iter([9.0] if stage == "validation" else [])

    def end(self):
        value = next(numbers)
        if by == "update":
            self.best.update(value)
            self.log("best", self.best)
        else:
            self.log("best", self.best(value))

    rows, best = Rows(), MaxMetric()
    run = trainer(logger=rows, max_epochs=3, num_sanity_val_steps=1)
    hooks = {"validation_step": lambda self, batch, i: None, f"on_{stage}_epoch_end": end}
    numbers = iter([*numbers, 1.0, 3.0, 2.0])
    fit({"best": best}, val=loader(20, 8), run=run, **hooks)
    assert [value for _, value in rows.of("best")] == [1.0, 3.0, 3.0]
    assert best.compute() == 3.0


@pytest.mark.parametrize("style", ["object", "value", "collection"])
def test_one_object_may_serve_training_validation_and_several_loaders(style):
    """All of it at once, with a validation in the midst of training."""

    def shared(self, batch, stage):
        y = batch[1].float() + (100 if stage == "val" else 0)
        found = self.members(y)
        named = {"sum": self.members["sum"]} if style == "object" else found
        self.log_dict({f"{stage}/{name}": value for name, value in named.items()}, on_step=False, on_epoch=True)

    def validation_step(self, batch, i, loader_idx=0):
        shared(self, batch, "val")

    def end(self):
        whole.append(self.members["sum"].compute().item())

    whole, rows = [], Rows()
    members = MetricCollection({"sum": SumMetric()})
    run = trainer(logger=rows, max_epochs=2, val_check_interval=2, num_sanity_val_steps=1)
    hooks = {"training_step": lambda self, b, i: shared(self, b, "train"), "validation_step": validation_step}
    fit({"members": members}, loader(40, 8), [loader(20, 8), loader(9, 8, seed=1)], run, on_validation_epoch_end=end, **hooks)
    of = [float((dataset(n, seed).tensors[1] + 100).sum()) for n, seed in ((20, 0), (9, 1))]
    assert [value for _, value in rows.of("train/sum")] == [float(dataset(40).tensors[1].sum())] * 2
    for i in (0, 1):
        assert [value for _, value in rows.of(f"val/sum/dataloader_idx_{i}")] == [of[i]] * 4
    assert whole[1:] == [sum(of)] * 4


FLAGS: list[dict[str, Any]] = [
    {}, {"on_step": False, "on_epoch": True}, {"on_epoch": True}, {"sync_dist": True}, {"sync_dist": False}, {"batch_size": 7},
    {"prog_bar": True}, {"logger": False}, {"enable_graph": True}, {"add_dataloader_idx": False},
]  # fmt: skip


def constants(self, batch, batch_idx):
    for i, flags in enumerate(FLAGS):
        self.log(f"number{i}", 1.0, **flags)
        self.log(f"tensor{i}", torch.tensor(1.0), **flags)


def constants_of_two(rank, size):
    with rank_environment(rank, size):
        run = ddp_trainer(size, accumulate_grad_batches=2)
        run.fit(Steps(training_step=constants, validation_step=validated_constants), loader(19, 4), loader(5, 2))
        return values(run)


def validated_constants(self, batch, batch_idx):
    self.log("val", 1.0)
    self.log("val_x", 1.0, on_step=True)


@pytest.mark.filterwarnings("ignore:self.log")  # sync_dist in evaluation
def test_one_is_one_whatever_the_batch_sizes_ranks_and_flags(pair):
    alone = values(fit(training_step=constants, validation_step=validated_constants, val=loader(5, 2)))
    for found in (alone, *pair.run(constants_of_two)):
        assert set(found.values()) == {1.0}
        assert len(found) == 2 * len(FLAGS) + 2 * 2 + 3


# --- arguments ---------------------------------------------------------------------------------------------------------------

LOG = (
    "name, value, prog_bar=False, logger=None, on_step=None, on_epoch=None, reduce_fx='mean', enable_graph=False, sync_dist=None, "
    "sync_dist_group=None, add_dataloader_idx=True, batch_size=None, metric_attribute=None, rank_zero_only=False"
)


@pytest.mark.parametrize("verb", ["log", "log_dict"])
def test_the_arguments_are_those_and_have_these_defaults(verb):
    wanted = LOG if verb == "log" else LOG.replace("name, value", "dictionary").replace(" metric_attribute=None,", "")
    parameters = list(inspect.signature(getattr(pl.LightningModule, verb)).parameters.values())[1:]
    assert ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters) == wanted


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (lambda: torch.utils.data.DataLoader(list(range(5)), 2, collate_fn=tuple), [2, 2, 1]),  # the sampler says
        (lambda: [["a", "b", "c"], ["d"]], [3, 1]),  # a list of samples
        (lambda: [{"x": torch.zeros(3, 2), "y": torch.zeros(3)}, {"x": torch.zeros(1, 2), "y": torch.zeros(1)}], [3, 1]),
    ],
)
def test_the_weight_is_what_the_sampler_says_else_the_lists_length_else_the_first_dimension(data, sizes):
    got = validate(lambda self, batch, i: self.log("x", float(i)), data=data())
    assert got["x"] == pytest.approx(np.average(range(len(sizes)), weights=sizes))


@pytest.mark.parametrize("logs", [{"reduce_fx": "max"}, {"batch_size": 2}, {"on_step": True, "on_epoch": False}])
def test_an_unknown_weight_is_an_error_only_where_a_weighted_mean_needs_it(logs):
    data = [{"x": torch.zeros(2), "y": torch.zeros(3)}]  # which do not agree
    validate(lambda self, batch, i: self.log("x", 1.0, **logs), data=data)
    with pytest.raises(ValueError, match="Pass batch_size="):
        validate(lambda self, batch, i: self.log("x", 1.0), data=data)


def never_touched(rank, size):
    def step(self, batch, i):
        self.total.update(1.0)
        self.log("total", self.total, sync_dist=False, reduce_fx="max", batch_size=3)

    with rank_environment(rank, size):
        run = ddp_trainer(size)
        run.validate(Steps({"total": SumMetric()}, validation_step=step), loader(16, 4), verbose=False)
        return values(run)


def test_sync_dist_reduce_fx_and_batch_size_never_touch_a_metric(pair):
    assert pair.run(never_touched) == [{"total": 4.0}] * 2


class InTurn(Model):
    """Keys that the ranks log in another order, of metrics and numbers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = SumMetric(), SumMetric()

    def validation_step(self, batch, batch_idx):
        for name in ("a", "b") if self.global_rank == 0 else ("b", "a"):
            getattr(self, name).update(1.0 if name == "a" else 10.0)
            self.log(name, getattr(self, name))
            self.log(f"number_{name}", 1.0 if name == "a" else 10.0)


def in_turn(rank, size):
    with rank_environment(rank, size):
        run = ddp_trainer(size)
        run.validate(InTurn(), loader(16, 4), verbose=False)
        return values(run)


def test_values_are_never_swapped_where_ranks_log_in_another_order(pair):
    assert pair.run(in_turn) == [{"a": 4.0, "b": 40.0, "number_a": 1.0, "number_b": 10.0}] * 2


def unlike(rank, size):
    def step(self, batch, i):
        self.total.update(1.0)
        self.log("x", self.total if self.global_rank else 1.0)

    with rank_environment(rank, size):
        try:
            ddp_trainer(size).validate(Steps({"total": SumMetric()}, validation_step=step), loader(16, 4), verbose=False)
        except ValueError as error:
            return str(error)
        return ""


def test_a_metric_on_one_rank_and_a_number_on_another_is_an_error_on_all(pair):
    first, second = pair.run(unlike)
    assert first == second
    assert first.startswith("self.log('x'): in validation_step one rank said kind='total'")


def uneven_collections(rank, size, way):
    members = MetricCollection({"a": Extremes(), "b": Extremes(("low", "top"))}, prefix="p_")
    with rank_environment(rank, size):
        run = ddp_trainer(size)
        module = Steps({"members": members}, validation_step=lambda self, b, i: WAYS[way](self, self.members(b[1])))
        run.validate(module, loader(3, 4), verbose=False)  # one batch, of the first rank
        return values(run)


@pytest.mark.parametrize("way", WAYS)
def test_a_rank_without_data_has_the_same_keys(pair, way):
    high = float(dataset(3).tensors[1].max())
    assert pair.run(uneven_collections, way) == [{"p_a_low": 0.0, "p_a_high": high, "p_b_low": 0.0, "p_b_top": high}] * 2


def test_a_key_logged_twice_in_one_hook_call_counts_both():
    def step(self, batch, i):
        self.log("x", 1.0)
        self.log("x", 3.0)

    assert validate(step)["x"] == 2.0


@pytest.mark.parametrize(
    "hook", ["predict_step", "on_predict_start", "on_predict_epoch_end", "on_predict_batch_start", "on_predict_batch_end"]
)
def test_hooks_of_prediction_cannot_log_and_are_named(hook):
    def logs(self, *args):
        self.log("x", 1.0)

    hooks = {"predict_step": lambda self, batch, i: None, hook: logs}
    with pytest.raises(RuntimeError, match=rf"it was called in {hook}, but nothing can be logged there"):
        trainer().predict(Steps(**hooks), loader(8, 8))


# --- where values go ------------------------------------------------------------------------------------------------------------


def test_callback_metrics_have_the_epochs_value_under_the_plain_name_once_there_is_one():
    seen = []

    def step(self, batch, i):
        self.log("x", float(i), on_epoch=True)
        seen.append(self.trainer.callback_metrics["x"].item())

    def end(self):
        seen.append({name: self.trainer.callback_metrics[name].item() for name in ("x", "x_step", "x_epoch")})

    fit(training_step=step, on_train_epoch_end=end)
    assert seen == [0.0, 1.0, 2.0, {"x": pytest.approx(0.8), "x_step": 2.0, "x_epoch": pytest.approx(0.8)}]


def test_each_view_has_what_it_is_for():
    def step(self, batch, i):
        self.log("shown", 1.0, prog_bar=True, logger=False)
        self.log("sent", 2.0)
        self.log("neither", 3.0, logger=False)

    run = fit(training_step=step)
    assert values(run) == {"shown": 1.0, "sent": 2.0, "neither": 3.0}
    assert run.logged_metrics == {"sent": torch.tensor(2.0)}
    assert run.progress_bar_metrics == {"shown": 1.0}


def test_the_history_is_bounded_and_comes_as_columns(monkeypatch):
    from epochal.training.history import History

    monkeypatch.setattr(History, "LONGEST", 4)
    run = fit(run=trainer(log_every_n_steps=1, max_epochs=2), training_step=lambda self, b, i: self.log("x", float(i)))
    assert run.history["x"] == [2.0, 0.0, 1.0, 2.0]
    assert run.history["step"] == [2, 3, 4, 5]
    assert set(run.history) == {"x", "step", "epoch"}
    with pytest.raises(KeyError, match="nowhere"):
        run.history["nowhere"]


def test_an_epoch_that_a_user_logs_comes_back_from_a_checkpoint():
    from epochal.training.history import History

    run = fit(run=trainer(log_every_n_steps=1), training_step=lambda self, b, i: self.log("epoch", [0.5, 1.0, float("inf")][i]))
    again = History.of(run.history.saved())
    assert again["epoch"] == run.history["epoch"] == [0.5, 1.0, float("inf")]
    assert list(map(type, again["step"])) == [int, int, int]


class Several(Model):
    """Manual optimization with two optimizers, of which the second steps on every other batch."""

    def __init__(self, optimizers):
        super().__init__()
        self.automatic_optimization, self.count = False, optimizers

    def training_step(self, batch, batch_idx):
        self.log("x", float(batch_idx), on_epoch=True)
        optimizers = self.optimizers()
        for i, optimizer in enumerate(optimizers if isinstance(optimizers, list) else [optimizers]):
            if i == 0 or batch_idx % 2:
                optimizer.zero_grad()
                self.manual_backward(Model.training_step(self, batch, batch_idx))
                optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), 0.0) for _ in range(self.count)]


@pytest.mark.parametrize("optimizers", [1, 2])
def test_the_x_axis_counts_batches_with_one_optimizer_or_several(optimizers):
    rows = Rows()
    trainer(logger=rows, log_every_n_steps=2, max_epochs=2).fit(Several(optimizers), loader(24, 8))
    assert rows.of("x_step") == [(1, 1.0), (3, 0.0), (5, 2.0)]
    assert rows.of("x_epoch") == [(2, 1.0), (5, 1.0)]


def test_the_row_of_a_step_comes_every_fifty_by_default():
    rows = Rows()
    fit(data=loader(110, 1), run=trainer(logger=rows), training_step=lambda self, b, i: self.log("x", float(i)))
    assert rows.of("x") == [(49, 49.0), (99, 99.0)]


def test_zero_for_log_every_n_steps_sends_no_row_of_a_training_step():
    rows = Rows()
    run = trainer(logger=rows, log_every_n_steps=0)
    fit(val=loader(20, 8), run=run, training_step=lambda self, b, i: self.log("x", 1.0, on_epoch=True),
        validation_step=lambda self, b, i: self.log("v", float(i), on_step=True))  # fmt: skip
    assert rows.of("x_step") == []
    assert rows.of("x_epoch") == [(2, 1.0)]
    assert [step for step, _ in rows.of("v_step")] == [0, 1, 2]


def test_step_rows_of_evaluation_count_its_own_batches_over_all_runs_of_a_fit():
    """Each batch, whatever ``log_every_n_steps``; from 0 again in a run of its own; without the epoch."""
    rows = Rows()
    step = lambda self, b, i: self.log("v", float(i), on_step=True, on_epoch=False)  # noqa: E731
    run = trainer(logger=rows, max_epochs=2, num_sanity_val_steps=2)
    fit(val=loader(20, 8), run=run, validation_step=step)
    assert rows.of("v") == [(i, float(i % 3)) for i in range(6)]
    run.validate(dataloaders=loader(8, 8), verbose=False)
    assert rows.of("v")[6:] == [(0, 0.0)]
    assert rows.of("epoch") == []


def test_sanity_batches_are_never_logged():
    seen, rows = [], Rows()

    def step(self, batch, i):
        self.log("v", 1.0, on_step=True, on_epoch=True, prog_bar=True)

    def start(self):
        run = self.trainer
        seen.append((run.callback_metrics, run.logged_metrics, run.progress_bar_metrics, list(run.history), list(rows.rows)))

    run = trainer(logger=rows, num_sanity_val_steps=2, limit_val_batches=2)
    fit(val=loader(20, 8), run=run, validation_step=step, on_train_start=start)
    assert seen == [({}, {}, {}, [], [])]
    assert len(rows.of("v_step")) == 2


@pytest.mark.parametrize("kind", ["mean of numbers", "metric"])
def test_a_value_of_an_earlier_epoch_never_ranks(kind, tmp_path):
    def step(self, batch, i):
        if self.current_epoch == 0:
            value = self.most(batch[1].float()) if kind == "metric" else 5.0
            self.log("sometimes", value)

    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, monitor="sometimes", mode="max", save_top_k=-1)
    run = trainer(enable_checkpointing=True, callbacks=[checkpoint], max_epochs=3)
    fit({"most": MaxMetric()}, val=loader(20, 8), run=run, validation_step=step)
    assert len(list(tmp_path.iterdir())) == 1
    assert "sometimes" in run.callback_metrics


def test_rows_are_written_at_an_exception(tmp_path):
    def step(self, batch, i):
        self.log("x", float(i))
        if i == 2:
            raise OSError("the disk")

    run = trainer(logger=pl.loggers.CSVLogger(tmp_path), log_every_n_steps=1)
    with pytest.raises(OSError, match="the disk"):
        fit(run=run, training_step=step)
    assert len((tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()) == 1 + 2


def foreign(rank, size):
    import torchmetrics

    def step(self, batch, i):
        self.log("value", self.total(batch[1].float()))
        self.log("object", self.total)

    with rank_environment(rank, size):
        run = ddp_trainer(size)
        run.validate(Steps({"total": torchmetrics.SumMetric()}, validation_step=step), loader(20, 4), verbose=False)
        return values(run)


@pytest.mark.filterwarnings("ignore")  # torchmetrics' own
def test_a_metric_of_torchmetrics_is_logged_like_one_of_ours_on_ranks_too(pair):
    assert pair.run(foreign) == [{"value": float(Y.sum()), "object": float(Y.sum())}] * 2
