"""Formulas of metrics: ``2 * precision * recall / (precision + recall)`` is a metric.

:mod:`epochal.operators` maps Python's operators to :class:`CompositionalMetric`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from epochal import check
from epochal.metric import Metric, all_or_none, keywords
from epochal.sharing import Together, Values
from epochal.states import place

__all__ = ["CompositionalMetric"]


class CompositionalMetric(Metric, composite=True):
    """An operator applied to the values of its operands: metrics, formulas, numbers, tensors.

    .. math:: f(a, b), \\text{ or } f(a) \\text{ where } b \\text{ is None}

    ``update`` and ``forward`` take what the metrics take: each metric takes a batch once however often it appears, and the keyword
    arguments that its signature has. If one fails, all are as they were. ``compute()``: the operator of their values.

    The metrics are not copied: what is done to one of them is seen in the formula.

    >>> from epochal.aggregation import MaxMetric, MinMetric
    >>> spread = MaxMetric() - MinMetric()
    >>> spread.update(torch.tensor([3.0, 8.0]))
    >>> spread(torch.tensor([1.0, 2.0])), spread.compute()
    (tensor(1.), tensor(7.))

    Args:
        operator: a function of one or two values; of the module ``operator`` or of torch where the formula is pickled.
        metric_a, metric_b: metrics, numbers, tensors, or for indexing anything that indexes a tensor.
    """

    _together: Together | None

    def __init__(self, operator: Callable[..., Any], metric_a: Any, metric_b: Any = None) -> None:
        super().__init__()
        if not callable(operator):
            raise TypeError(check.message(self, f"operator is {operator!r}", "a function of one or two values is needed"))
        if not any(isinstance(operand, Metric) for operand in (metric_a, metric_b)):
            came = f"the operands are {type(metric_a).__name__} and {type(metric_b).__name__}"
            raise TypeError(check.message(self, came, "at least one Metric is needed"))
        self.operator, self._together = operator, None
        for name, operand in (("metric_a", metric_a), ("metric_b", metric_b)):
            if isinstance(operand, Tensor):  # not a buffer: DDP would broadcast it
                operand = operand.detach()
            setattr(self, name, operand)

    @property
    def operands(self) -> tuple[Any, ...]:
        """One or two: metrics, and whatever else the operator takes."""
        return tuple(operand for operand in (self.metric_a, self.metric_b) if operand is not None)

    @property
    def plot_title(self) -> str:  # type: ignore[override]  # a constant of other classes
        """The formula with the names of its metrics."""

        def name(operand: Any) -> str:
            if isinstance(operand, CompositionalMetric):
                return operand.plot_title
            return type(operand).__name__ if isinstance(operand, Metric) else str(operand)

        return f"{getattr(self.operator, '__name__', self.operator)}({', '.join(name(operand) for operand in self.operands)})"

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that the formula is made of, each once: formulas in it are taken apart."""
        found: dict[int, Metric] = {}
        for operand in self.operands:
            if isinstance(operand, Metric):
                parts = operand.metrics if isinstance(operand, CompositionalMetric) else [operand]
                found.update((id(metric), metric) for metric in parts)
        return list(found.values())

    def evaluated(self, values: Values) -> Any:
        """The formula of the values of its :attr:`metrics`; None where one of them has none."""

        def known(operand: Any) -> Any:
            if isinstance(operand, CompositionalMetric):
                return operand.evaluated(values)
            return values[id(operand)] if isinstance(operand, Metric) else operand

        operands = [known(operand) for operand in self.operands]
        if any(operand is None for operand in operands):
            return None
        value = self.operator(*operands)
        if isinstance(value, Tensor) and not torch.compiler.is_compiling():
            value = value.clone()  # a view of an operand's value would be two metrics' value at once
        return self._remember(value)

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def _all(self) -> Together:
        metrics, plan = self.metrics, self._together
        if plan is None or not plan.fits(metrics):
            plan = self.__dict__["_together"] = Together(self, metrics)
        return plan

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._all().update(args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.evaluated(self._all().forward(args, kwargs))

    def of(self, *args: Any, **kwargs: Any) -> Any:
        return self.evaluated(self._all().of(args, kwargs))

    def compute(self) -> Any:
        return self.evaluated(self._all().compute())

    def peek(self) -> Any:
        return self.evaluated({id(metric): metric.peek() for metric in self.metrics})

    def batch_value(self) -> Any:
        return self.evaluated({id(metric): metric.batch_value() for metric in self.metrics})

    def reset(self) -> None:
        super().reset()
        for metric in self.metrics:
            metric.reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the metrics of another formula of the same shape into the metrics of this one."""
        other = incoming_state.metrics if isinstance(incoming_state, CompositionalMetric) else []
        mine = self.metrics
        if len(other) != len(mine):
            check.fail(self, f"merge_state got {incoming_state!r}", f"a formula like {self!r} is needed")
        with all_or_none(mine):
            for metric, its in zip(mine, other, strict=True):
                metric.merge_state(its)

    # --- the life around it ------------------------------------------------------------------------------------------------

    def keywords(self) -> Collection[str] | None:
        return keywords(self.metrics)

    @property
    def update_count(self) -> int:
        return max(metric.update_count for metric in self.metrics)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name in ("metric_a", "metric_b"):
            if isinstance(operand := getattr(self, name), Tensor):
                setattr(self, name, place(operand, self.device))
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_together": None}

    def __repr__(self) -> str:
        operands = ", ".join(repr(operand) for operand in self.operands)
        return f"{type(self).__name__}({getattr(self.operator, '__name__', self.operator)}({operands}))"
