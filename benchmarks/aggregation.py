"""The aggregations against torchmetrics'."""

from __future__ import annotations

import torch
import torchmetrics

import epochal
from benchmarks.timing import Row, row


def rows() -> list[Row]:
    values, weights = torch.randn(64), torch.rand(64)
    out = []
    for name, forward in (("MeanMetric", 3.0), ("SumMetric", 2.0), ("MaxMetric", 2.0), ("RunningMean", 1.0)):
        ours, peer = getattr(epochal, name)(), getattr(torchmetrics, name, None) or getattr(torchmetrics.aggregation, name)
        peer = peer()
        out.append(row(f"{name}: forward", lambda o=ours: o(values), lambda p=peer: p(values), forward))
        out.append(row(f"{name}: update", lambda o=ours: o.update(values), lambda p=peer: p.update(values), 1.0))
        out.append(row(f"{name}: update with a number", lambda o=ours: o.update(1.5), lambda p=peer: p.update(1.5), 1.0))
    mean, peer = epochal.MeanMetric(), torchmetrics.MeanMetric()
    for name, weight in (("weights", weights), ("one weight", 8.0)):
        calls = (lambda w=weight: mean.update(values, w)), (lambda w=weight: peer.update(values, w))
        out.append(row(f"MeanMetric: update with {name}", *calls, 1.0))
    return out
