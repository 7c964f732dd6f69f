"""Every replicate of a bootstrap has what a metric would have that was updated with its rows; the summary is numpy's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

import epochal
from epochal import MeanMetric, check
from epochal.classification import BinaryAccuracy
from epochal.compare import tensors
from epochal.results import mapped
from epochal.testing import difference
from epochal.wrappers import BootStrapper, MinMaxMetric
from epochal.wrappers.replicates import Copies, Joint, Weighted
from tests import toys
from tests.errors.grammar import refused
from tests.laws.examples import EXAMPLES

B = 4


def rows(value, index):
    """The rows of an argument, one by one."""
    if isinstance(value, torch.Tensor):
        return torch.stack([value[i] for i in index]) if value.ndim else value
    return [value[i] for i in index] if isinstance(value, list) else value


def by_loop(make, batches, strategy="poisson"):
    """A metric for each replicate, updated with its rows; the weights are those that the bootstrap draws after the same seed."""
    drawing = BootStrapper(epochal.SumMetric(), B, sampling_strategy=strategy)
    metrics = [make() for _ in range(B)]
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)
        for metric, weights in zip(metrics, drawing.weights(batch, {}).tolist(), strict=True):
            index = [i for i, weight in enumerate(weights) for _ in range(weight)]
            if index:
                metric.update(*(rows(value, index) for value in batch))
    return [metric.compute() for metric in metrics]


def bootstrapped(make, batches, strategy="poisson", **options):
    boot = BootStrapper(make(), B, raw=True, mean=False, std=False, sampling_strategy=strategy, **options)
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)
        boot.update(*batch)
    return boot


def agrees(make, batches, strategy="poisson"):
    boot = bootstrapped(make, batches, strategy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a replicate may have no data
        expected = by_loop(make, batches, strategy)
        if len({tuple(part.shape for part in tensors(value)) for value in expected}) > 1:
            refused(boot.compute, ValueError, "BootStrapper", ("shapes",))
            return
        raw = boot.compute()["raw"]
    for index, value in enumerate(expected):
        text = difference(mapped(lambda each, i=index: each[i], raw), value, rtol=1e-6, atol=1e-7)
        assert text is None, f"replicate {index}: {text}"


def has_rows(batch):
    return any(isinstance(value, torch.Tensor) and value.ndim for value in batch)


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"BootStrapper"}))
def test_every_metric_as_by_a_loop(name):
    for number, example in enumerate(EXAMPLES[name]):
        batches = list(example.case().batches)
        if all(isinstance(batch, tuple) and has_rows(batch) for batch in batches):
            agrees(example.make, batches, ("poisson", "multinomial")[number % 2])


NUMBERS = [(torch.randn(n, generator=torch.Generator().manual_seed(n)),) for n in (9, 1, 14)]
TWO = [(x[0], x[0].flip(0) + 1) for x in NUMBERS]
WAYS = [
    (epochal.SumMetric, NUMBERS, Weighted),
    (epochal.MaxMetric, NUMBERS, Weighted),
    (epochal.MeanSquaredError, TWO, Weighted),
    (toys.Mean, NUMBERS, Weighted),
    (toys.Extremes, NUMBERS, Weighted),
    (toys.Welford, NUMBERS, Joint),
    (toys.Product, NUMBERS, Copies),
    (toys.MeanOfBatches, NUMBERS, Copies),
    (toys.LastValue, NUMBERS, Copies),
    (toys.MyRange, NUMBERS, Copies),
    (toys.MyPearson, TWO, Copies),
    (lambda: epochal.SumMetric() + toys.Mean(), NUMBERS, Copies),
    (lambda: epochal.RunningMean(window=2), NUMBERS, Copies),
]


@pytest.mark.parametrize(("make", "batches", "way"), WAYS, ids=lambda x: getattr(x, "__name__", ""))
@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
def test_the_way_follows_from_the_declaration(make, batches, way, strategy):
    assert type(BootStrapper(make()).replicates) is way
    agrees(make, batches, strategy)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("look", [True, False])
def test_what_a_replicate_did_not_draw_does_not_count(bad, look):
    batches = [(TWO[0][0].clone(), TWO[0][1]), TWO[2]]
    batches[0][0][3] = bad
    if look:
        agrees(epochal.MeanSquaredError, batches)
        return
    with check.deferred():
        agrees(epochal.MeanSquaredError, batches)


def test_opposite_infinities_are_nan_as_in_a_sum():
    agrees(lambda: epochal.SumMetric(nan_strategy="disable"), [(torch.tensor([torch.inf, -torch.inf, 1.0]),)] * 3)


def test_large_statistics_are_measured_in_parts(monkeypatch):
    monkeypatch.setattr("epochal.wrappers.replicates.ELEMENTS", 3)
    agrees(epochal.MeanSquaredError, TWO)
    agrees(epochal.MaxMetric, NUMBERS)


def test_nan_is_reported_once():
    boot = bootstrapped(epochal.MeanMetric, [])
    with pytest.warns(UserWarning, match="1 of the values are NaN") as caught:
        boot.update(torch.tensor([1.0, torch.nan, 2.0]))
    assert len(caught) == 1
    boot.compute()  # and not again, which would be an error here


def test_faults_are_found_at_compute_where_updates_may_not_look():
    target = torch.tensor([0, 7] * 8)
    with check.deferred():
        boot = bootstrapped(lambda: epochal.classification.MulticlassAccuracy(3), [(target, target)])
    with pytest.raises(ValueError, match="MulticlassAccuracy"):
        boot.compute()


def test_a_bad_batch_is_named_and_leaves_no_trace():
    boot = bootstrapped(lambda: epochal.classification.MulticlassAccuracy(3), [(torch.tensor([0, 1]), torch.tensor([0, 1]))])
    before = boot.compute()["raw"]
    target = torch.tensor([0, 7])
    refused(lambda: boot.update(target, target), ValueError, "MulticlassAccuracy", ("7",))
    assert torch.equal(boot.compute()["raw"].nan_to_num(7), before.nan_to_num(7))
    assert boot.update_count == 1


def test_the_summary_is_numpys():
    boot = BootStrapper(epochal.MeanSquaredError(), 50, quantile=torch.tensor([0.05, 0.5, 0.95]), raw=True)
    for batch in TWO:
        boot.update(*batch)
    value = boot.compute()
    assert list(value) == ["mean", "std", "quantile", "raw"]
    raw = value["raw"].double().numpy()
    assert raw.shape == (50,)
    for name, expected in (("mean", raw.mean()), ("std", raw.std(ddof=1)), ("quantile", np.quantile(raw, [0.05, 0.5, 0.95]))):
        np.testing.assert_allclose(value[name].numpy(), expected, rtol=1e-6)
        assert value[name].dtype == torch.float32
    assert set(BootStrapper(epochal.SumMetric()).of(torch.ones(9))) == {"mean", "std"}
    one = BootStrapper(epochal.SumMetric(), 1, quantile=0.5).of(torch.ones(9))
    assert one["std"].isnan()
    assert one["quantile"] == one["mean"]


def test_whole_numbers_have_a_mean():
    boot = BootStrapper(epochal.classification.BinaryConfusionMatrix(), 20, raw=True)
    value = boot.of(torch.randint(2, (30,)), torch.randint(2, (30,)))
    assert value["raw"].dtype == torch.int64
    assert value["mean"].dtype == torch.float32
    torch.testing.assert_close(value["mean"], value["raw"].float().mean(0))


@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
def test_the_weights_have_their_distribution(strategy):
    torch.manual_seed(0)
    weights = BootStrapper(epochal.SumMetric(), 2000, sampling_strategy=strategy).weights([torch.ones(50)], {})
    assert weights.shape == (2000, 50)
    share = weights.flatten().bincount(minlength=4)[:4] / weights.numel()
    each = (1 / 50, 49 / 50)
    law = (
        [np.exp(-1), np.exp(-1), np.exp(-1) / 2, np.exp(-1) / 6]
        if strategy == "poisson"
        else [np.prod([(50 - i) / (i + 1) for i in range(k)]) * each[0] ** k * each[1] ** (50 - k) for k in range(4)]
    )
    np.testing.assert_allclose(share.numpy(), law, atol=6e-3)  # four standard errors
    assert (weights.sum(1) == 50).all() == (strategy == "multinomial")


def test_the_deviation_is_that_of_the_sample_mean():
    torch.manual_seed(0)
    x = torch.randn(400)
    for strategy in ("poisson", "multinomial"):
        found = BootStrapper(epochal.MeanMetric(), 1000, sampling_strategy=strategy).of(x)
        assert abs(found["std"].item() / (x.std().item() / 20) - 1) < 0.1
        assert abs(found["mean"].item() - x.mean().item()) < 0.01


def test_a_seed_gives_the_same_again():
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(BootStrapper(epochal.SumMetric(), raw=True).of(torch.arange(20.0)))
    assert torch.equal(values[0]["raw"], values[1]["raw"])
    assert not torch.equal(values[0]["raw"], values[2]["raw"])


class Words(epochal.Metric):
    """The number of words of lists of sentences."""

    def __init__(self):
        super().__init__()
        self.add_state("words", torch.tensor(0), dist_reduce_fx="sum")

    def measure(self, sentences):
        return {"words": sum(len(sentence.split()) for sentence in sentences)}

    def value(self, words):
        return words


def test_lists_have_a_row_for_each_entry():
    batches = [(["a b", "c", "d e f", "g h i j"],), (["k", "l m"],)]
    assert type(BootStrapper(Words()).replicates) is Weighted
    agrees(Words, batches)
    agrees(Words, batches, "multinomial")


def test_dictionaries_have_the_rows_of_their_entries():
    class Pairs(epochal.SumMetric):
        def measure(self, value):
            return super().measure(value["a"] * value["b"])

    a, b = torch.arange(6.0), torch.arange(6.0) + 1
    torch.manual_seed(0)
    found = BootStrapper(Pairs(), raw=True).of({"a": a, "b": b})["raw"]
    torch.manual_seed(0)
    assert torch.equal(found, BootStrapper(epochal.SumMetric(), raw=True).of(a * b)["raw"])


class Picky(epochal.SumMetric):
    """A sum whose measure looks at values and makes shapes of them, which a metric should not."""

    def measure(self, value):
        return super().measure(value[value > 0]) if value.max().item() > 0 else super().measure(value * 0)


def test_code_that_cannot_be_batched_is_run_for_each():
    assert type(BootStrapper(Picky()).replicates) is Weighted
    agrees(Picky, NUMBERS)


def test_keywords():
    preds, target = TWO[0]
    values = []
    for args, kwargs in (((preds, target), {}), ((preds,), {"target": target}), ((), {"target": target, "preds": preds})):
        torch.manual_seed(0)
        values.append(BootStrapper(epochal.MeanSquaredError(), raw=True)(*args, **kwargs)["raw"])
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])


@pytest.mark.parametrize("base", [epochal.MeanSquaredError, lambda: 1 * epochal.MeanSquaredError()])
def test_keywords_of_a_collection(base):
    """Each member takes those that it knows; a name that none does is an error."""
    collection = epochal.MetricCollection({"boot": BootStrapper(base()), "mean": epochal.MeanMetric()})
    collection.update(preds=TWO[0][0], target=TWO[0][1], value=torch.ones(2))
    assert collection["boot"].update_count == 1
    with pytest.raises(TypeError, match="targets"):
        collection.update(preds=TWO[0][0], targets=TWO[0][1], value=torch.ones(2))


def test_no_rows_at_all():
    boot = BootStrapper(epochal.MeanSquaredError(), raw=True)
    boot.update(torch.zeros(0), torch.zeros(0))
    boot.update(*TWO[0])
    assert boot.update_count == 2
    assert boot.compute()["raw"].isfinite().all()


def test_the_data_of_the_metric_are_not_taken_over():
    base = epochal.SumMetric()
    base.update(1e6)
    boot = BootStrapper(base)
    boot.update(torch.ones(3))
    assert boot.compute()["mean"] < 100
    assert base.compute() == 1e6


def test_options_of_the_metric_and_of_the_bootstrap():
    quiet = epochal.SumMetric(sync_on_compute=False)
    assert not BootStrapper(quiet).replicates.sync_on_compute
    assert BootStrapper(quiet, sync_on_compute=True).replicates.sync_on_compute
    copies = BootStrapper(toys.MyRange(), sync_on_compute=False).replicates
    assert not any(metric.sync_on_compute for metric in copies.metrics)


@pytest.mark.parametrize("base", [epochal.SumMetric, epochal.CatMetric, toys.MyAccuracy])
def test_nested(base):
    """In a collection, and one in the other; a formula of it."""
    x = torch.arange(8)
    data = (x % 2, x % 3 % 2) if base is toys.MyAccuracy else (x.float(),)
    options = {"sampling_strategy": "multinomial"}
    collection = epochal.MetricCollection({"a": BootStrapper(base(), 3, **options), "b": BootStrapper(BootStrapper(base(), 2), 3)})
    if base is epochal.CatMetric:
        del collection["b"]
    value = collection(*data)
    assert {key for key in value if "mean" in key}
    collection.update(*data)
    assert collection["a"].update_count == 2
    twin = collection.clone()
    assert difference(twin.compute(), collection.compute(), rtol=0, atol=0) is None
    collection.reset()
    assert collection["a"].update_count == 0


@pytest.mark.parametrize("make", [epochal.MeanSquaredError, lambda: 2 * epochal.MeanSquaredError(), toys.MyPearson])
def test_merged(make):
    """One by one: replicate b of all is the merge of the replicates b."""
    first, second = (bootstrapped(make, part) for part in (TWO[:1], TWO[2:]))
    each = [first.compute()["raw"], second.compute()["raw"]]
    first.merge_state(second)
    assert first.update_count == 2
    merged = first.compute()["raw"]
    if make is epochal.MeanSquaredError:
        counts = [boot.replicates.metric_state["count"] for boot in (bootstrapped(make, TWO[:1]), second)]
        torch.testing.assert_close(merged, (each[0] * counts[0] + each[1] * counts[1]) / (counts[0] + counts[1]))
    assert merged.shape == (B,)
    refused(lambda: first.merge_state(BootStrapper(make(), B + 1)), ValueError, "(Weighted|Copies)")


def over_ranks(rank, size):
    """Of sums in two of the ways: the replicates over all ranks, and of this rank alone; rank 2 has no data."""
    torch.manual_seed(rank)
    out = []
    for metric in (epochal.SumMetric(), 1 * epochal.SumMetric()):
        boot = BootStrapper(metric, 5, raw=True)
        if rank < 2:
            boot.update(torch.full((6,), 10.0**rank))
        merged = boot.compute()["raw"]
        for inner in boot.modules():
            inner.sync_on_compute = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no data
            out.append((merged, boot.compute()["raw"]))
    return out


def steps_over_ranks(rank, size):
    """The raw values of a step over all ranks by our exchange, and by a loop over everybody's rows; and whether a rank had none."""
    batches = [(torch.tensor([1, 0, 1, 1][: 1 + 3 * r]), torch.tensor([1, 1, 0, 1][: 1 + 3 * r])) for r in range(size)]
    drawing = BootStrapper(epochal.SumMetric(), B)
    loops, drawn = [toys.MyAccuracy(sync_on_compute=False) for _ in range(B)], []
    for r, batch in enumerate(batches):
        torch.manual_seed(r)
        for metric, weights in zip(loops, drawing.weights(batch, {}).tolist(), strict=True):
            index = [i for i, weight in enumerate(weights) for _ in range(weight)]
            drawn.append(bool(index))
            if index:
                metric.update(*(rows(value, index) for value in batch))
    boot = BootStrapper(toys.MyAccuracy(), B, mean=False, std=False, raw=True, dist_sync_on_step=True)
    assert isinstance(boot.replicates, Copies)
    torch.manual_seed(rank)
    step = boot(*batches[rank])["raw"]
    return step, torch.stack([metric.compute() for metric in loops]), boot.compute()["raw"], all(drawn)


