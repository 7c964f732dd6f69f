"""Single metrics against torchmetrics': forward, update, and the functional accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torchmetrics

import epochal
from benchmarks.timing import Row, row

BATCH, CLASSES, LABELS, MANY = 64, 10, 5, 1000
TEN, FIVE = {"num_classes": CLASSES}, {"num_labels": LABELS}
EQUAL = 1.0  # not slower

Data = tuple[torch.Tensor, torch.Tensor]


def data() -> dict[str, Data]:
    """A batch for each kind of metric."""
    torch.manual_seed(0)
    return {
        "Binary": (torch.rand(BATCH), torch.randint(2, (BATCH,))),
        "Multiclass": (torch.randn(BATCH, CLASSES).softmax(-1), torch.randint(CLASSES, (BATCH,))),
        "Multilabel": (torch.rand(BATCH, LABELS), torch.randint(2, (BATCH, LABELS))),
        "many": (torch.randn(BATCH, MANY).softmax(-1), torch.randint(MANY, (BATCH,))),
        "Mean": (torch.randn(BATCH), torch.randn(BATCH)),
    }


# class, what the name does not say, arguments, how many times faster forward must be
METRICS: list[tuple[str, str, dict[str, Any], float]] = [
    ("MulticlassF1Score", "", TEN, 4.0),
    ("MulticlassConfusionMatrix", "", TEN, EQUAL),
    ("MulticlassAccuracy", "micro", {**TEN, "average": "micro"}, EQUAL),
    ("BinaryAccuracy", "", {}, EQUAL),
    ("BinaryConfusionMatrix", "", {}, EQUAL),
    ("MultilabelF1Score", "", FIVE, EQUAL),
    ("MulticlassCohenKappa", "", TEN, EQUAL),
    ("MulticlassMatthewsCorrCoef", "", TEN, EQUAL),
    ("MulticlassExactMatch", "", TEN, EQUAL),
    ("MultilabelExactMatch", "", FIVE, EQUAL),
    ("MulticlassJaccardIndex", "", TEN, EQUAL),
    ("MulticlassStatScores", "", TEN, EQUAL),
    ("MulticlassHammingDistance", "", TEN, EQUAL),
    ("MulticlassF1Score", "1000 classes", {"num_classes": MANY}, EQUAL),
    ("MeanSquaredError", "", {}, 3.0),
]


def room(library: Any, name: str) -> Any:
    return getattr(library.regression if name.startswith("Mean") else library.classification, name)


def verbs(name: str, variant: str, arguments: dict[str, Any], forward: float, batch: Data) -> Iterator[Row]:
    ours, peer = room(epochal, name)(**arguments), room(torchmetrics, name)(**arguments)
    title = f"{name}{f' ({variant})' if variant else ''}"
    yield row(f"{title}: forward", lambda: ours(*batch), lambda: peer(*batch), forward)
    ours.reset()
    peer.reset()
    yield row(f"{title}: update", lambda: ours.update(*batch), lambda: peer.update(*batch), EQUAL)


def functions(batches: dict[str, Data]) -> Iterator[Row]:
    ours, peer = epochal.functional.classification, torchmetrics.functional.classification
    task = {"task": "multiclass", **TEN}
    for name, of, arguments in (
        ("accuracy", "Multiclass", task),
        ("multiclass_accuracy", "Multiclass", TEN),
        ("binary_accuracy", "Binary", {}),
    ):
        call, its, batch = getattr(ours, name), getattr(peer, name), batches[of]
        shown = f"{name}({'task=...' if 'task' in arguments else ''})"
        yield row(shown, lambda f=call, b=batch, a=arguments: f(*b, **a), lambda f=its, b=batch, a=arguments: f(*b, **a), EQUAL)


def many_labels() -> Iterator[Row]:
    torch.manual_seed(0)
    batch = torch.randint(100, (10**6,)), torch.randint(100, (10**6,))
    ours, peer = (library.classification.MulticlassConfusionMatrix(100) for library in (epochal, torchmetrics))
    yield row("1,000,000 labels in 100 classes: update", lambda: ours.update(*batch), lambda: peer.update(*batch), 1.5)


def rows() -> Iterator[Row]:
    batches = data()
    for name, variant, arguments, forward in METRICS:
        kind = "many" if variant.endswith("classes") else next(kind for kind in batches if name.startswith(kind))
        yield from verbs(name, variant, arguments, forward, batches[kind])
    yield from functions(batches)
    yield from many_labels()
