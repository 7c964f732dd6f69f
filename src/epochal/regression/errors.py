"""Means of errors: each has a sum over the samples of its own, and all have their number."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State, fixed
from epochal.numeric import count, difference, portions


class MeanError(Metric):
    """Base of means over samples: a subclass says what a batch adds to the sum (:meth:`summed`).

    ``update(preds, target)``: numbers of one shape ``(N, ...)``, or ``(N, num_outputs)`` for a mean of each output.

    Raises:
        ValueError: shapes that differ, or are not ``(N, num_outputs)``.
    """

    is_differentiable = True
    higher_is_better = False
    plot_lower_bound = 0.0
    plot_legend_name = "Output"

    def __init__(self, num_outputs: int = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.whole(self, "num_outputs", num_outputs, 1)
        self.num_outputs = num_outputs
        shape = (num_outputs,) if num_outputs > 1 else ()
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return type(self).summed, self.num_outputs

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The sum of errors, and their number."""
        check.pair(self, preds, target)
        if self.num_outputs == 1:
            if preds.ndim != 1:
                preds, target = preds.reshape(-1), target.reshape(-1)
        elif preds.ndim != 2 or preds.shape[1] != self.num_outputs:
            came = f"preds has shape {check.shape(preds)}"
            check.fail(self, came, f"num_outputs is {self.num_outputs}", "Pass preds and target as (N, num_outputs).")
        sums = [self.summed(*part) for part in zip(portions(preds), portions(target), strict=True)]
        return {"total": sum(sums[1:], sums[0]), "count": count(preds.shape[0], preds)}

    def summed(self, preds: Tensor, target: Tensor) -> Tensor:
        """The errors of numbers ``(N,)`` or ``(N, num_outputs)``, in the precision of sums, summed over N."""
        raise NotImplementedError(check.message(self, "summed is not defined", "the mean of an error defines it"))

    def value(self, total: Tensor, count: Tensor) -> Tensor:
        return total / count


class MeanSquaredError(MeanError):
    r"""Mean of squared differences; its root with ``squared=False``.

    .. math:: \frac{1}{N} \sum_i (\hat y_i - y_i)^2

    ``update(preds, target)``: numbers of one shape ``(N, ...)``, or ``(N, num_outputs)``, in any unit u; NaN gives NaN.
    ``compute()``: a scalar, or ``(num_outputs,)``, in u² (u for the root); NaN without data.

    >>> metric = MeanSquaredError()
    >>> metric(torch.tensor([2.5, 0.0]), torch.tensor([3.0, -0.5]))
    tensor(0.2500)
    """

    def __init__(self, squared: bool = True, num_outputs: int = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(num_outputs, **kwargs)
        self.squared = squared

    def summed(self, preds: Tensor, target: Tensor) -> Tensor:
        error = difference(preds, target)
        return error @ error if error.ndim == 1 else error.square().sum(0)

    def value(self, total: Tensor, count: Tensor) -> Tensor:
        mean = total / count
        return mean if self.squared else mean.sqrt()


def mean_squared_error(preds: Tensor, target: Tensor, squared: bool = True, num_outputs: int = 1) -> Tensor:
    """Functional form of :class:`MeanSquaredError`."""
    return fixed(MeanSquaredError, squared, num_outputs).of(preds, target)


class MeanAbsoluteError(MeanError):
    r"""Mean of absolute differences.

    .. math:: \frac{1}{N} \sum_i |\hat y_i - y_i|

    ``update(preds, target)``: numbers of one shape ``(N, ...)``, or ``(N, num_outputs)``, in any unit u; NaN gives NaN.
    ``compute()``: a scalar, or ``(num_outputs,)``, in u; NaN without data.

    >>> metric = MeanAbsoluteError()
    >>> metric(torch.tensor([2.5, 0.0]), torch.tensor([3.0, -0.5]))
    tensor(0.5000)
    """

    def summed(self, preds: Tensor, target: Tensor) -> Tensor:
        return difference(preds, target).abs().sum(0)


def mean_absolute_error(preds: Tensor, target: Tensor, num_outputs: int = 1) -> Tensor:
    """Functional form of :class:`MeanAbsoluteError`."""
    return fixed(MeanAbsoluteError, num_outputs).of(preds, target)
