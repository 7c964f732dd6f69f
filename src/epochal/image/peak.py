"""Errors of pixels beside the range of their values."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.image.ranges import Ranged, positive
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import count, difference, portions, signed, wide


class PeakSignalNoiseRatio(Ranged):
    r"""Peak signal-to-noise ratio: the squared range of the data over the mean squared error, in decibels.

    .. math:: 10 \log_b \frac{L^2}{\frac1N \sum_i (\hat y_i - y_i)^2}

    ``update(preds, target)``: numbers of one shape ``(N, ...)``; NaN gives NaN. ``compute()``: a scalar in dB (for base 10), of
    all values at once; with ``dim`` the mean or sum of the ratios of the slices, or ``(N, ...)`` ratios. Infinity where both
    are equal, NaN without data.

    Args:
        data_range: L as a number; (low, high), to which values are clamped; None: from the least to the highest target of all.
        base: b, of the logarithm.
        reduction: over slices, where ``dim`` is given: "elementwise_mean", "sum" or "none".
        dim: the dimensions that a slice extends over, without the first, which is that of the samples.

    Source: Q. Huynh-Thu and M. Ghanbari, Scope of validity of PSNR in image/video quality assessment, 2008.

    >>> metric = PeakSignalNoiseRatio(data_range=3.0)
    >>> metric(torch.tensor([[0.0, 1], [2, 3]]), torch.tensor([[3.0, 2], [1, 0]]))
    tensor(2.5527)
    """

    def __init__(
        self,
        data_range: float | tuple[float, float] | None = None,
        base: float = 10.0,
        reduction: str | None = "elementwise_mean",
        dim: int | tuple[int, ...] | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(data_range, reduction, **kwargs)
        positive(self, "base", base)
        if base == 1:
            check.fail(self, f"base is {base!r}", "that of a logarithm is needed", "Pass base=10.0.")
        over = dim if isinstance(dim, list | tuple) else () if dim is None else (dim,)
        if not all(isinstance(number, int) for number in over):
            raise TypeError(check.message(self, f"dim is {dim!r}", "the number of a dimension, or several, are needed"))
        self.base, self.dim = base, None if dim is None else tuple(over)
        if self.data_range is None:
            self.add_state("low", torch.tensor(math.inf, dtype=torch.float64), dist_reduce_fx="min")
            self.add_state("high", torch.tensor(-math.inf, dtype=torch.float64), dist_reduce_fx="max")
        if self.dim is not None and self.reduction == "none":
            self.add_state("errors", [], dist_reduce_fx="cat")
        else:
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
            self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.data_range, self.bounds, self.dim, self.dim is not None and self.reduction == "none"

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The sum of squared errors, or of the logarithms of slices' means; or these means. And the extremes of target."""
        check.pair(self, preds, target)
        state: State = {}
        if self.data_range is None:
            empty = () if target.numel() else (self.slots[name].identity() for name in ("low", "high"))
            state = dict(zip(("low", "high"), empty or map(wide, signed(target.detach()).aminmax()), strict=True))
        if self.dim is None:
            pairs = zip(*(portions(x.reshape(-1)) for x in (preds, target)), strict=True)
            errors = (difference(*self.bounded(*pair)) for pair in pairs)
            return {**state, "total": sum(error @ error for error in errors), "count": count(preds.numel(), preds)}
        means = difference(*self.bounded(preds, target)).square().mean(self._over(preds.ndim))
        if self.reduction == "none":
            return {**state, "errors": means}
        return {**state, "total": means.log().sum(), "count": count(means.numel(), means)}

    def _over(self, ndim: int) -> tuple[int, ...]:
        """The dimensions of a slice, from 1 on."""
        assert self.dim is not None
        over = tuple(dim + ndim if dim < 0 else dim for dim in self.dim)
        if not over or min(over) < 1 or max(over) >= ndim or len(set(over)) < len(over):
            needed = f"dimensions from 1 to {ndim - 1} are needed" if ndim > 1 else "samples with a dimension are needed"
            fix = "Dimension 0 is that of the samples; dim=None takes all values as one."
            check.fail(self, f"dim is {self.dim} and preds has {ndim} dimensions", needed, fix)
        return over

    def value(self, low: Any = None, high: Any = None, **state: Any) -> Tensor:
        peak = 2 * (math.log(self.data_range) if self.data_range is not None else (high - low).log())
        decibels = 10 / math.log(self.base)
        if "errors" in state:
            ratios: Tensor = decibels * (peak - state["errors"].log())
            return ratios
        total, n = state["total"], state["count"]
        if self.dim is None:
            ratio: Tensor = decibels * (peak - (total / n).log())
        else:
            ratio = decibels * (peak - total / n) * (n if self.reduction == "sum" else 1)
        return ratio


def peak_signal_noise_ratio(
    preds: Tensor,
    target: Tensor,
    data_range: float | tuple[float, float] | None = None,
    base: float = 10.0,
    reduction: str | None = "elementwise_mean",
    dim: int | tuple[int, ...] | None = None,
) -> Tensor:
    """Functional form of :class:`PeakSignalNoiseRatio`."""
    return fixed(PeakSignalNoiseRatio, hashed(data_range), base, reduction, hashed(dim)).of(preds, target)


def hashed(argument: Any) -> Any:
    """A list as a tuple, which a key can hold."""
    return tuple(argument) if isinstance(argument, list) else argument