def test_a_step_over_ranks_whose_replicates_may_have_no_row(pools):
    for step, expected, epoch, all_drawn in pools[2].run(steps_over_ranks):
        assert not all_drawn
        assert difference(step, expected) is None
        assert difference(epoch, expected) is None


def test_ranks_resample_their_own(pools):
    answers = pools[3].run(over_ranks)
    for index in range(2):
        merged, own = zip(*(answer[index] for answer in answers), strict=True)
        assert all(torch.equal(one, merged[0]) for one in merged)
        assert torch.equal(sum(own), merged[0])
        assert not own[2].any()
        assert not torch.equal(own[0], own[1] / 10)


def test_arguments_are_checked():
    base = epochal.SumMetric()
    refused(lambda: BootStrapper("sum"), TypeError, "BootStrapper", ("'sum'",))
    refused(lambda: BootStrapper(epochal.MetricCollection([base])), TypeError, "BootStrapper", ("base_metric",))
    refused(lambda: BootStrapper(base, 0), ValueError, "BootStrapper", ("num_bootstraps is 0",))
    refused(lambda: BootStrapper(base, 2.0), TypeError, "BootStrapper", ("num_bootstraps is 2.0",))
    refused(lambda: BootStrapper(base, sampling_strategy="poison"), ValueError, "BootStrapper", ("poisson",))
    for quantile in (1.5, [0.5, -1.0], torch.tensor([2.0])):
        refused(lambda q=quantile: BootStrapper(base, quantile=q), ValueError, "BootStrapper", ("quantile",))
    refused(lambda: BootStrapper(base, quantile="median"), TypeError, "BootStrapper", ("quantile",))
    refused(lambda: BootStrapper(base, num_bootstrap=3), TypeError, "BootStrapper", ("num_bootstrap",))


