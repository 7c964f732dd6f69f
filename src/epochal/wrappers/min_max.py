"""The extremes of a value as data come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check, dist
from epochal.metric import Metric, MetricOptions, all_or_none
from epochal.results import mapped
from epochal.states import State
from epochal.wrappers.base import Inner, Wrapper, metric_needed, nested

__all__ = ["MinMaxMetric"]


class MinMaxMetric(Wrapper, composite=True):
    r"""A metric's value, and the least and the greatest value that it had after any update.

    With :math:`v_t` the value of the data of the first t updates,

    .. math:: \text{raw} = v_T, \qquad \text{min} = \min_{t \le T} v_t, \qquad \text{max} = \max_{t \le T} v_t

    ``update``: what the metric takes; its value is read after each. ``compute()``: a dictionary with "raw", "min" and "max", each
    of the form of the metric's value, element by element where it has several; NaN is no extreme. ``forward``: that of the batch
    alone, in which the three are one.

    Over processes, and by ``merge_state``, extremes are those of all the processes' own values, and of the value of all data.

    Args:
        base_metric: the metric.

    Raises:
        TypeError: the metric's value holds no tensors.

    >>> from epochal import MeanMetric
    >>> metric = MinMaxMetric(MeanMetric())
    >>> for x in (1.0, 3.0, -7.0):
    ...     metric.update(x)
    >>> metric.compute()
    {'raw': tensor(-1.), 'max': tensor(2.), 'min': tensor(-1.)}
    """

    order_matters: ClassVar[bool] = True
    base_metric: Metric

    def __init__(self, base_metric: Metric, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        metric_needed(self, "base_metric", base_metric, collection=False)
        self.hold(base_metric=base_metric)
        self.add_state("greatest", [])  # for each tensor of the value
        self.add_state("least", [])

    @property
    def inner(self) -> Sequence[Inner]:
        return [self.base_metric]

    def merge(self, a: State, b: State) -> State:
        return {
            "greatest": extremes(torch.fmax, a["greatest"], b["greatest"]),
            "least": extremes(torch.fmin, a["least"], b["least"]),
        }

    def unmerge(self, whole: State, part: State) -> State:  # noqa: ARG002  # an extreme counted twice is the same
        return {name: whole[name] for name in self.metric_state}

    def update(self, *args: Any, **kwargs: Any) -> None:
        with all_or_none([self]):
            super().update(*args, **kwargs)
            self._note()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with all_or_none([self]):
            value = super().forward(*args, **kwargs)
            self._note()
        return value

    def _note(self) -> None:
        if check.reads_values(self.base_metric.device):
            with dist.alone():  # of this process: an update waits for nobody
                value = self.base_metric.compute()
        else:
            value = self.base_metric.peek()  # nor for the device
        seen = list(nested(value))
        if not seen:
            came = f"the value of {type(self.base_metric).__name__} holds no tensor"
            raise TypeError(check.message(self, came, "one is needed"))
        self._adopt(self.merge(self._state(), {"greatest": seen, "least": seen}))

    def result(self, values: Sequence[Any], greatest: Sequence[Tensor] = (), least: Sequence[Tensor] = (), **_: Any) -> Any:
        raw, now = values[0], list(nested(values[0]))

        def like(found: Sequence[Tensor]) -> Any:
            rest = iter(found)
            return mapped(lambda value: next(rest).to(value.dtype, copy=True), raw)

        return {
            "raw": raw,
            "max": like(extremes(torch.fmax, greatest, now)),
            "min": like(extremes(torch.fmin, least, now)),
        }


def extremes(extreme: Any, a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    """Of two values' tensors, of which one may have none yet."""
    return [extreme(x, y) for x, y in zip(a, b, strict=True)] if a and b else [x.clone() for x in a or b]
