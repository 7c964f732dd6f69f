"""Examples of metrics that read scores at every threshold: exact and binned, of each precision that has a state of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tests.laws.data import CLASSES, LABELS, POSITIONS, one_of_many, row, yes_or_no

HALVES = (torch.float16, torch.bfloat16)
LIST = [0.2, 0.4, 0.6]


def halved(batches: Callable[[], Any]) -> Callable[[], Any]:
    """In both half precisions, in turn."""
    return lambda: [(preds.to(HALVES[i % 2]), target) for i, (preds, target) in enumerate(batches())]


def ranked(name: str, function: str, averages: Sequence[str], variants: Sequence[Mapping[str, Any]] = ()) -> None:
    """The rows of a metric in all its tasks, and of the family."""
    one, several = yes_or_no(), yes_or_no(LABELS)
    scores, positions = one_of_many()["scores"], one_of_many(POSITIONS, ignored=-1)["scores"]
    ignored = {"ignore_index": -1}
    classes, labels = {"num_classes": CLASSES}, {"num_labels": LABELS}
    binned = {"thresholds": 5}
    rows: dict[str, Sequence[tuple[str, Callable[[], Any], Mapping[str, Any]]]] = {
        "binary": [
            ("logits", one["logits"], {}),
            ("binned", one["logits"], binned),
            ("half", halved(one["logits"]), {}),
            ("ignored", yes_or_no(POSITIONS, ignored=-1)["probabilities"], ignored),
            ("ignored, binned", yes_or_no(POSITIONS, ignored=-1)["probabilities"], {**ignored, "thresholds": LIST}),
            *((f"{more}", one["probabilities"], more) for more in variants),
        ],
        "multiclass": [
            ("logits", scores, classes),
            ("binned", scores, {**classes, **binned}),
            ("ignored", positions, {**classes, **ignored}),
            *((f"{a}", scores, {**classes, "average": a}) for a in averages),
            *((f"{a}, binned", scores, {**classes, **binned, "average": a}) for a in averages),
        ],
        "multilabel": [
            ("logits", several["logits"], labels),
            ("binned", several["logits"], {**labels, "thresholds": LIST}),
            ("half", halved(several["probabilities"]), labels),
            ("ignored", yes_or_no(LABELS, POSITIONS, ignored=-1)["logits"], {**labels, **ignored}),
            *((f"{a}", several["logits"], {**labels, "average": a}) for a in averages[:1]),
        ],
    }
    for task, found in rows.items():
        for variant, batches, arguments in found:
            form = f"{task}_{function}" if task != "multilabel" or name in AREAS or "average" not in arguments else None
            row(f"{task.title()}{name}", variant, batches, arguments, form)
    row(name, "multiclass", scores, {"task": "multiclass", **classes}, function)
    row(name, "binary", one["logits"], {"task": "binary", **binned}, function)


AREAS = ("AUROC", "AveragePrecision")
ranked("PrecisionRecallCurve", "precision_recall_curve", ("micro", "macro"))
ranked("ROC", "roc", ("micro", "macro"))
ranked("AUROC", "auroc", ("micro", "weighted", "none"), [{"max_fpr": 0.4}, {"max_fpr": 0.4, "thresholds": 5}])
ranked("AveragePrecision", "average_precision", ("micro", "weighted", "none"))
