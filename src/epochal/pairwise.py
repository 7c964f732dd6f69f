r"""Distances and similarities between all rows of two matrices.

Each function takes ``x``, floats ``(N, d)``, and ``y``, ``(M, d)``, or None for ``x`` itself, and returns ``(N, M)``, entry (i, j)
of row i of x and row j of y; with a ``reduction``, "mean" or "sum", over the M of them, ``(N,)``. ``zero_diagonal``: whether the
entries (i, i) are 0; None: if ``y`` is None. Computed in float64, so that close rows far from 0 keep their distance; the result
is float32, or float64 of float64. Errors: a ValueError or TypeError where an argument has another shape, dtype or name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from epochal import check
from epochal.numeric import wide
from epochal.results import cast, has_double

REDUCTIONS = ("mean", "sum", "none", None)


def _rows(name: str, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    y = x if y is None else y
    check.tensors(name, x=x, y=y)
    check.floating(name, x=x, y=y)
    for argument, rows in (("x", x), ("y", y)):
        if rows.ndim != 2:
            check.fail(name, f"{argument} has shape {check.shape(rows)}", "(N, d) is needed", f"Pass {argument}.flatten(1).")
    if x.shape[1] != y.shape[1]:
        check.fail(name, f"x has {x.shape[1]} columns", f"y has {y.shape[1]}")
    return wide(x), wide(y)


def _reduced(name: str, between: Tensor, x: Tensor, y: Tensor | None, reduction: str | None, zero_diagonal: bool | None) -> Tensor:
    check.choice(name, "reduction", reduction, REDUCTIONS)
    if y is None if zero_diagonal is None else zero_diagonal:
        between = between.masked_fill(torch.eye(*between.shape, dtype=torch.bool, device=between.device), 0.0)
    if reduction in ("mean", "sum"):
        between = between.mean(-1) if reduction == "mean" else between.sum(-1)
    result: Tensor = cast(between, torch.float64 if has_double((x, y), {}) else torch.float32)
    return result


def pairwise_cosine_similarity(
    x: Tensor, y: Tensor | None = None, reduction: str | None = None, zero_diagonal: bool | None = None
) -> Tensor:
    r"""Cosine of the angle between rows, :math:`\frac{x_i^T y_j}{\|x_i\| \|y_j\|}`, in [-1, 1]; 0 for a row of zeros.

    Arguments and errors as in :mod:`epochal.pairwise`.

    >>> pairwise_cosine_similarity(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0]]))
    tensor([[1.0000],
            [0.7071]])
    """
    name = "pairwise_cosine_similarity"
    a, b = (torch.nn.functional.normalize(rows, dim=1, eps=1e-300) for rows in _rows(name, x, y))
    return _reduced(name, (a @ b.T).clamp(-1, 1), x, y, reduction, zero_diagonal)


def pairwise_euclidean_distance(
    x: Tensor, y: Tensor | None = None, reduction: str | None = None, zero_diagonal: bool | None = None
) -> Tensor:
    r"""Euclidean distance, :math:`\sqrt{\sum_d (x_{id} - y_{jd})^2}`, from differences: exactly 0 between equal rows.

    Arguments and errors as in :mod:`epochal.pairwise`.

    >>> pairwise_euclidean_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]])
    """
    return _minkowski("pairwise_euclidean_distance", x, y, 2.0, reduction, zero_diagonal)


def pairwise_linear_similarity(
    x: Tensor, y: Tensor | None = None, reduction: str | None = None, zero_diagonal: bool | None = None
) -> Tensor:
    r"""Inner product, :math:`x_i^T y_j`.

    Arguments and errors as in :mod:`epochal.pairwise`.

    >>> pairwise_linear_similarity(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    name = "pairwise_linear_similarity"
    a, b = _rows(name, x, y)
    return _reduced(name, a @ b.T, x, y, reduction, zero_diagonal)


def pairwise_manhattan_distance(
    x: Tensor, y: Tensor | None = None, reduction: str | None = None, zero_diagonal: bool | None = None
) -> Tensor:
    r"""Manhattan distance, :math:`\sum_d |x_{id} - y_{jd}|`.

    Arguments and errors as in :mod:`epochal.pairwise`.

    >>> pairwise_manhattan_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), reduction="sum")
    tensor([7., 7.])
    """
    return _minkowski("pairwise_manhattan_distance", x, y, 1.0, reduction, zero_diagonal)


def pairwise_minkowski_distance(
    x: Tensor, y: Tensor | None = None, exponent: float = 2, reduction: str | None = None, zero_diagonal: bool | None = None
) -> Tensor:
    r"""Minkowski distance, :math:`(\sum_d |x_{id} - y_{jd}|^p)^{1/p}`, with p the ``exponent``, at least 1.

    Arguments and errors as in :mod:`epochal.pairwise`.

    >>> pairwise_minkowski_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), exponent=3)
    tensor([[4.4979]])
    """
    check.number("pairwise_minkowski_distance", "exponent", exponent, 1)
    return _minkowski("pairwise_minkowski_distance", x, y, float(exponent), reduction, zero_diagonal)


def _minkowski(
    name: str, x: Tensor, y: Tensor | None, exponent: float, reduction: str | None, zero_diagonal: bool | None
) -> Tensor:
    a, b = _rows(name, x, y)
    between = torch.cdist(a, b, exponent, compute_mode="donot_use_mm_for_euclid_dist")
    return _reduced(name, between, x, y, reduction, zero_diagonal)
