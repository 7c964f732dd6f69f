"""A score for each signal, averaged over signals: the statistic is the sum of the scores and their number."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State
from epochal.numeric import count, wide


def signals(name: object, preds: Tensor, target: Tensor, zero_mean: bool = False) -> tuple[Tensor, Tensor]:
    """Pairs of signals ``(..., T)`` in float64, each less its mean where that is asked for."""
    check.pair(name, preds, target)
    check.floating(name, preds=preds, target=target)
    if preds.ndim < 1:
        check.fail(name, "preds is a scalar", "(..., T) is needed", "Pass the samples of a signal in the last dimension.")
    preds, target = wide(preds), wide(target)
    return (preds - preds.mean(-1, keepdim=True), target - target.mean(-1, keepdim=True)) if zero_mean else (preds, target)


def decibels(signal: Tensor, noise: Tensor) -> Tensor:
    """Of two powers: infinite where one of them is 0, NaN where both are."""
    return 10 * (signal.log10() - noise.log10())


class MeanOverSignals(Metric):
    """Base of scores of single signals; a subclass says which (:meth:`scores`).

    ``update(preds, target)``: floats of one shape ``(..., T)``, the samples of each signal in the last dimension. ``compute()``:
    the mean over all signals, a scalar; NaN without data.

    Raises:
        ValueError: shapes that differ. TypeError: no floats.
    """

    is_differentiable = True
    higher_is_better: bool | None = True

    def __init__(self, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The sum of the scores, and their number."""
        scores = self.scores(preds, target)
        return {"total": scores.sum(), "count": count(scores.numel(), scores)}

    def scores(self, preds: Tensor, target: Tensor) -> Tensor:
        """Of each signal."""
        raise NotImplementedError(check.message(self, "scores is not defined", "a score of signals defines it"))

    def value(self, total: Tensor, count: Tensor) -> Tensor:
        return total / count


class OfMeans(MeanOverSignals):
    """Base of scores that may take the mean out of each signal first.

    Args:
        zero_mean: whether the mean of each signal is taken out of it.
    """

    def __init__(self, zero_mean: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zero_mean = zero_mean

    def measured_by(self) -> Hashable:
        return type(self).scores, self.zero_mean


def each(metric: Any, preds: Tensor, target: Tensor) -> Tensor:
    """The scores of a metric as a function returns them: float32, or float64 of float64."""
    scores: Tensor = metric.scores(preds, target)
    return scores.to(torch.float64 if torch.float64 in (preds.dtype, target.dtype) else torch.float32)
