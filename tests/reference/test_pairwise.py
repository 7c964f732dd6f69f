"""Distances and similarities between rows, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise as sk

from epochal import functional as ef

TABLE = {
    "cosine": (ef.pairwise_cosine_similarity, sk.cosine_similarity, {}),
    "euclidean": (ef.pairwise_euclidean_distance, sk.euclidean_distances, {}),
    "linear": (ef.pairwise_linear_similarity, sk.linear_kernel, {}),
    "manhattan": (ef.pairwise_manhattan_distance, sk.manhattan_distances, {}),
    "minkowski": (
        ef.pairwise_minkowski_distance,
        lambda x, y: sk.pairwise_distances(x, y, metric="minkowski", p=3),
        {"exponent": 3},
    ),
}
G = torch.Generator().manual_seed(0)
X, Y = torch.randn(7, 3, generator=G, dtype=torch.float64), torch.randn(5, 3, generator=G, dtype=torch.float64)
X[2], Y[1] = 0.0, X[1]


@pytest.mark.parametrize("name", TABLE)
def test_equals_the_oracle(name):
    function, oracle, arguments = TABLE[name]
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6), (torch.float16, 1e-6), (torch.bfloat16, 1e-6)):
        x, y = X.to(dtype), Y.to(dtype)
        for other in (y, None):
            plain = oracle(x.double().numpy(), (x if other is None else y).double().numpy())
            for zero in (None, True, False):
                expected = plain.copy()
                if zero or (zero is None and other is None):
                    np.fill_diagonal(expected, 0.0)
                found = function(x, other, zero_diagonal=zero, **arguments)
                assert found.dtype == (dtype if dtype == torch.float64 else torch.float32)
                assert np.allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
                for reduction, reduce in (("mean", np.mean), ("sum", np.sum)):
                    reduced = function(x, other, zero_diagonal=zero, reduction=reduction, **arguments)
                    assert np.allclose(reduced.numpy(), reduce(expected, 1), rtol=tolerance, atol=3 * tolerance)
                assert function(x, other, zero_diagonal=zero, reduction="none", **arguments).equal(found)


@pytest.mark.parametrize("name", TABLE)
def test_gradients(name):
    function, _, arguments = TABLE[name]
    x, y = X[:2].clone().requires_grad_(), Y[2:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: function(a, b, **arguments), (x, y))


def test_close_rows_far_from_zero():
    """From inner products their squared distance would be lost among 1e16."""
    x = torch.tensor([[1e8, 1e8]], dtype=torch.float64)
    assert ef.pairwise_euclidean_distance(x, x + 0.5, zero_diagonal=False).item() == pytest.approx(0.5**0.5, rel=1e-12)


@pytest.mark.parametrize("name", TABLE)
def test_bad_arguments(name):
    function, _, _ = TABLE[name]
    for error, match, arguments in (
        (ValueError, r"x has shape \(3,\), but \(N, d\) is needed", {"x": torch.zeros(3)}),
        (ValueError, "x has 3 columns, but y has 2", {"x": torch.zeros(3, 3), "y": torch.zeros(3, 2)}),
        (TypeError, "y has dtype torch.int64, but floats are needed", {"x": torch.zeros(3, 3), "y": torch.zeros(3, 3).long()}),
        (TypeError, "x is a list, but a Tensor is needed", {"x": [1.0]}),
        (ValueError, "reduction is 'max', but one of .* is needed", {"x": torch.zeros(3, 3), "reduction": "max"}),
    ):
        with pytest.raises(error, match=f"^{function.__name__}: {match}"):
            function(**arguments)


def test_bad_exponent():
    with pytest.raises(ValueError, match=r"pairwise_minkowski_distance: exponent is 0.5, but a number in"):
        ef.pairwise_minkowski_distance(X, exponent=0.5)


def test_no_rows():
    assert ef.pairwise_euclidean_distance(X[:0], Y).shape == (0, 5)
    assert ef.pairwise_cosine_similarity(X, Y[:0]).shape == (7, 0)
