r"""Means and covariances of several variables, merged exactly: what correlation, R² and Fréchet distances read.

A sum of squares less the square of a sum loses every digit where the mean is large beside the spread. So a batch is centred by
itself, and two statistics are joined by the formula of Chan, Golub and LeVeque, with :math:`\delta = \bar x_b - \bar x_a`:

.. math:: n = n_a + n_b, \quad \bar x = \bar x_a + \delta \frac{n_b}{n}, \quad M = M_a + M_b + \delta \delta^T \frac{n_a n_b}{n}

A metric declares, measures, and reads::

    class Covariance(Moments):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.add_moments(2)

        def measure(self, preds, target):
            return moments(torch.stack([preds, target], -1))

        def value(self, count, mean, comoments):
            return comoments[0, 1] / count
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from epochal.metric import Metric
from epochal.numeric import wide
from epochal.states import State

__all__ = ["Moments", "moments"]

FIELDS = ("count", "mean", "comoments")


def moments(x: Tensor, prefix: str = "") -> State:
    """The statistic of rows ``(N, V)`` of V variables, or ``(N, ..., V)`` of several independent sets of them.

    Returns ``count``, a scalar; ``mean``, ``(..., V)``; ``comoments``, ``(..., V, V)``: the sums of products of differences from
    the mean, n times the covariance. Exactly 0 for constants. NaN and infinity give NaN.
    """
    rows = wide(x).movedim(0, -2)
    count = rows.new_full((), x.shape[0], dtype=torch.int64)
    if not x.shape[0]:
        rows = rows.new_zeros(*rows.shape[:-2], 1, rows.shape[-1])
    pivot = rows[..., :1, :]  # differences from it are exact where the mean is large
    near = rows - pivot
    middle = near.mean(-2, keepdim=True)
    centred = near - middle
    return {
        f"{prefix}count": count,
        f"{prefix}mean": (pivot + middle).squeeze(-2),
        f"{prefix}comoments": centred.mT @ centred,
    }


class Moments(Metric):
    """Base of metrics whose fields are :func:`moments`, of one set of variables or of several under prefixes.

    Where a device has no float64 they are float32: centred, they lose no more digits than the data have there.
    """

    def add_moments(self, *shape: int, prefix: str = "") -> None:
        """Declare ``count``, ``mean`` and ``comoments`` of variables of this shape, the last dimension being those that covary."""
        self.add_state(f"{prefix}count", torch.tensor(0), dist_reduce_fx=None)
        self.add_state(f"{prefix}mean", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state(f"{prefix}comoments", torch.zeros((*shape, shape[-1]), dtype=torch.float64), dist_reduce_fx=None)

    def merge(self, a: State, b: State) -> State:
        merged: State = {}
        for prefix in _prefixes(a):
            (n_a, mean_a, m_a), (n_b, mean_b, m_b) = _fields(a, prefix), _fields(b, prefix)
            n, delta = n_a + n_b, mean_b - mean_a
            share = n_b.to(delta.dtype) / n.clamp(min=1)  # integers would be divided in float32
            merged |= _named(prefix, n, torch.addcmul(mean_a, delta, share), torch.addcmul(m_a + m_b, _outer(delta), n_a * share))
        return merged

    def unmerge(self, whole: State, part: State) -> State:
        """Chan's formula, solved for the other part."""
        rest: State = {}
        for prefix in _prefixes(whole):
            (n, mean, m), (n_a, mean_a, m_a) = _fields(whole, prefix), _fields(part, prefix)
            n_b = n - n_a
            delta, filled = (mean - mean_a) * n / n_b.clamp(min=1), n_b > 0
            m_b = m - m_a - _outer(delta) * n_b * n_a / n.clamp(min=1)
            rest |= _named(prefix, n_b, torch.where(filled, mean_a + delta, 0.0), torch.where(filled, m_b, 0.0))
        return rest


def _prefixes(state: State) -> list[str]:
    return [name.removesuffix("comoments") for name in state if name.endswith("comoments")]


def _fields(state: State, prefix: str) -> tuple[Any, Any, Any]:
    count, mean, comoments = (state[prefix + field] for field in FIELDS)
    return count, mean, comoments


def _named(prefix: str, *fields: Any) -> State:
    return {prefix + name: field for name, field in zip(FIELDS, fields, strict=True)}


def _outer(delta: Tensor) -> Tensor:
    return delta.unsqueeze(-1) * delta.unsqueeze(-2)
