"""Squared differences."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State, fixed
from epochal.numeric import count, wide


class MeanSquaredError(Metric):
    r"""Mean of squared differences; its root with ``squared=False``.

    .. math:: \frac{1}{N} \sum_i (\hat y_i - y_i)^2

    ``update(preds, target)``: numbers of one shape ``(N, ...)``, or ``(N, num_outputs)``, in any unit u; NaN gives NaN.
    ``compute()``: a scalar, or ``(num_outputs,)``, in u² (u for the root); NaN without data.

    >>> metric = MeanSquaredError()
    >>> metric(torch.tensor([2.5, 0.0]), torch.tensor([3.0, -0.5]))
    tensor(0.2500)
    """

    is_differentiable = True
    higher_is_better = False
    plot_lower_bound = 0.0
    plot_legend_name = "Output"

    def __init__(self, squared: bool = True, num_outputs: int = 1, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.whole(self, "num_outputs", num_outputs, 1)
        self.squared, self.num_outputs = squared, num_outputs
        shape = (num_outputs,) if num_outputs > 1 else ()
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.num_outputs

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The sum of squared differences, and their number."""
        check.pair(self, preds, target)
        error = wide(preds) - wide(target)  # in float64: half precision and integers would overflow
        if self.num_outputs == 1:
            error = error.reshape(-1)
            return {"total": error @ error, "count": count(error.shape[0], error)}
        if error.ndim != 2 or error.shape[1] != self.num_outputs:
            came = f"preds has shape {check.shape(preds)}"
            check.fail(self, came, f"num_outputs is {self.num_outputs}", "Pass preds and target as (N, num_outputs).")
        return {"total": error.square().sum(0), "count": count(error.shape[0], error)}

    def value(self, total: Tensor, count: Tensor) -> Tensor:
        mean = total / count
        return mean if self.squared else mean.sqrt()


def mean_squared_error(preds: Tensor, target: Tensor, squared: bool = True, num_outputs: int = 1) -> Tensor:
    """Functional form of :class:`MeanSquaredError`."""
    return fixed(MeanSquaredError, squared, num_outputs).of(preds, target)
