"""Numbers that go wrong in silence, each computed three ways: by definition, with torchmetrics, with Epochal.

    python examples/traps.py

The table in the README is this script's output. torchmetrics is needed for its column (``pip install epochal[bench]``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchmetrics
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

import epochal
from epochal.training.data import EvaluationShare, Share

Row = tuple[str, float, float, float]


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


TRAPS = (mean_of_batch_values, logits_by_batch, padded_ranks, saturation, half_an_update, a_changed_result, a_metric_twice)


def table() -> str:
    lines = ["| what | by definition | torchmetrics | Epochal |", "|---|---|---|---|"]
    for trap in TRAPS:
        what, truth, theirs, ours = trap()
        cells = [f"{value:.4f}".rstrip("0").rstrip(".") for value in (truth, theirs, ours)]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(table())
