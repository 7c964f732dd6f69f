"""Metrics for the tests of collections and formulas: a family that shares a statistic, and some that share nothing.

``calls`` counts what is done, by name of the step, so that a test can say how often.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric
from epochal.wrappers import ClasswiseWrapper, LambdaInputTransformer, MetricTracker, MinMaxMetric, MultioutputWrapper, Running

calls: Counter[str] = Counter()


class Pairs(Metric):
    """Sums, a count and the rows themselves, of predictions and targets; refuses NaN, and shapes that differ."""

    def __init__(self, size: int = 3, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.size, self.scale = size, scale
        self.add_state("table", torch.zeros(size), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("high", torch.tensor(-torch.inf), dist_reduce_fx="max")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def measured_by(self):
        return self.size

    def measure(self, preds: Tensor, target: Tensor):
        calls["measure"] += 1
        check.same_shape(self, preds=preds, target=target)
        error = preds.double() - target.double()
        if error.isnan().any():
            check.fail(self, "preds has NaN", "numbers are needed")
        table = torch.zeros(self.size, dtype=torch.float64).index_add(0, torch.arange(len(error)) % self.size, error)
        return {"table": table, "count": len(error), "high": error.max(), "rows": error}

    def merge(self, a, b):
        calls["merge"] += 1
        return super().merge(a, b)

    def derive(self, table, count, high, rows):
        calls["derive"] += 1
        return {"table": table, "count": count, "high": high, "spread": rows.std(correction=0) if len(rows) else rows.sum()}


class Total(Pairs):
    def value(self, table, count, high, spread):
        return self.scale * table.sum()


class Average(Pairs):
    def value(self, table, count, high, spread):
        return self.scale * table.sum() / count


class Spread(Pairs):
    """A dictionary for a value."""

    def value(self, table, count, high, spread):
        return {"std": self.scale * spread, "high": high}


class Refuses(Pairs):
    """Shares what is measured, and fails in its value for more than four rows."""

    def value(self, table, count, high, spread):
        if spread > 1e6:
            raise ValueError("Refuses: the spread is too large")
        return spread


class Underived(Pairs):
    """The same statistic, read as it is."""

    def derive(self, **state):
        return state

    def value(self, table, count, high, rows):
        return table


class Own(Metric):
    """A statistic that is never shared; takes another keyword."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def measure(self, preds: Tensor, target: Tensor, weight: float = 1.0):
        return {"total": weight * (preds * target).double().sum()}

    def value(self, total):
        return total


class Classic(Metric):
    """The classic way; refuses a negative first prediction after it has changed its states."""

    full_state_update = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("kept", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.seen += len(preds)
        self.kept.append(preds)
        if preds[0] < -100:
            raise ValueError("Classic: the first prediction is too small")

    def compute(self) -> Tensor:
        return torch.cat(list(self.kept)).sum() / self.seen if len(self.kept) else self.seen.float()


class Wrapper(Metric):
    """A metric with its state in another one."""

    full_state_update = True

    def __init__(self, inner: Metric, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.inner.update(preds, target)
        if preds[0] < -50:
            raise ValueError("Wrapper: the first prediction is too small")

    def compute(self) -> Tensor:
        return 2 * self.inner.compute()


def doubled(x: Tensor) -> Tensor:
    """Two outputs of one."""
    return torch.stack([x, 2 * x], -1)


def negated(x: Tensor) -> Tensor:
    return -x


def tracker(metric: Metric) -> MetricTracker:
    tracker = MetricTracker(metric, maximize=True)
    tracker.increment()
    return tracker


def wrapped() -> dict[str, Metric]:
    """Members that hold others."""
    return {
        "classwise": ClasswiseWrapper(Underived()),
        "extremes": MinMaxMetric(Average()),
        "negated": LambdaInputTransformer(Own(), negated),
        "outputs": LambdaInputTransformer(MultioutputWrapper(Average(), 2), doubled, doubled),
        "running": Running(Total(scale=3.0), window=2),
        "running_classic": Running(Classic(), window=2),
        "tracker": tracker(Running(Classic(), window=3)),
    }


def members() -> dict[str, Metric]:
    """One of each."""
    return {
        "average": Average(),
        "classic": Classic(),
        "other": Total(size=2),
        "own": Own(),
        "refuses": Refuses(),
        "spread": Spread(),
        "total": Total(),
        "twice": Total(scale=2.0),
        "underived": Underived(),
        "wrapper": Wrapper(Total()),
    }
