"""Python's operators on metrics: each builds a formula that is itself a metric (:mod:`epochal.arithmetic`)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from epochal.arithmetic import CompositionalMetric


def _formula(function: Callable[..., Any], a: Any, b: Any = None) -> CompositionalMetric:
    from epochal.arithmetic import CompositionalMetric  # it is a Metric, which is built on this module

    return CompositionalMetric(function, a, b)


def _swapped(function: Callable[..., Any]) -> Callable[[Any, Any], CompositionalMetric]:
    return lambda self, other: _formula(function, other, self)


def _direct(function: Callable[..., Any]) -> Callable[[Any, Any], CompositionalMetric]:
    return lambda self, other: _formula(function, self, other)


def _unary(function: Callable[..., Any]) -> Callable[[Any], CompositionalMetric]:
    return lambda self: _formula(function, self)


class Operators:
    """``a + b``, ``2 * a``, ``a[0]``, ``-a``, ``a > 0.5`` on metrics, numbers and tensors."""

    __add__, __radd__ = _direct(operator.add), _swapped(operator.add)
    __sub__, __rsub__ = _direct(operator.sub), _swapped(operator.sub)
    __mul__, __rmul__ = _direct(operator.mul), _swapped(operator.mul)
    __truediv__, __rtruediv__ = _direct(operator.truediv), _swapped(operator.truediv)
    __floordiv__, __rfloordiv__ = _direct(operator.floordiv), _swapped(operator.floordiv)
    __mod__, __rmod__ = _direct(operator.mod), _swapped(operator.mod)
    __pow__, __rpow__ = _direct(operator.pow), _swapped(operator.pow)
    __matmul__, __rmatmul__ = _direct(operator.matmul), _swapped(operator.matmul)
    __and__, __rand__ = _direct(operator.and_), _swapped(operator.and_)
    __or__, __ror__ = _direct(operator.or_), _swapped(operator.or_)
    __xor__, __rxor__ = _direct(operator.xor), _swapped(operator.xor)
    __lshift__, __rlshift__ = _direct(operator.lshift), _swapped(operator.lshift)
    __rshift__, __rrshift__ = _direct(operator.rshift), _swapped(operator.rshift)
    __lt__, __le__ = _direct(operator.lt), _direct(operator.le)
    __gt__, __ge__ = _direct(operator.gt), _direct(operator.ge)
    __eq__, __ne__ = _direct(operator.eq), _direct(operator.ne)  # type: ignore[assignment]  # a formula, as tensors do
    __abs__, __neg__, __pos__ = _unary(torch.abs), _unary(operator.neg), _unary(operator.pos)
    __invert__ = _unary(operator.invert)
    __getitem__ = _direct(operator.getitem)
    __iter__ = None  # indexing alone would make every metric an endless sequence
    __hash__ = object.__hash__
