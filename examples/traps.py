"""Numbers that go wrong in silence, each computed three ways: by definition, with torchmetrics, with Epochal.

    python examples/traps.py

The table in docs/differences.md is this script's output; the README has some of its rows. torchmetrics is needed for its column
(``pip install epochal[bench]``). Another trap is a function that returns its row, in :data:`TRAPS`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torchmetrics
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

import epochal
from epochal.training.data import EvaluationShare, Share

Row = tuple[str, float, float | None, float | None]  # what, by definition, torchmetrics, Epochal; None: there is no answer


def batches(*data: Tensor, sizes: list[int]) -> Iterator[tuple[Tensor, ...]]:
    yield from zip(*(tensor.split(sizes) for tensor in data), strict=True)


def mean_of_batch_values() -> Row:
    """What ``self.log_dict(collection(preds, target), on_epoch=True)`` logs: Lightning averages what it is given."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(100, generator=generator) < 0.1).long()
    preds = torch.where(torch.rand(100, generator=generator) < 0.8, target, 1 - target)
    theirs = torchmetrics.classification.BinaryF1Score()
    values = [(float(theirs(p, t)), len(p)) for p, t in batches(preds, target, sizes=[32, 32, 32, 4])]
    ours = epochal.classification.BinaryF1Score()
    for p, t in batches(preds, target, sizes=[32, 32, 32, 4]):
        value = ours(p, t)
    metric, _ = epochal.metric_of(value) or (ours, ())  # a logged value leads back to its metric
    averaged = sum(value * n for value, n in values) / sum(n for _, n in values)
    return "F1 of an epoch, logged as batch values", float(f1_score(target, preds)), averaged, float(metric.compute())


def logits_by_batch() -> Row:
    """Logits whose first batch happens to lie in [0, 1]: probabilities or logits is decided batch by batch, or over all of them."""
    logits, target = torch.tensor([0.2, 0.4, 3.0, -2.0]), torch.tensor([1, 1, 1, 0])

    def value(metric: Any) -> float:
        for p, t in batches(logits, target, sizes=[2, 2]):
            metric.update(p, t)
        return float(metric.compute())

    truth = accuracy_score(target, logits > 0)
    theirs, ours = torchmetrics.classification.BinaryAccuracy(), epochal.classification.BinaryAccuracy()
    return "accuracy of four logits in two batches", float(truth), value(theirs), value(ours)


def large_logits() -> Row:
    """A sigmoid in float32 is 1 from 17 on: logits beyond it become ties, while the area depends on their order alone."""
    logits, target = torch.tensor([20.0, 30.0, 40.0, 50.0]), torch.tensor([0, 1, 0, 1])
    values = (float(library.functional.classification.binary_auroc(logits, target)) for library in (torchmetrics, epochal))
    return "AUROC of four logits from 20 to 50", float(roc_auc_score(target, logits)), *values


def saturation() -> Row:
    """A float32 sum stops at 2**24."""

    def value(metric: Any) -> float:
        metric.update(torch.tensor(2.0**24))
        metric.update(torch.tensor(1.0))
        return float(metric.set_dtype(torch.float64).compute())

    return "2**24 + 1, summed", 2.0**24 + 1, value(torchmetrics.SumMetric()), value(epochal.SumMetric())


def padded_ranks() -> Row:
    """Five samples on two processes: DistributedSampler repeats one, so that it counts twice."""
    right, data = torch.tensor([0, 1, 1, 1, 1]), list(range(5))
    target = torch.ones(5, dtype=torch.long)

    def value(metric: Any, sampler: Callable[[int], Any]) -> float:
        for rank in range(2):  # as two processes would, and merged as they would
            seen = torch.tensor(list(sampler(rank)))
            metric.update(right[seen], target[seen])
        return float(metric.compute())

    theirs = value(
        torchmetrics.classification.BinaryAccuracy(),
        lambda rank: DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False),
    )
    ours = value(epochal.classification.BinaryAccuracy(), lambda rank: EvaluationShare(SequentialSampler(data), Share(rank, 2)))
    return "accuracy of 5 samples on 2 processes", float(accuracy_score(target, right)), theirs, ours


def half_an_update() -> Row:
    """A collection whose second member refuses a batch: the first has counted it, and counts it again in the next try."""

    def value(library: Any) -> float:
        wrong, right = torch.tensor([0, 2]), torch.tensor([0, 1])
        collection = library.MetricCollection(
            {"mean": library.MeanMetric(), "accuracy": library.classification.MulticlassAccuracy(num_classes=3, average="micro")}
        )
        for preds, target in ((wrong.float(), right), (wrong, right), (right, right)):
            try:
                collection.update(value=preds.float(), preds=preds, target=target)
            except (ValueError, TypeError):
                continue
        return float(collection.compute()["mean"])

    return "mean beside a metric that refused a batch", 0.75, value(torchmetrics), value(epochal)


def a_changed_result() -> Row:
    """A result that is changed in place, and asked for again."""

    def value(metric: Any) -> float:
        metric.update(torch.tensor([1, 0]), torch.tensor([1, 1]))
        percent = metric.compute()
        percent *= 100
        return float(metric.compute())

    return (
        "accuracy, after `percent *= 100`",
        0.5,
        value(torchmetrics.classification.BinaryAccuracy()),
        value(epochal.classification.BinaryAccuracy()),
    )


