"""Examples of retrieval metrics: few scores, so that there are ties, and queries that lie in several batches."""

from __future__ import annotations

from typing import Any

import torch

from tests.laws.data import each, labels, row


def documents(grades: int = 2, ignored: int | None = None):
    def drawn(n, g):
        target = labels(grades, n, g=g, ignored=ignored)
        target[n // 2] = 1  # which is spoiled, and has to count then
        return torch.randint(6, (n,), generator=g) / 4, target, labels(4, n, g=g) * 5 - 3

    return each(drawn)


BY_K = ("RetrievalPrecision", "RetrievalRecall", "RetrievalFallOut", "RetrievalHitRate", "RetrievalMAP", "RetrievalMRR")
CURVES = ("RetrievalPrecisionRecallCurve", "RetrievalRecallAtFixedPrecision")
graded, ignoring = documents(4), documents(2, -1)
ignored: dict[str, Any] = {"ignore_index": -1, "empty_target_action": "skip"}
for name in (*BY_K, "RetrievalNormalizedDCG", "RetrievalAUROC"):
    row(name, "all", graded)
    row(name, "k", graded, {"top_k": 3, "aggregation": "median"})
    row(name, "ignored", ignoring, ignored)
row("RetrievalPrecision", "adaptive", documents(), {"top_k": 9, "adaptive_k": True, "empty_target_action": "pos"})
row("RetrievalAUROC", "part", documents(), {"top_k": 5, "max_fpr": 0.4, "aggregation": "max"})
row("RetrievalRPrecision", "all", graded)
row("RetrievalRPrecision", "ignored", ignoring, ignored)
for name in CURVES:
    row(name, "all", graded)
    row(name, "k", graded, {"max_k": 3, "adaptive_k": True})
    row(name, "ignored", ignoring, {**ignored, "max_k": 4})
row("RetrievalRecallAtFixedPrecision", "precise", documents(), {"min_precision": 0.6, "aggregation": "median"})
