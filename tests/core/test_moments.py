"""Moments, through a metric that reads them: against exact fractions and numpy's longest floats."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from epochal.moments import Moments, moments
from epochal.testing import check_metric


class Covariance(Moments):
    def __init__(self, *shape: int, **kwargs):
        super().__init__(**kwargs)
        self.add_moments(*shape)

    def measure(self, x):
        return moments(x)

    def value(self, count, mean, comoments):
        return {"mean": mean, "covariance": comoments / count}


class Distance(Moments):
    """Two sets of variables under prefixes, as Fréchet distances read them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for prefix in ("real_", "fake_"):
            self.add_moments(2, prefix=prefix)

    def measure(self, real, fake):
        return moments(real, "real_") | moments(fake, "fake_")

    def value(self, real_count, real_mean, real_comoments, fake_count, fake_mean, fake_comoments):
        difference = real_comoments / real_count - fake_comoments / fake_count
        return (real_mean - fake_mean).square().sum() + difference.square().sum()


def longest(x: torch.Tensor) -> np.ndarray:
    """The covariances of ``(N, V)`` in numpy's longest floats."""
    rows = x.double().numpy().astype(np.longdouble)
    centred = rows - rows.mean(0)
    return (centred.T @ centred / len(rows)).astype(np.float64)


def fed(metric, x, size):
    for chunk in x.split(size):
        metric.update(chunk)
    return metric


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4, 1e8])
@pytest.mark.parametrize("size", [3, 2000])
def test_a_large_mean_costs_no_digits(offset, dtype, size):
    """The values are what the dtype makes of them; of these the moments are right, whatever the cut."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(2000, 3, dtype=torch.float64, generator=generator) @ torch.rand(
        3, 3, dtype=torch.float64, generator=generator
    )
    x = (mixed + offset).to(dtype)
    x = x[x.isfinite().all(1)]  # 1e8 is infinite in float16
    if not len(x):
        return
    metric = fed(Covariance(3), x, size)
    metric.set_dtype(torch.float64)
    value = metric.compute()
    np.testing.assert_allclose(value["covariance"].numpy(), longest(x), rtol=1e-8 if offset == 1e8 else 1e-12)
    mean = x.double().numpy().astype(np.longdouble).mean(0).astype(float)
    np.testing.assert_allclose(value["mean"].numpy(), mean, rtol=1e-14, atol=1e-14)


def test_exact_fractions():
    x = torch.tensor([1e15, 1e15 + 1, 1e15 + 2, 1e15 + 4], dtype=torch.float64)[:, None]
    numbers = [Fraction(int(v)) for v in x[:, 0].tolist()]
    mean = sum(numbers) / len(numbers)
    exact = sum((v - mean) ** 2 for v in numbers) / len(numbers)
    for size in (1, 2, 3, 4):
        assert fed(Covariance(1), x, size).compute()["covariance"].item() == pytest.approx(
            float(exact), rel=1e-3 if size < 4 else 1e-12
        )


@pytest.mark.parametrize("size", [1, 3, 10])
def test_constants_have_no_spread_at_all(size):
    metric = fed(Covariance(2), torch.full((10, 2), 0.1), size)
    assert metric.comoments.eq(0).all()
    assert metric.mean.eq(torch.tensor(0.1).double()).all()


def test_nothing_and_bad_values():
    metric = Covariance(2)
    metric.update(torch.zeros(0, 2))
    assert metric.compute()["covariance"].isnan().all()
    metric.update(torch.tensor([[1.0, 3.0], [2.0, 5.0]]))
    assert metric.compute()["covariance"].tolist() == [[0.25, 0.5], [0.5, 1.0]]
    for bad in (torch.nan, torch.inf):
        twin = metric.clone()
        twin.update(torch.tensor([[bad, 0.0]]))
        assert twin.compute()["covariance"][0].isnan().all()


def test_several_sets_of_variables_are_apart():
    x = torch.randn(50, 4, 2, generator=torch.Generator().manual_seed(0))
    together = fed(Covariance(4, 2), x, 7).compute()["covariance"]
    for index in range(4):
        assert torch.allclose(together[index], fed(Covariance(2), x[:, index], 7).compute()["covariance"])


def test_laws():
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(n, 2, generator=generator) + 3, torch.randn(n, 2, generator=generator)) for n in (7, 1, 12, 4)]
    check_metric(Distance, batches)
    check_metric(lambda: Covariance(2), [batch[:1] for batch in batches])


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("rows", [1, 50, 5000])
def test_unmerge_is_the_inverse(offset, rows):
    x = torch.randn(5000 + rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + offset
    metric = fed(Covariance(2), x[:5000], 100)
    part = metric.snapshot().state
    whole = fed(metric, x[5000:], 70).snapshot().state
    rest = metric.unmerge(whole, part)
    assert rest["count"] == rows
    again = metric.merge(part, rest)
    for name, field in whole.items():
        assert torch.allclose(again[name], field, rtol=1e-12, atol=1e-12)
    nothing = metric.unmerge(part, part)
    assert all(field.eq(0).all() for field in nothing.values())