def a_metric_twice() -> Row:
    """A metric that occurs twice in a formula is updated twice."""

    def value(metric: Any) -> float:
        double = metric + metric
        double.update(torch.tensor(3.0))
        return float(double.compute())

    return "total + total, of one 3", 6.0, value(torchmetrics.SumMetric()), value(epochal.SumMetric())


def a_loaded_state() -> Row:
    """A checkpoint loaded into a metric that has been computed: the cached value outlives the state that it was computed from."""

    def value(library: Any) -> float:
        saved, metric = library.SumMetric(), library.SumMetric()
        for each, number in ((saved, 5.0), (metric, 2.0)):
            each.persistent(True)
            each.update(torch.tensor(number))
        metric.compute()
        metric.load_state_dict(saved.state_dict())
        return float(metric.compute())

    return "a sum of 5, loaded where 2 was computed", 5.0, value(torchmetrics), value(epochal)


def a_merged_state() -> Row:
    """The same, where the state of another metric is merged."""

    def value(library: Any) -> float:
        metric, other = library.SumMetric(), library.SumMetric()
        metric.update(torch.tensor(2.0))
        other.update(torch.tensor(3.0))
        metric.compute()
        metric.merge_state(other)
        return float(metric.compute())

    return "2, computed, then merged with 3", 5.0, value(torchmetrics), value(epochal)


def alike_at_first() -> Row:
    """Two thresholds that count the same in the first batch: what happens to be equal there is taken for the same for ever."""
    preds, target = torch.tensor([0.1, 0.9, 0.6, 0.6, 0.6, 0.2]), torch.tensor([0, 1, 0, 0, 0, 0])

    def value(library: Any) -> float:
        accuracy = library.classification.BinaryAccuracy
        collection = library.MetricCollection({"at_5": accuracy(), "at_7": accuracy(threshold=0.7)})
        for p, t in batches(preds, target, sizes=[2, 4]):
            collection.update(p, t)
        return float(collection.compute()["at_7"])

    truth = float(accuracy_score(target, preds > 0.7))
    return "accuracy at threshold 0.7, beside one at 0.5", truth, value(torchmetrics), value(epochal)


def loss_of(library: Any) -> Any:
    """A metric as users write them: the mean of a batch, declared to be averaged over processes."""

    class Loss(library.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.add_state("loss", torch.tensor(0.0), dist_reduce_fx="mean")

        def update(self, values: Tensor) -> None:
            self.loss = values.mean()

        def compute(self) -> Tensor:
            return self.loss

    return Loss()


def samples_of(library: Any) -> Any:
    """Accuracy for each sample, whose rows are joined over processes."""
    return library.classification.BinaryAccuracy(multidim_average="samplewise")


DATA: dict[Callable[[Any], Any], tuple[Tensor, ...]] = {
    loss_of: (torch.tensor([0.5, 0.7]),),
    samples_of: (torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 1], [1, 1]])),
}


def on_two(rank: int, library: Any, build: Callable[[Any], Any], folder: str) -> None:
    """One of two processes, of which only the first has data."""
    with open(os.devnull, "w") as nowhere:  # also what C++ says when it ends a process
        os.dup2(nowhere.fileno(), 2)
    limit = timedelta(seconds=20)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=limit)
    metric = build(library)
    if rank == 0:
        metric.update(*DATA[build])
    Path(folder, f"{rank}.json").write_text(json.dumps(float(metric.compute().float().mean())))


def without_data(library: Any, build: Callable[[Any], Any]) -> float | None:
    """The value on two processes; None where they fail."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        ranks = [context.Process(target=on_two, args=(rank, library, build, folder)) for rank in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        answers = [json.loads(found.read_text()) for found in sorted(Path(folder).glob("*.json"))]
        return float(answers[0]) if len(answers) == 2 and not any(process.exitcode for process in ranks) else None


def an_empty_rank() -> Row:
    """A process without data counts as one with a loss of 0."""
    values = (without_data(library, loss_of) for library in (torchmetrics, epochal))
    return "mean loss of 0.6, one of 2 processes without data", 0.6, *values


def an_empty_rank_of_rows() -> Row:
    """A process without data has no rows to tell the type of, and the exchange of int64 breaks down."""
    values = (without_data(library, samples_of) for library in (torchmetrics, epochal))
    return "accuracy by samples, one of 2 processes without data", 0.75, *values


TRAPS = (
    mean_of_batch_values,
    logits_by_batch,
    large_logits,
    padded_ranks,
    an_empty_rank,
    an_empty_rank_of_rows,
    saturation,
    half_an_update,
    a_changed_result,
    a_loaded_state,
    a_merged_state,
    alike_at_first,
    a_metric_twice,
)


def shown(value: float | None) -> str:
    return "fails" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def table() -> str:
    lines = ["| what | by definition | torchmetrics | Epochal |", "|---|---|---|---|"]
    for trap in TRAPS:
        what, truth, theirs, ours = trap()
        cells = [shown(value) for value in (truth, theirs, ours)]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(table())
