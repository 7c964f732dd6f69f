r"""Agreement on pairs of samples: are both in one cluster, or not?

Of :math:`\binom n2` pairs :math:`\sum_{ij} \binom{n_{ij}}2` are together in both partitions, :math:`\sum_i \binom{a_i}2` in
preds, :math:`\sum_j \binom{b_j}2` in target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from epochal.clustering.contingency import Contingency, Partitions
from epochal.metric import fixed


@dataclass(frozen=True)
class Pairs:
    """How many pairs there are, and are together in both partitions, in preds, and in target; float64."""

    all: Tensor
    both: Tensor
    preds: Tensor
    target: Tensor


def pairs(table: Contingency) -> Pairs:
    return Pairs(*((t * (t - 1) / 2).sum() for t in (table.n, table.cells, table.row_sums, table.column_sums)))


class RandScore(Partitions):
    r"""Rand index: the share of pairs on which the partitions agree, in [0, 1].

    .. math:: R = \frac{\text{pairs together in both} + \text{pairs apart in both}}{\binom n2}

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 of fewer than two samples.

    Source: W. M. Rand, Objective criteria for the evaluation of clustering methods, 1971.

    >>> RandScore()(torch.tensor([1, 1, 2, 2]), torch.tensor([0, 0, 1, 2]))
    tensor(0.8333)
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def value(self, table: Contingency) -> Tensor:
        of = pairs(table)
        agreed = of.all - of.preds - of.target + 2 * of.both
        return torch.where(of.all > 0, agreed / of.all, 1.0)


class AdjustedRandScore(Partitions):
    r"""Rand index adjusted for chance: 0 is expected of random partitions of these sizes, 1 is agreement; at least -0.5.

    .. math:: \frac{S - E}{\frac12 (A + B) - E}, \qquad E = AB / \tbinom n2

    with S, A and B the pairs together in both, in preds and in target. ``update`` as in
    :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 where both are one
    cluster, or all samples apart.

    Source: L. Hubert and P. Arabie, Comparing partitions, 1985.

    >>> AdjustedRandScore()(torch.tensor([1, 1, 2, 2]), torch.tensor([0, 0, 1, 2]))
    tensor(0.5714)
    """

    plot_lower_bound, plot_upper_bound = -0.5, 1.0

    def value(self, table: Contingency) -> Tensor:
        of = pairs(table)
        expected = of.preds * of.target / of.all
        most = (of.preds + of.target) / 2
        agree = (of.preds == of.both) & (of.target == of.both)  # with nothing to adjust, too
        return torch.where(agree, 1.0, (of.both - expected) / (most - expected))


class FowlkesMallowsIndex(Partitions):
    r"""Fowlkes-Mallows index: the geometric mean of precision and recall of pairs, in [0, 1].

    .. math:: \frac{S}{\sqrt{A B}}

    with S, A and B the pairs together in both, in preds and in target. ``update`` as in
    :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 0 where no pair is together in both.

    Source: E. B. Fowlkes and C. L. Mallows, A method for comparing two hierarchical clusterings, 1983.

    >>> FowlkesMallowsIndex()(torch.tensor([1, 1, 2, 2]), torch.tensor([0, 0, 1, 2]))
    tensor(0.7071)
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def value(self, table: Contingency) -> Tensor:
        of = pairs(table)
        return torch.where(of.both > 0, of.both / (of.preds.sqrt() * of.target.sqrt()), 0.0)


def rand_score(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`RandScore`."""
    return fixed(RandScore).of(preds, target)


def adjusted_rand_score(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`AdjustedRandScore`."""
    return fixed(AdjustedRandScore).of(preds, target)


def fowlkes_mallows_index(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`FowlkesMallowsIndex`."""
    return fixed(FowlkesMallowsIndex).of(preds, target)
