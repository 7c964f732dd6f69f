"""Metrics that see their input changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions
from epochal.numeric import signed
from epochal.wrappers.base import Inner, Share, Wrapper, members, metric_needed

__all__ = ["BinaryTargetTransformer", "LambdaInputTransformer", "MetricInputTransformer"]


class MetricInputTransformer(Wrapper, composite=True):
    """Base of the metrics that change predictions or targets on their way into a metric: override what is to change.

    ``update``: what the metric takes; its first argument passes through ``transform_pred``, its second through
    ``transform_target``, by place or by name; others stay as they are. ``compute()``: the metric's value.

    Args:
        wrapped_metric: a metric, or a collection.

    >>> from epochal import MeanSquaredError
    >>> class Rounded(MetricInputTransformer):
    ...     def transform_pred(self, pred):
    ...         return pred.round()
    >>> Rounded(MeanSquaredError())(torch.tensor([1.2, 2.9]), torch.tensor([1, 2]))
    tensor(0.5000)
    """

    wrapped_metric: Inner

    def __init__(self, wrapped_metric: Inner, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        metric_needed(self, "wrapped_metric", wrapped_metric)
        self.hold(wrapped_metric=wrapped_metric)

    @property
    def inner(self) -> Sequence[Inner]:
        return [self.wrapped_metric]

    def plot(self, val: Any = None, ax: Any = None, **options: Any) -> Any:
        """Draw a value as the metric does, with its options."""
        return self.wrapped_metric.plot(self.compute() if val is None else val, ax, **options)

    def transform_pred(self, pred: Any) -> Any:
        """What the metric gets in the place of its first argument."""
        return pred

    def transform_target(self, target: Any) -> Any:
        """What the metric gets in the place of its second argument."""
        return target

    def shares(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Share]:
        transforms = (self.transform_pred, self.transform_target)
        changed = [transforms[i](value) if i < 2 else value for i, value in enumerate(args)]
        named = dict(kwargs)
        for metric in members(self.wrapped_metric):
            names = metric.keywords() or ("preds", "target")
            named.update({name: change(kwargs[name]) for name, change in zip(names, transforms, strict=False) if name in kwargs})
        return [(changed, named)]


class LambdaInputTransformer(MetricInputTransformer, composite=True):
    """A metric whose predictions or targets pass through functions.

    ``update`` and ``compute()``: as of :class:`MetricInputTransformer`.

    Args:
        wrapped_metric: a metric, or a collection.
        transform_pred, transform_target: a function of the first and of the second argument; None: it stays. Functions of a module
            where the metric is pickled.

    >>> from epochal import MeanSquaredError
    >>> LambdaInputTransformer(MeanSquaredError(), transform_pred=torch.exp)(torch.zeros(2), torch.tensor([1.0, 2.0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        wrapped_metric: Inner,
        transform_pred: Callable[[Any], Any] | None = None,
        transform_target: Callable[[Any], Any] | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(wrapped_metric, **kwargs)
        self.functions = {"transform_pred": transform_pred, "transform_target": transform_target}
        for name, function in self.functions.items():
            if function is not None and not callable(function):
                raise TypeError(check.message(self, f"{name} is {function!r}", "a function of one argument is needed"))

    def transform_pred(self, pred: Any) -> Any:
        function = self.functions["transform_pred"]
        return pred if function is None else function(pred)

    def transform_target(self, target: Any) -> Any:
        function = self.functions["transform_target"]
        return target if function is None else function(target)


class BinaryTargetTransformer(MetricInputTransformer, composite=True):
    r"""A metric whose target is 1 where it is greater than a threshold, else 0.

    .. math:: y_i \to [y_i > t]

    ``update``: what the metric takes; the second argument is a tensor of numbers. ``compute()``: the metric's value.

    Args:
        wrapped_metric: a metric, or a collection.
        threshold: t, in the unit of the target.

    >>> from epochal.classification import BinaryAccuracy
    >>> metric = BinaryTargetTransformer(BinaryAccuracy(), threshold=2)
    >>> metric(torch.tensor([0.9, 0.2, 0.7]), torch.tensor([5, 0, 2]))  # three stars and more are good
    tensor(0.6667)
    """

    def __init__(self, wrapped_metric: Inner, threshold: float = 0, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(wrapped_metric, **kwargs)
        check.number(self, "threshold", threshold, -float("inf"))
        self.threshold = threshold

    def transform_target(self, target: Any) -> Tensor:
        check.tensors(self, target=target)
        above = (signed(target) > self.threshold).to(target.dtype)
        return torch.where(target.isnan(), target, above) if target.is_floating_point() else above  # NaN is not below
