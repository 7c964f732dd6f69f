r"""Mutual information of two partitions, in nats, and what it is compared with: their entropies, and its expectation by chance.

.. math:: I = \sum_{ij} \frac{n_{ij}}{n} \ln \frac{n\, n_{ij}}{a_i b_j}, \qquad H(a) = -\sum_i \frac{a_i}{n} \ln \frac{a_i}{n}
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.clustering.contingency import Contingency, Partitions
from epochal.metric import MetricOptions, fixed

AVERAGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "min": torch.minimum,
    "geometric": lambda a, b: (a * b).sqrt(),
    "arithmetic": lambda a, b: (a + b) / 2,
    "max": torch.maximum,
}
AT_ONCE = 1 << 22  # terms of an expectation that are held at a time


def mutual_information(table: Contingency) -> Tensor:
    """At least 0."""
    share = table.cells / table.n
    return (share * (share.log() - (table.rows / table.n).log() - (table.columns / table.n).log())).sum().clamp(min=0)


def entropy(sums: Tensor) -> Tensor:
    """Of the sizes of clusters; exactly 0 of one."""
    share = sums / sums.sum()
    return -(share * share.log()).sum()


def expected_information(table: Contingency) -> Tensor:
    r"""What random partitions of the same sizes have on average: over the hypergeometric distribution of each cell.

    :math:`\sum_{ij} \sum_k \frac kn \ln\frac{n k}{a_i b_j} P(k)`, for the k samples that clusters of sizes :math:`a_i, b_j` may
    share. Clusters of one size have the same terms, which are computed once.
    """
    n = table.n
    (a, times_a), (b, times_b) = (torch.unique(sums, return_counts=True) for sums in (table.row_sums, table.column_sums))
    total = n.new_zeros(())
    for size, times in zip(a.unbind(), times_a.unbind(), strict=True):
        most = torch.minimum(size, b)
        k = torch.arange(1, int(most.max()) + 1, dtype=n.dtype, device=n.device)
        for part in torch.split(k, max(1, AT_ONCE // max(1, b.shape[0]))):
            cells, other = part[:, None], b
            apart = n - size - other + cells  # in neither cluster
            possible = (cells <= most) & (apart >= 0)
            ways = _log_factorials(size, other, n - size, n - other)
            log_p = ways - _log_factorials(n, cells, size - cells, other - cells, apart)
            term = cells / n * (n * cells / (size * other)).log() * log_p.exp()
            total = total + times * (torch.where(possible, term, 0.0) * times_b).sum()
    return total


def _log_factorials(first: Tensor, *others: Tensor) -> Tensor:
    """The logarithm of a product of factorials."""
    log = torch.lgamma(first.clamp(min=0) + 1)
    return log + _log_factorials(*others) if others else log


class MutualInfoScore(Partitions):
    r"""Mutual information: how much one partition says of the other, in nats.

    .. math:: I = \sum_{ij} \frac{n_{ij}}{n} \ln \frac{n\, n_{ij}}{a_i b_j}

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar, at least 0; 0 without data.

    Source: C. E. Shannon, A mathematical theory of communication, 1948.

    >>> MutualInfoScore()(torch.tensor([1, 1, 2, 2]), torch.tensor([0, 0, 1, 1]))
    tensor(0.6931)
    """

    plot_lower_bound = 0.0

    def value(self, table: Contingency) -> Tensor:
        return mutual_information(table)


class Averaged(Partitions):
    """Base of mutual information beside an average of the entropies: "min", "geometric", "arithmetic" or "max"."""

    plot_upper_bound = 1.0

    def __init__(self, average_method: str = "arithmetic", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.choice(self, "average_method", average_method, tuple(AVERAGES))
        self.average_method = average_method

    def average(self, table: Contingency) -> Tensor:
        return AVERAGES[self.average_method](entropy(table.row_sums), entropy(table.column_sums))


class NormalizedMutualInfoScore(Averaged):
    r"""Mutual information as a share of the entropy, in [0, 1].

    .. math:: \frac{I}{\operatorname{average}(H(a), H(b))}

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 where both are one cluster, and
    without data; 0 where one of them is.

    Args:
        average_method: "min", "geometric", "arithmetic" or "max".

    Source: A. Strehl and J. Ghosh, Cluster ensembles, 2002.

    >>> NormalizedMutualInfoScore()(torch.tensor([1, 3, 2, 0, 1]), torch.tensor([0, 3, 2, 2, 1]))
    tensor(0.7919)
    """

    plot_lower_bound = 0.0

    def value(self, table: Contingency) -> Tensor:
        if max(len(table.row_sums), len(table.column_sums)) <= 1:
            return table.n.new_ones(())
        information = mutual_information(table)
        return torch.where(information > SMALL, information / self.average(table).clamp(min=SMALL), 0.0)


class AdjustedMutualInfoScore(Averaged):
    r"""Mutual information adjusted for chance: 0 is expected of random partitions of these sizes, 1 is agreement.

    .. math:: \frac{I - E[I]}{\operatorname{average}(H(a), H(b)) - E[I]}

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 where both are one cluster, and
    without data.

    Args:
        average_method: "min", "geometric", "arithmetic" or "max".

    Source: N. X. Vinh, J. Epps and J. Bailey, Information theoretic measures for clusterings comparison, 2010.

    >>> AdjustedMutualInfoScore()(torch.tensor([2, 1, 0, 1, 0]), torch.tensor([0, 2, 1, 1, 0]))
    tensor(-0.2500)
    """

    def value(self, table: Contingency) -> Tensor:
        clusters = len(table.row_sums), len(table.column_sums)
        if max(clusters) <= 1:
            return table.n.new_ones(())
        if min(clusters) == 1:
            return table.n.new_zeros(())  # one of them says nothing, as is expected
        expected = expected_information(table)
        above, most = (not_0(information - expected) for information in (mutual_information(table), self.average(table)))
        return above / most


SMALL = torch.finfo(torch.float64).eps


def not_0(x: Tensor) -> Tensor:
    """Kept away from 0, with its sign: where nothing is left to chance, 0 of 0 is all."""
    return torch.where(x < 0, x.clamp(max=-SMALL), x.clamp(min=SMALL))


class HomogeneityScore(Partitions):
    r"""Homogeneity: how far each cluster of preds holds members of one cluster of target, in [0, 1].

    .. math:: h = I / H(\text{target})

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 where target is one cluster.

    Source: A. Rosenberg and J. Hirschberg, V-measure, 2007.

    >>> HomogeneityScore()(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1]))
    tensor(1.)
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def value(self, table: Contingency) -> Tensor:
        return explained(table, table.column_sums)


