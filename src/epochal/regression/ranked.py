"""Correlation of ranks: of all pairs at once, so that the statistic is the pairs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State, fixed
from epochal.moments import moments
from epochal.numeric import signed
from epochal.ranks import average_ranks, dense_ranks, opposed
from epochal.regression.joint import columns, outputs


class RankedPairs(Metric):
    """Base of what depends on the order of all samples: the pairs themselves, in the dtype that they came in.

    A subclass says what a column of them gives (:meth:`correlation`). NaN gives NaN, and so do fewer than two samples.
    """

    is_differentiable = False
    plot_lower_bound, plot_upper_bound = -1.0, 1.0
    plot_legend_name = "Output"

    def __init__(self, num_outputs: int = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.whole(self, "num_outputs", num_outputs, 1)
        self.num_outputs = num_outputs
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        return self.num_outputs

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The pairs."""
        preds, target = outputs(self, preds, target, self.num_outputs)
        return {"preds": signed(preds), "target": signed(target)}

    def value(self, preds: Tensor, target: Tensor) -> Any:
        pairs = zip(*(field.reshape(-1, self.num_outputs).unbind(1) for field in (preds, target)), strict=True)
        found = torch.stack([_or_nan(x, y, self.correlation(x, y)) for x, y in pairs])
        return found if self.num_outputs > 1 else found[0]

    def correlation(self, preds: Tensor, target: Tensor) -> Tensor:
        """Of ``(N,)`` and ``(N,)``, in float64."""
        raise NotImplementedError(check.message(self, "correlation is not defined", "a correlation of ranks defines it"))


def _or_nan(preds: Tensor, target: Tensor, found: Tensor) -> Tensor:
    return torch.where(preds.isnan().any() | target.isnan().any(), torch.nan, found)


class SpearmanCorrCoef(RankedPairs):
    r"""Spearman's correlation: Pearson's of the ranks, where tied values have the mean of their places.

    .. math:: r_s = \frac{\operatorname{cov}(R(\hat y), R(y))}{\sigma_{R(\hat y)} \sigma_{R(y)}}

    ``update(preds, target)``: numbers ``(N,)``, or ``(N, num_outputs)``; all are kept. ``compute()``: a scalar, or
    ``(num_outputs,)``, in [-1, 1]; NaN where one of both is constant, of fewer than two samples, and of NaN.

    Source: C. Spearman, The proof and measurement of association between two things, 1904.

    >>> metric = SpearmanCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 1]))
    tensor(0.4000)
    """

    higher_is_better = True

    def correlation(self, preds: Tensor, target: Tensor) -> Tensor:
        (xx, xy), (_, yy) = moments(torch.stack([average_ranks(preds), average_ranks(target)], -1))["comoments"]
        r: Tensor = xy / (xx.sqrt() * yy.sqrt())
        return r.clamp(-1, 1)


def spearman_corrcoef(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`SpearmanCorrCoef`, of as many outputs as there are columns."""
    return fixed(SpearmanCorrCoef, columns(preds)).of(preds, target)


VARIANTS = ("a", "b", "c")
ALTERNATIVES = ("two-sided", "less", "greater")


class KendallRankCorrCoef(RankedPairs):
    r"""Kendall's correlation: of all pairs of samples, how many more are in the same order than in opposite ones.

    Of :math:`n_0 = n(n-1)/2` pairs let C be concordant, D discordant, T and U tied in preds and in target, m the smaller number of
    values that differ:

    .. math:: \tau_a = \frac{C - D}{n_0}, \quad \tau_b = \frac{C - D}{\sqrt{(n_0 - T)(n_0 - U)}}, \quad
        \tau_c = \frac{2 (C - D)}{n^2 (m - 1) / m}

    ``update(preds, target)``: numbers ``(N,)``, or ``(N, num_outputs)``; all are kept. ``compute()``: a scalar, or
    ``(num_outputs,)``, in [-1, 1]; NaN of NaN, of fewer than two samples, and for b and c where one of both is constant. With
    ``t_test`` a tuple of it and the p-value of independence, by the normal approximation with ties. In n log n.

    Args:
        variant: "a" knows no ties, "b" corrects for them, "c" suits tables that are not square.
        t_test: whether the p-value is returned.
        alternative: what is tested against it: "two-sided", "less" (negative) or "greater" (positive).

    Source: M. G. Kendall, A new measure of rank correlation, 1938, and The treatment of ties in ranking problems, 1945; c by
    A. Stuart, 1953.

    >>> metric = KendallRankCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 1]))
    tensor(0.3333)
    """

    def __init__(
        self,
        variant: str = "b",
        t_test: bool = False,
        alternative: str = "two-sided",
        num_outputs: int = 1,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_outputs, **kwargs)
        check.choice(self, "variant", variant, VARIANTS)
        check.choice(self, "alternative", alternative, ALTERNATIVES)
        self.variant, self.t_test, self.alternative = variant, t_test, alternative

    def value(self, preds: Tensor, target: Tensor) -> Any:
        found = super().value(preds, target)
        return tuple(found.unbind(-1)) if self.t_test else found[..., 0]

    def correlation(self, preds: Tensor, target: Tensor) -> Tensor:
        """The coefficient, and its p-value."""
        n = preds.shape[0]
        (x, x_sizes), (y, y_sizes) = dense_ranks(preds), dense_ranks(target)
        discordant, both = opposed(x, y, (x_sizes.shape[0], y_sizes.shape[0]))
        ties = [tied(sizes) for sizes in (x_sizes, y_sizes, both)]
        of_x, of_y, of_both = (tie[0] for tie in ties)
        pairs = preds.new_full((), n * (n - 1) / 2, dtype=torch.float64)
        surplus = pairs - of_x - of_y + of_both - 2 * discordant
        if self.variant == "a":
            tau = surplus / pairs
        elif self.variant == "b":
            tau = surplus / ((pairs - of_x).sqrt() * (pairs - of_y).sqrt())
        else:
            m = min(x_sizes.shape[0], y_sizes.shape[0])
            tau = torch.where(pairs > 0, 2 * surplus / (n * n * (m - 1) / m), torch.nan) if m > 1 else pairs * torch.nan
        (t2, t3, t5), (u2, u3, u5) = ties[0], ties[1]
        variance = (2 * pairs * (2 * n + 5) - t5 - u5) / 18 + t2 * u2 / pairs + t3 * u3 / (18 * pairs * max(n - 2, 1))
        z = surplus / variance.sqrt()
        tail = {"two-sided": -z.abs(), "less": z, "greater": -z}[self.alternative] * 0.5**0.5
        p = torch.special.erfc(-tail) * (1 if self.alternative == "two-sided" else 0.5)
        return torch.stack([tau.clamp(-1, 1), torch.where(tau.isnan(), torch.nan, p)])


def tied(sizes: Tensor) -> Tensor:
    r"""Of groups of t tied values: their pairs, :math:`\sum t(t-1)(t-2)` and :math:`\sum t(t-1)(2t+5)`."""
    t = sizes.double()
    pairs = t * (t - 1)
    return torch.stack([pairs.sum() / 2, (pairs * (t - 2)).sum(), (pairs * (2 * t + 5)).sum()])


def kendall_rank_corrcoef(
    preds: Tensor, target: Tensor, variant: str = "b", t_test: bool = False, alternative: str = "two-sided"
) -> Any:
    """Functional form of :class:`KendallRankCorrCoef`, of as many outputs as there are columns."""
    return fixed(KendallRankCorrCoef, variant, t_test, alternative, columns(preds)).of(preds, target)
