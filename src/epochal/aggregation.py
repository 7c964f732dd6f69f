"""Numbers that come in batches, as one: their sum, mean, extremes, all of them, or the mean and sum of the latest.

Sums are kept in float64: whole numbers are exact up to 2**53 in sum, and none is lost beside a large one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import WEIGHT, Metric, MetricOptions
from epochal.numeric import count, wide
from epochal.states import State

__all__ = ["CatMetric", "MaxMetric", "MeanMetric", "MinMetric", "RunningMean", "RunningSum", "SumMetric"]

STRATEGIES = ("error", "warn", "ignore", "disable")
LOOKED_FOR = ("error", "warn")


class Aggregator(Metric):
    """Base of the aggregations: what they take, and what they do about NaN.

    ``update(value)``: a number, a tensor of any shape, or a list; no number at all is fine.

    Args:
        nan_strategy: "error" refuses a batch with NaN, "warn" leaves NaN out and says so, "ignore" leaves it out, "disable" lets it
            through to the result, a number takes its place. Found in ``update`` on the CPU; compiled or on an accelerator, in
            ``compute``.

    Raises:
        TypeError: ``value`` is complex, or no number.
        ValueError: for an unknown ``nan_strategy``; with "error", for NaN.
    """

    is_differentiable = True

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        if isinstance(nan_strategy, str):
            check.choice(self, "nan_strategy", nan_strategy, STRATEGIES)
        else:
            check.number(self, "nan_strategy", nan_strategy, -torch.inf)
        self.nan_strategy = nan_strategy
        if nan_strategy in LOOKED_FOR:
            self.add_state("nans", torch.tensor(0), dist_reduce_fx="sum")  # those that nobody has looked at yet

    def number(self, name: str, value: Any) -> Tensor:
        """What came, as a tensor of real numbers."""
        if isinstance(value, bool | int | float):
            return torch.full((), value, dtype=torch.float64, device=self.device)  # a copy from the host would wait
        try:
            number = value if isinstance(value, Tensor) else torch.as_tensor(value, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            came = f"{name} is a {type(value).__name__}"
            raise TypeError(check.message(self, came, "a number, a tensor or a list of numbers is needed")) from None
        if number.is_complex():
            check.real(self, **{name: number})
        return number

    def reduced(self, reduce: Callable[[Tensor], Tensor], value: Tensor, neutral: float) -> tuple[Tensor, Tensor | int]:
        """``reduce(value)`` with NaN as the strategy says, ``neutral`` for what is left out, and how many are left out."""
        if self.nan_strategy == "disable":
            return reduce(value), 0
        if check.reads_values(self.device):
            result = reduce(value)
            if not math.isnan(result.item()):  # NaN would be seen in it
                return result, 0
        cleaned, left_out = self.clean(value, neutral)
        return reduce(cleaned), left_out

    def clean(self, value: Tensor, neutral: float) -> tuple[Tensor, Tensor | int]:
        """Without NaN, or with it, as the strategy says; and how many are left out: ``neutral`` is in their place."""
        if self.nan_strategy == "disable":
            return value, 0
        value, nan = wide(value), value.isnan()
        if not isinstance(self.nan_strategy, str):
            return torch.where(nan, float(self.nan_strategy), value), 0
        return torch.where(nan, neutral, value), 0 if check.are_vetted() else nan.sum()

    def reported(self, left_out: Tensor | int) -> State:
        """The field of the state that counts NaN, of which nothing is kept where it can be looked at now."""
        if self.nan_strategy not in LOOKED_FOR:
            return {}
        if isinstance(left_out, Tensor) and check.reads_values(self.device):
            self.verify({"nans": left_out})
            left_out = 0
        return {"nans": left_out}

    def verify(self, state: State) -> None:
        nans = state.get("nans", 0)
        count = int(nans.sum() if isinstance(nans, Tensor) else nans)
        if count and self.nan_strategy == "error":
            check.fail(
                self,
                f"{count} of the values are NaN",
                "numbers are needed",
                "Look for a division by zero or a log of 0, or pass nan_strategy='ignore'.",
            )
        if count:
            text = check.message(self, f"{count} of the values are NaN", "NaN has no place in the result: they are left out")
            warnings.warn(f"{text} Pass nan_strategy='ignore' to leave them out silently.", stacklevel=2)

    def derive(self, nans: Tensor | None = None, **state: Any) -> dict[str, Any]:  # noqa: ARG002  # no part of any value
        return state


class SumMetric(Aggregator):
    r"""Sum of all values.

    .. math:: \sum_i x_i

    ``update(value)`` and arguments as in :class:`Aggregator`. ``compute()``: a scalar; 0 of nothing.

    >>> metric = SumMetric()
    >>> metric.update(1.0)
    >>> metric.update(torch.tensor([2, 3]))
    >>> metric.compute()
    tensor(6.)
    """

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("sum_value", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def measure(self, value: Any) -> State:
        total, left_out = self.reduced(_sum, self.number("value", value), 0.0)
        return {"sum_value": total, **self.reported(left_out)}

    def value(self, sum_value: Tensor) -> Tensor:
        return sum_value


class MeanMetric(Aggregator):
    r"""Mean of all values, weighted.

    .. math:: \frac{\sum_i w_i x_i}{\sum_i w_i}

    ``update(value, weight=None)``: ``value`` as in :class:`Aggregator`; ``weight`` a number for all, or numbers that broadcast to
    the shape of ``value``, 1 by default. A value whose weight is NaN is left out like NaN; a number that takes the place of NaN
    has the weight of that, and a NaN weight is 1 then. ``compute()``: a scalar; NaN of nothing.

    >>> metric = MeanMetric()
    >>> metric.update(torch.tensor([1.0, 2.0]))
    >>> metric.update(5.0, weight=2.0)
    >>> metric.compute()
    tensor(3.2500)
    """

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("mean_value", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def measure(self, value: Any, weight: Any = None) -> State:
        value = self.number("value", value)
        if weight is None:
            total, left_out = self.reduced(_sum, value, 0.0)
            return {"mean_value": total, "weight": count(value.numel(), value) - left_out, **self.reported(left_out)}
        weight, value = self.number("weight", weight), wide(value)
        if weight.shape != value.shape:
            weight = self._spread(weight, value)
        if check.reads_values(self.device):
            total = (value * weight).sum()
            if not math.isnan(total.item()):
                return {"mean_value": total, "weight": _sum(weight), **self.reported(0)}
        return self._cleaned(value, wide(weight))

    def _cleaned(self, value: Tensor, weight: Tensor) -> State:
        if not isinstance(self.nan_strategy, str):
            weight = torch.where(weight.isnan(), 1.0, weight)
        elif self.nan_strategy != "disable":
            value = torch.where(weight.isnan(), torch.nan, value)
            weight = torch.where(value.isnan(), 0.0, weight)
        value, left_out = self.clean(value, 0.0)
        return {"mean_value": (value * weight).sum(), "weight": weight.sum(), **self.reported(left_out)}

    def _spread(self, weight: Tensor, value: Tensor) -> Tensor:
        try:
            return weight.expand(value.shape)
        except RuntimeError:
            came = f"weight has shape {check.shape(weight)}"
            check.fail(
                self, came, f"one that broadcasts to value's {check.shape(value)} is needed", "Pass one weight for each value."
            )

    def value(self, mean_value: Tensor, weight: Tensor) -> Tensor:
        return mean_value / weight


class MaxMetric(Aggregator):
    r"""The greatest of all values.

    .. math:: \max_i x_i

    ``update(value)`` and arguments as in :class:`Aggregator`. ``compute()``: a scalar; minus infinity of nothing.

    >>> metric = MaxMetric()
    >>> metric(torch.tensor([1.0, 3.0])), metric(2.0), metric.compute()
    (tensor(3.), tensor(2.), tensor(3.))
    """

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("max_value", torch.tensor(-torch.inf, dtype=torch.float64), dist_reduce_fx="max")

    def measure(self, value: Any) -> State:
        greatest, left_out = self.reduced(_greatest, self.number("value", value), -torch.inf)
        return {"max_value": greatest, **self.reported(left_out)}

    def value(self, max_value: Tensor) -> Tensor:
        return max_value


class MinMetric(Aggregator):
    r"""The least of all values.

    .. math:: \min_i x_i

    ``update(value)`` and arguments as in :class:`Aggregator`. ``compute()``: a scalar; infinity of nothing.

    >>> metric = MinMetric()
    >>> metric(torch.tensor([1.0, 3.0])), metric(2.0), metric.compute()
    (tensor(1.), tensor(2.), tensor(1.))
    """

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("min_value", torch.tensor(torch.inf, dtype=torch.float64), dist_reduce_fx="min")

    def measure(self, value: Any) -> State:
        least, left_out = self.reduced(_least, self.number("value", value), torch.inf)
        return {"min_value": least, **self.reported(left_out)}

    def value(self, min_value: Tensor) -> Tensor:
        return min_value


class CatMetric(Aggregator):
    """All values, one behind the other: of a process in the order of its updates, of several in the order of their ranks.

    ``update(value)``: as in :class:`Aggregator`; tensors of two or more dimensions must agree in all but the first, and of them NaN
    leaves a whole row out. ``compute()``: ``(N,)`` or ``(N, ...)``; empty of nothing.

    >>> metric = CatMetric()
    >>> metric.update(torch.tensor([1.0, 2.0]))
    >>> metric.update(3.0)
    >>> metric.compute()
    tensor([1., 2., 3.])
    """

    order_matters: ClassVar[bool] = True

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("values", [], dist_reduce_fx="cat")  # NaN stays among them: to drop it here would wait for the device

    def measure(self, value: Any) -> State:
        number = self.number("value", value)
        number = number if number.is_floating_point() else wide(number)
        rows = number if number.ndim else number.reshape(1)
        cleaned, left_out = self.clean(rows, torch.nan)
        return {"values": cleaned.to(rows.dtype), **self.reported(left_out)}

    def value(self, values: Tensor) -> Tensor:
        if self.nan_strategy == "disable":
            return values
        return values[~values.isnan().flatten(1).any(1)] if values.ndim > 1 else values[~values.isnan()]


class Window(Aggregator):
    """The latest ``window`` updates: each field of the state has a row for each of them, the newest at the end.

    Merged over time, the later push the earlier out. Merged over processes, the newest updates of all are one, and so on backwards:
    the window over all processes is that of the latest ``window`` steps.
    """

    order_matters: ClassVar[bool] = True
    uncompiled = "compiled, each length of a window that is not yet full makes a graph of its own"

    def __init__(self, window: int = 5, nan_strategy: str | float = "warn", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(nan_strategy, **kwargs)
        check.whole(self, "window", window, 1)
        self.window = window
        for name, field in self.metric_state.items():
            self.add_state(name, field.new_zeros(0), dist_reduce_fx="sum")

    def in_row(self, batch: State) -> State:
        """The statistic of one update as a row."""
        return {name: torch.as_tensor(field, device=self.device).reshape(1) for name, field in batch.items()}

    def merge(self, a: State, b: State) -> State:
        return {name: torch.cat([a[name], b[name]])[-self.window :] for name in self.metric_state}

    def unmerge(self, whole: State, part: State) -> State:
        newer = min(whole[WEIGHT] - part[WEIGHT], self.window)
        return {name: whole[name][len(whole[name]) - newer :] for name in self.metric_state}

    def merge_ranks(self, states: Sequence[State]) -> State:
        def aligned(name: str) -> Tensor:
            fields = [state[name] for state in states]
            longest = max(len(field) for field in fields)
            return torch.stack([torch.nn.functional.pad(field, (longest - len(field), 0)) for field in fields]).sum(0)

        return {name: aligned(name) for name in self.metric_state}

    def derive(self, nans: Tensor | None = None, **state: Any) -> dict[str, Any]:  # noqa: ARG002
        return {name: field.sum() for name, field in state.items()}


class RunningMean(Window, MeanMetric):
    """:class:`MeanMetric` of the latest updates.

    ``update(value, weight=None)``: as there; ``forward`` returns the mean of the batch, ``compute`` that of the latest ``window``
    batches, or of all as long as there are fewer; over processes, see :class:`Window`.

    >>> metric = RunningMean(window=2)
    >>> [(metric(x), metric.compute()) for x in (1.0, 2.0, 6.0)]
    [(tensor(1.), tensor(1.)), (tensor(2.), tensor(1.5000)), (tensor(6.), tensor(4.))]
    """

    def measure(self, value: Any, weight: Any = None) -> State:
        return self.in_row(super().measure(value, weight))


class RunningSum(Window, SumMetric):
    """:class:`SumMetric` of the latest updates.

    ``update(value)``: as there; ``forward`` returns the sum of the batch, ``compute`` that of the latest ``window``
    batches, or of all as long as there are fewer; over processes, see :class:`Window`.

    >>> metric = RunningSum(window=2)
    >>> [(metric(x), metric.compute()) for x in (1.0, 2.0, 6.0)]
    [(tensor(1.), tensor(1.)), (tensor(2.), tensor(3.)), (tensor(6.), tensor(8.))]
    """

    def measure(self, value: Any) -> State:
        return self.in_row(super().measure(value))


def _sum(x: Tensor) -> Tensor:
    return x.sum(dtype=torch.float32 if x.is_mps else torch.float64)


def _greatest(x: Tensor) -> Tensor:
    return wide(x.amax()) if x.numel() else x.new_full((), -torch.inf, dtype=torch.float64)


def _least(x: Tensor) -> Tensor:
    return wide(x.amin()) if x.numel() else x.new_full((), torch.inf, dtype=torch.float64)