class CompletenessScore(Partitions):
    r"""Completeness: how far the members of each cluster of target are in one cluster of preds, in [0, 1].

    .. math:: c = I / H(\text{preds})

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 1 where preds is one cluster.

    Source: A. Rosenberg and J. Hirschberg, V-measure, 2007.

    >>> CompletenessScore()(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1]))
    tensor(0.6667)
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def value(self, table: Contingency) -> Tensor:
        return explained(table, table.row_sums)


class VMeasureScore(Partitions):
    r"""V-measure: the weighted harmonic mean of homogeneity and completeness, in [0, 1].

    .. math:: v = \frac{(1 + \beta) h c}{\beta h + c}

    ``update`` as in :class:`~epochal.clustering.contingency.Partitions`. ``compute()``: a scalar; 0 where h and c are.

    Args:
        beta: a positive number; above 1 completeness weighs more.

    Source: A. Rosenberg and J. Hirschberg, V-measure, 2007.

    >>> VMeasureScore(beta=2.0)(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1]))
    tensor(0.7500)
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(self, beta: float = 1.0, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.number(self, "beta", beta, 0)
        if beta in (0, math.inf):
            alone = "CompletenessScore" if beta else "HomogeneityScore"
            check.fail(self, f"beta is {beta!r}", "a positive number is needed", f"Use {alone}.")
        self.beta = beta

    def value(self, table: Contingency) -> Tensor:
        h, c = explained(table, table.column_sums), explained(table, table.row_sums)
        below = self.beta * h + c
        return torch.where(below > 0, (1 + self.beta) * h * c / below, 0.0)


def explained(table: Contingency, sums: Tensor) -> Tensor:
    """Mutual information as a share of the entropy of one partition; 1 of one cluster, where there is nothing to explain."""
    return mutual_information(table) / entropy(sums) if len(sums) > 1 else table.n.new_ones(())


def mutual_info_score(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`MutualInfoScore`."""
    return fixed(MutualInfoScore).of(preds, target)


def normalized_mutual_info_score(preds: Tensor, target: Tensor, average_method: str = "arithmetic") -> Tensor:
    """Functional form of :class:`NormalizedMutualInfoScore`."""
    return fixed(NormalizedMutualInfoScore, average_method).of(preds, target)


def adjusted_mutual_info_score(preds: Tensor, target: Tensor, average_method: str = "arithmetic") -> Tensor:
    """Functional form of :class:`AdjustedMutualInfoScore`."""
    return fixed(AdjustedMutualInfoScore, average_method).of(preds, target)


def homogeneity_score(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`HomogeneityScore`."""
    return fixed(HomogeneityScore).of(preds, target)


def completeness_score(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`CompletenessScore`."""
    return fixed(CompletenessScore).of(preds, target)


def v_measure_score(preds: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Functional form of :class:`VMeasureScore`."""
    return fixed(VMeasureScore, beta).of(preds, target)
