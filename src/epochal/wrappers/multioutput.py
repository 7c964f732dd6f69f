"""A metric for each output of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from epochal import check
from epochal.wrappers.base import Inner, Share, Wrapper, joined, look_like, metric_needed

__all__ = ["MultioutputWrapper"]


class MultioutputWrapper(Wrapper, composite=True):
    """A copy of a metric for each output: each takes its own slice of predictions and targets.

    ``update``: what the metric takes, where every tensor has ``num_outputs`` entries in dimension ``output_dim``; other arguments
    go to all. ``compute()``: the metrics' values, stacked: ``(num_outputs, ...)``; of a dictionary, its entries.

    Args:
        base_metric: a metric or a collection; it is copied.
        num_outputs: the number of outputs.
        output_dim: the dimension of the outputs.
        remove_nans: leave a sample out, of one output, where any of its tensors has NaN there; samples lie along the first
            dimension of a slice. On an accelerator this waits for the device.
        squeeze_outputs: take ``output_dim`` out of each slice; else it stays, with size 1.

    Raises:
        TypeError: no argument is a tensor.
        ValueError: a tensor has another number of outputs.

    >>> from epochal import MeanSquaredError
    >>> metric = MultioutputWrapper(MeanSquaredError(), num_outputs=2)
    >>> metric(torch.tensor([[1.0, 2.0], [3.0, torch.nan]]), torch.tensor([[1.0, 5.0], [5.0, 4.0]]))
    tensor([2., 9.])
    """

    def __init__(
        self, base_metric: Inner, num_outputs: int, output_dim: int = -1, remove_nans: bool = True, squeeze_outputs: bool = True
    ) -> None:
        super().__init__()
        metric_needed(self, "base_metric", base_metric)
        check.whole(self, "num_outputs", num_outputs, 1)
        check.whole(self, "output_dim", output_dim, -100)
        self.num_outputs, self.output_dim = num_outputs, output_dim
        self.remove_nans, self.squeeze_outputs = remove_nans, squeeze_outputs
        self.uncompiled = "how many samples have no NaN is a value of the data; remove_nans=False compiles" if remove_nans else ""
        self.hold(metrics=nn.ModuleList(base_metric.clone() for _ in range(num_outputs)))
        self.is_differentiable = getattr(base_metric, "is_differentiable", None)
        look_like(self, base_metric)
        self.plot_legend_name, self.plot_labels = "Output", None

    @property
    def inner(self) -> Sequence[Inner]:
        return list(self.metrics)  # type: ignore[arg-type]

    def shares(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Share]:
        named = {**{f"argument {i + 1}": value for i, value in enumerate(args)}, **kwargs}
        found = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        if not found:
            came = next((f"{name} is a {type(value).__name__}" for name, value in named.items()), "update was called with ()")
            raise TypeError(check.message(self, came, "a tensor with the outputs is needed"))
        for name, value in found.items():
            self._check(name, value)
        return [self._share(output, found, args, kwargs) for output in range(self.num_outputs)]

    def _check(self, name: str, value: Tensor) -> None:
        dim = self.output_dim
        if not -value.ndim <= dim < value.ndim or value.shape[dim] != self.num_outputs:
            came = f"{name} has shape {check.shape(value)}"
            check.fail(self, came, f"{self.num_outputs} outputs in dimension {dim} are needed", "See num_outputs and output_dim.")

    def _share(self, output: int, found: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Share:
        slices = {name: value.select(self.output_dim, output) for name, value in found.items()}
        if self.remove_nans:
            slices = without_nan(slices)
        if not self.squeeze_outputs:
            dims = {name: self.output_dim % found[name].ndim for name in slices}
            slices = {name: value.unsqueeze(dims[name]) for name, value in slices.items()}
        mine = [slices.get(f"argument {i + 1}", value) for i, value in enumerate(args)]
        return mine, {name: slices.get(name, value) for name, value in kwargs.items()}

    def result(self, values: Sequence[Any], **_: Any) -> Any:
        return joined(values)


def without_nan(slices: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The samples, rows of all tensors, in which no tensor has NaN."""
    marked = [value.isnan().flatten(1).any(1) if value.ndim > 1 else value.isnan() for value in slices.values() if value.ndim]
    if len({len(nan) for nan in marked}) != 1:  # not of one length: an error that the metric words best
        return dict(slices)
    keep = ~torch.stack(marked).any(0)
    return {name: value[keep] if value.ndim else value for name, value in slices.items()}
