"""Regression against scikit-learn: a table of (ours, oracle, arguments) and data in every dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from epochal import functional as ef
from epochal import regression as er
from tests.reference.test_classification import computed, differences

CUTS = (7, 7, 8, 31)  # batches of 7, 0, 1, 23 and 29 samples


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape):
    g = source()
    target = 3 * torch.randn(shape, generator=g, dtype=torch.float64) + 1
    return target + torch.randn(shape, generator=g, dtype=torch.float64), target


def cast(preds, target, dtype=torch.float32, other=None):
    return preds.to(dtype), target.to(other or dtype)


DATA = {
    "vector": cast(*normal(60)),
    "one column": cast(*normal(60, 1)),
    "image": cast(*normal(60, 2, 3)),
    "float64": normal(60),
    "float16": cast(*normal(60), torch.float16),
    "bfloat16": cast(*normal(60), torch.bfloat16),
    "mixed": cast(*normal(60), torch.float16, torch.float32),
    "int64": cast(*(10 * x for x in normal(60)), torch.int64),
    "uint8": cast(*(10 * x.abs() for x in normal(60)), torch.uint8),
    "uint8 and float": cast(*(10 * x.abs() for x in normal(60)), torch.uint8, torch.float32),
    "bool": cast(*(x > 0 for x in normal(60)), torch.bool),
    "far from 0": cast(*(x + 1e6 for x in normal(60)), torch.float64),
    "large": cast(*(x * 1e18 for x in normal(60))),  # whose square is beyond float32
    "perfect": (normal(60)[0],) * 2,
}
TABLE = [
    (er.MeanSquaredError, ef.mean_squared_error, sk.mean_squared_error, {}),
    (er.MeanSquaredError, ef.mean_squared_error, sk.root_mean_squared_error, {"squared": False}),
]


def raw(tensor):
    return tensor.double().numpy()


def cut(*tensors):
    return zip(*(t.tensor_split(CUTS) for t in tensors), strict=True)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(("cls", "function", "oracle", "arguments"), TABLE, ids=["square", "root"])
def test_equals_the_oracle(cls, function, oracle, arguments, name):
    preds, target = DATA[name]
    expected = oracle(raw(target).ravel(), raw(preds).ravel())
    double = torch.float64 in (preds.dtype, target.dtype)
    for found in (computed(cls(**arguments), cut(preds, target)), function(preds, target, **arguments)):
        assert found.dtype == (torch.float64 if double else torch.float32)
        assert found.item() == pytest.approx(expected, rel=1e-12 if double else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.int32])
@pytest.mark.parametrize(("cls", "function", "oracle", "arguments"), TABLE, ids=["square", "root"])
def test_outputs(cls, function, oracle, arguments, dtype):
    preds, target = (x.to(dtype) for x in normal(60, 3))
    expected = oracle(raw(target), raw(preds), multioutput="raw_values")
    arguments = {**arguments, "num_outputs": 3}
    for found in (computed(cls(**arguments), cut(preds, target)), function(preds, target, **arguments)):
        assert not differences(found, expected, integer=False, double=dtype == torch.float64)


@pytest.mark.parametrize(
    ("dtype", "far"), [(torch.float16, 60000.0), (torch.bfloat16, 2.0**120), (torch.uint8, 255), (torch.int8, 127)], ids=str
)
def test_differences_do_not_overflow(dtype, far):
    """Squares leave float16 beyond 256, differences of unsigned integers wrap below 0."""
    preds, target = torch.zeros(10, dtype=dtype), torch.full((10,), far).to(dtype)
    expected = target.double()[0].item() ** 2
    for a, b in ((preds, target), (target, preds)):
        assert ef.mean_squared_error(a, b, squared=False) == pytest.approx(expected**0.5, rel=1e-6)
        assert computed(er.MeanSquaredError(squared=False), cut(a, b)) == pytest.approx(expected**0.5, rel=1e-6)


def test_small_differences_of_large_numbers():
    """Both are subtracted as they came: float64 keeps what float32 would round away."""
    target = torch.full((100,), 1e8, dtype=torch.float64)
    assert ef.mean_squared_error(target + 0.5, target) == 0.25


def test_sums_do_not_saturate():
    """2**24 ones and one more: a float32 sum stays at 2**24."""
    metric = er.MeanSquaredError().set_dtype(torch.float64)
    metric.update(torch.ones(1), torch.zeros(1))
    for _ in range(25):
        metric.merge_state(metric.clone())
    metric.update(torch.full((1,), 2.0), torch.zeros(1))
    assert metric.compute() == (2**25 + 4) / (2**25 + 1)


def test_one_large_batch():
    """Accumulated in float64, a batch of half precision gives what NumPy gives in float64."""
    g = source(1)
    preds, target = (torch.rand(2**20, generator=g).half() for _ in range(2))
    expected = np.mean((raw(preds) - raw(target)) ** 2)
    assert ef.mean_squared_error(preds, target) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_nan_gives_nan(squared):
    preds, target = torch.tensor([1.0, math.nan, 2.0]), torch.ones(3)
    for a, b in ((preds, target), (target, preds)):
        assert ef.mean_squared_error(a, b, squared=squared).isnan()
        assert computed(er.MeanSquaredError(squared), zip(a.split(1), b.split(1), strict=True)).isnan()


def test_nan_of_one_output_stays_there():
    preds = torch.tensor([[1.0, math.nan], [2.0, 3.0]])
    found = ef.mean_squared_error(preds, torch.zeros(2, 2), num_outputs=2)
    assert found[0] == 2.5
    assert found[1].isnan()


def test_infinity():
    assert ef.mean_squared_error(torch.tensor([math.inf, 0.0]), torch.zeros(2)) == math.inf


@pytest.mark.parametrize("outputs", [1, 3])
def test_no_data_gives_nan(outputs):
    empty = torch.zeros(0, outputs) if outputs > 1 else torch.zeros(0)
    assert computed(er.MeanSquaredError(num_outputs=outputs), [(empty, empty)]).isnan().all()
    assert ef.mean_squared_error(empty, empty, num_outputs=outputs).isnan().all()
