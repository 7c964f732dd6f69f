"""Small metrics of every kind of state, for the tests of the core: each with data and its value by plain numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from epochal.metric import Metric


class Mean(Metric):
    """Sums of both kinds: a float one and a count."""

    is_differentiable = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measure(self, x: Tensor):
        return {"total": x.double().sum(), "count": x.numel()}

    def value(self, total, count):
        return total / count


class Extremes(Metric):
    """max and min."""

    is_differentiable = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("low", torch.tensor(torch.inf), dist_reduce_fx="min")
        self.add_state("high", torch.tensor(-torch.inf), dist_reduce_fx="max")

    def measure(self, x: Tensor):
        return {"low": x.min(), "high": x.max()}

    def value(self, low, high):
        return {"low": low, "high": high}


class Median(Metric):
    """Two lists of rows, of different dtypes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("x", [], dist_reduce_fx="cat")
        self.add_state("seen", [], dist_reduce_fx="cat")

    def measure(self, x: Tensor):
        return {"x": x, "seen": torch.ones(len(x), dtype=torch.uint8)}

    def value(self, x, seen):
        return {"median": x.double().quantile(0.5), "seen": seen.sum()}


class Welford(Metric):
    """Fields that merge jointly: Chan's formula."""

    is_differentiable = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for name in ("count", "mean", "squares"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx=None)

    def measure(self, x: Tensor):
        x = x.double()
        return {"count": torch.tensor(float(x.numel())).double(), "mean": x.mean(), "squares": (x - x.mean()).square().sum()}

    def merge(self, a, b):
        count = a["count"] + b["count"]
        share = b["count"] / count.clamp(min=1)
        delta = b["mean"] - a["mean"]
        return {
            "count": count,
            "mean": a["mean"] + delta * share,
            "squares": a["squares"] + b["squares"] + delta.square() * a["count"] * share,
        }

    def value(self, count, mean, squares):
        return torch.stack([mean, squares / count])


class Product(Metric):
    """A reduction of the user's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("product", torch.tensor(1.0, dtype=torch.float64), dist_reduce_fx=product)

    def measure(self, x: Tensor):
        return {"product": x.double().prod()}

    def value(self, product):
        return product


def product(stacked: Tensor) -> Tensor:
    return stacked.prod(0)


class Kept(Metric):
    """A list that is not concatenated, as strings and boxes are kept."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("items", [], dist_reduce_fx=None)

    def measure(self, x: Tensor):
        return {"items": [row.clone() for row in x]}

    def value(self, items):
        return torch.stack([item.double().sum() for item in items]).sum()


class MeanOfBatches(Metric):
    """ "mean": weighted by updates, a statistic of batches."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("mean", torch.tensor(0.0), dist_reduce_fx="mean")

    def measure(self, x: Tensor):
        return {"mean": x.double().mean()}

    def value(self, mean):
        return mean


class Histogram(Metric):
    """A large state, which goes through an all-reduce; the same measure with any ``scale``, which the value reads."""

    def __init__(self, size: int = 20_000, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.size, self.scale = size, scale
        self.add_state("counts", torch.zeros(size, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("peak", torch.full((size,), -1.0), dist_reduce_fx="max")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self):
        return self.size

    def measure(self, x: Tensor):
        index = (x.abs() * 100).long() % self.size
        return {
            "counts": torch.bincount(index, minlength=self.size),
            "peak": torch.full((self.size,), -1.0).scatter_reduce(0, index, x.float().abs(), "amax"),
            "total": x.numel(),
        }

    def value(self, counts, peak, total):
        return {"share": self.scale * counts[:200] / total, "peak": peak.max(), "all": counts.sum()}


class LastValue(Metric):
    """Not a homomorphism, and says so."""

    order_matters = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("last", torch.tensor(0.0), dist_reduce_fx=None)

    def merge(self, a, b):
        return b

    def measure(self, x: Tensor):
        return {"last": x[-1].double()}

    def value(self, last):
        return last


class MyAccuracy(Metric):
    """The classic way, as tutorials teach it: two updates in ``forward``."""

    def __init__(self, dist_sync_on_step=False, **kwargs):
        super().__init__(dist_sync_on_step=dist_sync_on_step, **kwargs)
        self.add_state("correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        assert preds.shape == target.shape
        self.correct += torch.sum(preds == target)
        self.total += target.numel()

    def compute(self) -> Tensor:
        return self.correct.float() / self.total


class MyFastAccuracy(MyAccuracy):
    full_state_update = False


class MyPearson(Metric):
    """The classic way with lists, appended to and concatenated by the class itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.preds.append(preds)
        self.target.append(target)

    def compute(self) -> Tensor:
        x, y = torch.cat(self.preds).double(), torch.cat(self.target).double()
        return torch.corrcoef(torch.stack([x, y]))[0, 1]


class MyRange(Metric):
    """The classic way with assigned states and an unreduced list."""

    full_state_update = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("high", torch.tensor(-torch.inf), dist_reduce_fx="max")
        self.add_state("batches", [], dist_reduce_fx=None)

    def update(self, x: Tensor) -> None:
        self.high = torch.maximum(self.high, x.max())
        self.batches += [x.min().detach()]

    def compute(self):
        return self.high - torch.stack(self.batches).min()


def floats(*sizes: int, seed: int = 0) -> list[tuple[Tensor]]:
    random = np.random.default_rng(seed)
    return [(torch.tensor(random.normal(1.0, 2.0, size), dtype=torch.float32),) for size in sizes]


def pairs(*sizes: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    random = np.random.default_rng(seed)
    return [(torch.tensor(random.integers(0, 3, size)), torch.tensor(random.integers(0, 3, size))) for size in sizes]


def float_pairs(*sizes: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    return [(a[0], b[0]) for a, b in zip(floats(*sizes, seed=seed), floats(*sizes, seed=seed + 1), strict=True)]


def joined(batches) -> list[np.ndarray]:
    """The columns of all batches, for an oracle in numpy."""
    return [torch.cat(column).double().numpy() for column in zip(*batches, strict=True)]


SIZES = (7, 1, 12, 4)
TOYS = {  # class -> (data, oracle on the joined columns)
    Mean: (floats(*SIZES), lambda x: x.mean()),
    Extremes: (floats(*SIZES), lambda x: {"low": x.min(), "high": x.max()}),
    Median: (floats(*SIZES), lambda x: {"median": np.median(x), "seen": len(x)}),
    Welford: (floats(*SIZES), lambda x: np.array([x.mean(), x.var()])),
    Product: (floats(*SIZES), lambda x: x.prod()),
    Kept: (floats(*SIZES), lambda x: x.sum()),
    Histogram: (
        floats(*SIZES),
        lambda x: {
            "share": np.bincount((np.abs(x).astype(np.float32) * np.float32(100)).astype(int), minlength=200)[:200] / len(x),
            "peak": np.abs(x).max(),
            "all": len(x),
        },
    ),
    MyAccuracy: (pairs(*SIZES), lambda a, b: (a == b).mean()),
    MyFastAccuracy: (pairs(*SIZES), lambda a, b: (a == b).mean()),
    MyPearson: (float_pairs(7, 3, 12), lambda a, b: np.corrcoef(a, b)[0, 1]),
    MyRange: (floats(*SIZES), lambda x: x.max() - x.min()),
}


def equal(got, expected, rtol: float = 1e-6) -> None:
    """Compare a result of ours with an oracle's."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            equal(got[key], value, rtol)
    else:
        np.testing.assert_allclose(got.double().numpy(), expected, rtol=rtol, atol=1e-9)
