"""The range of the data, which errors and constants are measured against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric
from epochal.numeric import wide

REDUCTIONS = ("elementwise_mean", "sum", "none", None)


class Ranged(Metric):
    """Base of metrics of pairs of images that depend on the range of their values.

    Args:
        data_range: the range as a number; (low, high), to which values are clamped; None: the range of all the data, which is known
            once all are.
        reduction: over images: "elementwise_mean", "sum", or "none" for a value of each.
    """

    is_differentiable = True
    higher_is_better = True
    plot_legend_name = "Image"

    def __init__(self, data_range: float | tuple[float, float] | None, reduction: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check.choice(self, "reduction", reduction, REDUCTIONS)
        self.reduction = "none" if reduction is None else reduction
        self.bounds: tuple[float, float] | None = None
        if isinstance(data_range, Sequence) and not isinstance(data_range, str):
            self.bounds = self._bounds(data_range)
            self.data_range: float | None = self.bounds[1] - self.bounds[0]
        else:
            if data_range is not None:
                positive(self, "data_range", data_range)
            self.data_range = data_range

    def _bounds(self, data_range: Sequence[Any]) -> tuple[float, float]:
        if len(data_range) == 2 and all(isinstance(end, int | float) for end in data_range) and data_range[0] < data_range[1]:
            return data_range[0], data_range[1]
        return check.fail(self, f"data_range is {data_range!r}", "a number, or (low, high), is needed")

    def scaled(self, *images: Tensor) -> list[Tensor]:
        """In the precision of sums, within the bounds."""
        return [wide(image) for image in self.bounded(*images)]

    def bounded(self, *images: Tensor) -> list[Tensor]:
        """Within the bounds; where there are none, as they are."""
        if self.bounds is None:
            return list(images)
        floats = (image if image.dtype == torch.float32 else wide(image) for image in images)
        return [image.clamp(*self.bounds) for image in floats]


def positive(metric: object, name: str, value: Any) -> None:
    """An argument is a number above 0, and finite."""
    check.number(metric, name, value, 0)
    if value == 0 or math.isinf(value):
        check.fail(metric, f"{name} is {value!r}", "a finite number above 0 is needed")
