"""Counts and sums that stay right where floats of the input's dtype, or of 32 bits, do not."""

from __future__ import annotations

import pytest
import torch

import epochal
from tests import toys

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("edge", [2**24, 2**31, 2**52], ids=["2**24", "2**31", "2**52"])
def test_counts_go_on_past_the_edges_of_floats(edge):
    """One more than 32 bits can count, exact also in results; formulas read counts as float64, which ends at 2**53."""
    metric = epochal.classification.BinaryStatScores()
    ones = torch.ones(edge if edge == 2**24 else 2, dtype=torch.uint8)
    metric.update(ones, ones)
    doublings = (edge // len(ones)).bit_length() - 1
    for _ in range(doublings):
        metric.merge_state(metric.clone())
    assert metric.compute()[0] == edge
    for _ in range(3):
        metric.update(torch.ones(1, dtype=torch.long), torch.ones(1, dtype=torch.long))
    tp, fp, tn, fn, support = metric.compute().tolist()
    assert (tp, fp, tn, fn, support) == (edge + 3, 0, 0, 0, edge + 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_of_samples(dtype):
    metric = epochal.MeanMetric(nan_strategy="disable")
    metric.update(torch.zeros((), dtype=dtype).expand(2**24))
    metric.merge_state({"mean_value": torch.tensor(0.0), "weight": torch.tensor(2.0**53 - 2**24, dtype=torch.float64)})
    assert metric.weight == 2**53
    assert epochal.MeanSquaredError().of(torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype)) == 1
    error = epochal.MeanSquaredError()
    name = next(k for k, field in error.metric_state.items() if not field.is_floating_point())
    error.update(torch.zeros(2, dtype=dtype), torch.ones(2, dtype=dtype))
    error.merge_state({k: torch.tensor(2**53) if k == name else 0 * v for k, v in error.metric_state.items()})
    error.update(torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype))
    assert int(getattr(error, name)) == 2**53 + 3  # which no float64 holds


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_of_a_hundred_million(dtype):
    """In 100 batches, one number in memory each: 1e8 values of 0.1, as the dtype has it."""
    tenth = torch.tensor(0.1, dtype=dtype)
    batch, number = tenth.expand(10**6), 10**8
    exact = tenth.double().item() * number
    total, mean = epochal.SumMetric(), epochal.MeanMetric()
    for _ in range(100):
        total.update(batch)
        mean.update(batch, 3.0)
    total.set_dtype(torch.float64)
    assert abs(total.compute().item() / exact - 1) < 1e-12
    assert abs(mean.compute().item() / tenth.item() - 1) < 1e-7
    assert mean.weight == 3 * number


def test_a_sum_of_small_numbers_one_by_one():
    """A float32 sum would stand still at 2**24 ulps: here a million updates more change it by what they add."""
    metric = toys.Mean()
    metric.merge_state({"total": torch.tensor(2.0**40), "count": torch.tensor(1)})
    for _ in range(1000):
        metric.update(torch.full((1000,), 0.1))
    assert abs(metric.total.item() - 2.0**40 - 1e5) < 2e-2


@pytest.mark.parametrize("dtype", DTYPES)
def test_means_with_large_weights(dtype):
    """float16 ends at 65504: neither weights nor products do."""
    metric = epochal.MeanMetric()
    for value, weight in ((1.0, 1e12), (3.0, 1e12), (2.0, 1e-6)):
        metric.update(torch.tensor([value], dtype=dtype), weight)
    assert metric.compute() == 2
    metric.reset()
    metric.update(torch.full((64,), 1e4, dtype=dtype), torch.full((64,), 3e4, dtype=dtype))
    expected = torch.tensor(1e4, dtype=dtype).item()
    assert metric.compute().item() == pytest.approx(expected, rel=1e-7)
    error = epochal.MeanSquaredError().of(torch.full((9,), 300.0, dtype=dtype), torch.zeros(9, dtype=dtype))
    assert error.item() == pytest.approx(torch.tensor(300.0, dtype=dtype).item() ** 2, rel=1e-7)


def test_integers_that_overflow_their_dtype():
    assert epochal.SumMetric().of(torch.full((1000,), 100, dtype=torch.int8)) == 100_000
    assert epochal.MeanSquaredError().of(torch.tensor([0], dtype=torch.uint8), torch.tensor([255], dtype=torch.uint8)) == 255**2
