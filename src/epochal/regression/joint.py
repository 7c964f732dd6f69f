"""Joint moments of predictions, target and their difference: what R² and linear correlation read.

The difference is a variable of its own, since sums of squares of small residuals cannot be had from those of large values.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, State, fixed
from epochal.moments import Moments, moments
from epochal.numeric import wide

PREDS, TARGET, RESIDUAL = range(3)


class JointMoments(Moments):
    """Base of what reads the moments: means ``(3,)`` and comoments ``(3, 3)`` of one output, ``(num_outputs, ...)`` of several.

    ``num_outputs=None``: as many as the data have, which then are a dimension also of one; :meth:`merge` refuses other numbers.
    """

    is_differentiable = True
    plot_legend_name = "Output"

    def __init__(self, num_outputs: int | None = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        if num_outputs is not None:
            check.whole(self, "num_outputs", num_outputs, 1)
        self.num_outputs = num_outputs
        self.add_moments(*((num_outputs,) if num_outputs is not None and num_outputs > 1 else ()), 3)

    def measured_by(self) -> Hashable:
        return self.num_outputs

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Moments of ``(N,)`` or ``(N, num_outputs)``."""
        preds, target = outputs(self, preds, target, self.num_outputs)
        preds, target = wide(preds), wide(target)
        rows = torch.stack([preds, target, preds - target], -1)
        return moments(rows if self.num_outputs is not None or rows.ndim == 3 else rows.unsqueeze(1))

    def merge(self, a: State, b: State) -> State:
        check.one_number(self, "outputs", a["mean"], b["mean"])
        return super().merge(a, b)

    def derive(self, count: Any, mean: Any, comoments: Any) -> dict[str, Any]:
        """The number of samples, the means, and the sums of products about the means, each a scalar or ``(num_outputs,)``."""
        return {"n": count.to(mean.dtype), "mean": mean.movedim(-1, 0), "about_mean": comoments.movedim((-2, -1), (0, 1))}


def outputs(metric: Any, preds: Tensor, target: Tensor, num_outputs: int | None) -> tuple[Tensor, Tensor]:
    """Pairs of one output as ``(N,)``, also where a dimension of 1 trails; of several as ``(N, num_outputs)``."""
    check.pair(metric, preds, target)
    if preds.ndim == 2 and preds.shape[1] == 1:
        preds, target = preds.squeeze(1), target.squeeze(1)
    if preds.ndim in (1, 2) and num_outputs in (columns(preds), None):
        return preds, target
    needed = "(N,) or (N, num_outputs) is needed" if num_outputs is None else f"num_outputs is {num_outputs}"
    fix = f"Pass num_outputs={preds.shape[1]}." if preds.ndim == 2 and num_outputs else "Pass a sample in each row."
    return check.fail(metric, f"preds has shape {check.shape(preds)}", needed, fix)


MULTIOUTPUT = ("raw_values", "uniform_average", "variance_weighted")


class R2Score(JointMoments):
    r"""Coefficient of determination: how much of the variance of the target the predictions account for.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}, \qquad
        R^2_{adj} = 1 - (1 - R^2) \frac{n - 1}{n - k - 1}

    ``update(preds, target)``: numbers ``(N,)``, or ``(N, num_outputs)``; NaN gives NaN. ``compute()``: at most 1, without a
    unit; a scalar, or ``(num_outputs,)`` for "raw_values". Of a constant target 1 where all is predicted, else 0; NaN of fewer
    than two samples, and of fewer than k + 2 where it is adjusted.

    Args:
        adjusted: k, the number of independent variables of the regression; 0: not adjusted.
        multioutput: how outputs are averaged: "uniform_average", "variance_weighted" by that of the target, or "raw_values".

    Source: S. Wright, Correlation and causation, 1921; edge cases as in scikit-learn.

    >>> metric = R2Score()
    >>> metric(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 7]))
    tensor(0.9486)
    """

    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(self, adjusted: int = 0, multioutput: str = "uniform_average", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(None, **kwargs)
        check.whole(self, "adjusted", adjusted, 0)
        check.choice(self, "multioutput", multioutput, MULTIOUTPUT)
        self.adjusted, self.multioutput = adjusted, multioutput

    def value(self, n: Tensor, mean: Tensor, about_mean: Tensor) -> Tensor:
        total = about_mean[TARGET, TARGET]
        residual = about_mean[RESIDUAL, RESIDUAL] + n * mean[RESIDUAL].square()
        one = torch.ones_like(total)
        score = 1 - torch.where(total == 0, (residual != 0) * one, residual / torch.where(total == 0, one, total))
        score = torch.where((residual + total).isnan(), torch.nan, score)
        if self.multioutput == "raw_values":
            score = score.squeeze()
        elif self.multioutput == "uniform_average":
            score = score.mean()
        else:
            weight = torch.where((total == 0).all(), one, total)
            score = (score * weight).sum() / weight.sum()
        if self.adjusted:
            score = 1 - (1 - score) * ((n - 1) / (n - self.adjusted - 1))
        return torch.where(n >= 2 + self.adjusted, score, torch.nan)


def r2_score(preds: Tensor, target: Tensor, adjusted: int = 0, multioutput: str = "uniform_average") -> Tensor:
    """Functional form of :class:`R2Score`."""
    return fixed(R2Score, adjusted, multioutput).of(preds, target)


class PearsonCorrCoef(JointMoments):
    r"""Pearson's coefficient of linear correlation.

    .. math:: r = \frac{\sum_i (\hat y_i - \bar{\hat y}) (y_i - \bar y)}
        {\sqrt{\sum_i (\hat y_i - \bar{\hat y})^2 \sum_i (y_i - \bar y)^2}}

    ``update(preds, target)``: numbers ``(N,)``, or ``(N, num_outputs)``. ``compute()``: a scalar, or ``(num_outputs,)``, in
    [-1, 1]; NaN where one of both is constant, of fewer than two samples, and of NaN.

    Source: K. Pearson, Note on regression and inheritance in the case of two parents, 1895.

    >>> metric = PearsonCorrCoef()
    >>> metric(torch.tensor([2.5, 0.0, 2, 8]), torch.tensor([3, -0.5, 2, 7]))
    tensor(0.9849)
    """

    plot_lower_bound, plot_upper_bound = -1.0, 1.0

    def __init__(self, num_outputs: int = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(num_outputs, **kwargs)

    def value(self, about_mean: Tensor, **_: Any) -> Tensor:
        scale = about_mean[PREDS, PREDS].sqrt() * about_mean[TARGET, TARGET].sqrt()
        return (about_mean[PREDS, TARGET] / scale).clamp(-1, 1)


def pearson_corrcoef(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`PearsonCorrCoef`, of as many outputs as there are columns."""
    return fixed(PearsonCorrCoef, columns(preds)).of(preds, target)


def columns(preds: Tensor) -> int:
    """The outputs of ``(N, num_outputs)``; of all else 1."""
    return max(1, preds.shape[1]) if isinstance(preds, Tensor) and preds.ndim == 2 else 1