def test_what_has_no_rows_is_refused():
    boot = BootStrapper(epochal.MeanSquaredError())
    refused(lambda: boot.update(torch.tensor(1.0), torch.tensor(1.0)), ValueError, "BootStrapper", ("no argument has rows",))
    refused(lambda: boot.update(torch.ones(3), target=torch.ones(4)), ValueError, "BootStrapper", ("[3]", "target has [4]"))
    assert boot.update_count == 0


def test_values_of_different_shapes_have_no_mean():
    boot = bootstrapped(epochal.CatMetric, NUMBERS[:1])
    refused(boot.compute, ValueError, "BootStrapper", ("shapes",))


class Scaled(epochal.Metric):
    """A network in a metric."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.add_state("parts", [], dist_reduce_fx="cat")

    def measure(self, x):
        return {"parts": self.layer(x[:, None])[:, 0]}

    def value(self, parts):
        return parts.sum()


def test_copies_share_a_network():
    boot = BootStrapper(Scaled())
    assert len({id(metric.layer.weight) for metric in boot.replicates.metrics}) == 1
    with torch.no_grad():
        boot.update(torch.ones(5))


def test_a_value_has_a_gradient():
    preds = torch.randn(20, requires_grad=True)
    boot = BootStrapper(epochal.MeanSquaredError())
    boot(preds, torch.zeros(20))["mean"].backward()
    assert preds.grad is not None
    assert preds.grad.abs().sum() > 0
    assert not any(field.requires_grad for field in boot.replicates.metric_state.values())


@pytest.mark.parametrize("metric", [BinaryAccuracy(), MeanMetric(nan_strategy="error")])
def test_a_fault_in_a_row_that_no_replicate_drew_is_found_at_compute(metric):
    scores, labels = torch.tensor([math.nan, 0.2, 0.7, 0.9]), torch.tensor([0, 1, 0, 1])
    for base in (metric, MinMaxMetric(metric)):
        for seed in range(20):  # of two replicates of four rows a tenth draws the first row not once
            torch.manual_seed(seed)
            bootstrap = BootStrapper(base, num_bootstraps=2, sampling_strategy="multinomial")
            batch = (scores, labels)[: 1 + isinstance(metric, BinaryAccuracy)]
            with check.deferred():
                refused(lambda: (bootstrap.update(*batch), bootstrap.compute()), ValueError, type(metric).__name__, ["NaN"])
