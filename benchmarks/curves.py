"""Areas and curves of many scores beside torchmetrics and scikit-learn: update and compute of a new metric, as an epoch has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torchmetrics
from sklearn.metrics import roc_auc_score

import epochal
from benchmarks.timing import Row, row

SAMPLES, ROWS, CLASSES = 10**6, 50_000, 10


def computed(library: Any, name: str, arguments: dict[str, Any], preds: torch.Tensor, target: torch.Tensor) -> Any:
    metric = getattr(library.classification, name)(**arguments)
    metric.update(preds, target)
    return metric.compute()


def rows() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(2, (SAMPLES,), generator=generator)
    logits = torch.randn(SAMPLES, generator=generator) + target
    classes = torch.randint(CLASSES, (ROWS,), generator=generator)
    scores = torch.randn(ROWS, CLASSES, generator=generator)
    ten: dict[str, Any] = {"num_classes": CLASSES}
    cases: list[tuple[str, str, dict[str, Any], torch.Tensor, torch.Tensor, float]] = [
        ("BinaryAUROC", "probabilities", {}, logits.sigmoid(), target, 1.3),
        ("BinaryAUROC", "logits", {}, logits, target, 1.3),
        ("BinaryAUROC", "float16", {}, logits.half(), target, 1.3),
        ("BinaryAUROC", "100 thresholds", {"thresholds": 100}, logits.sigmoid(), target, 1.0),
        ("BinaryAveragePrecision", "logits", {}, logits, target, 1.0),
        ("BinaryROC", "logits", {}, logits, target, 1.0),
        ("MulticlassAUROC", "logits", ten, scores, classes, 1.3),
        ("MulticlassAUROC", "probabilities", ten, scores.softmax(1), classes, 1.3),
    ]
    for name, variant, arguments, preds, of, required in cases:
        size = f"{ROWS} x {CLASSES}" if name.startswith("Multiclass") else f"{SAMPLES}"
        both = [lambda lib=lib, c=(name, arguments, preds, of): computed(lib, *c) for lib in (epochal, torchmetrics)]
        yield row(f"{name} of {size} ({variant})", *both, required)
    for variant, preds in (("probabilities", logits.sigmoid()), ("logits", logits)):
        numpy = target.numpy(), preds.numpy()
        ours = lambda p=preds: computed(epochal, "BinaryAUROC", {}, p, target)  # noqa: E731
        yield row(f"BinaryAUROC of {SAMPLES} ({variant}), scikit-learn's", ours, lambda n=numpy: roc_auc_score(*n), 2.0)
