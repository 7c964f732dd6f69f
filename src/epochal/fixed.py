"""Functions: each builds a metric for a configuration once, and reads it (:meth:`epochal.metric.Metric.of`)."""

from __future__ import annotations

import contextlib
import functools
import typing
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from epochal import check

if TYPE_CHECKING:
    from epochal.metric import Metric


class ReadsTensor(Protocol):
    """A metric whose value is a tensor, as far as a function needs it."""

    def of(self, *args: Any, **kwargs: Any) -> Tensor:
        """The value of a batch."""


@functools.lru_cache(maxsize=512, typed=True)
def _fixed(cls: Any, *args: Hashable, **kwargs: Hashable) -> Any:
    return cls(*args, **kwargs)


def fixed(cls: type[Metric], *args: Hashable, **kwargs: Hashable) -> ReadsTensor:
    """A metric for :meth:`Metric.of`, which changes nothing: functions build one for each configuration, not for each call."""
    if is_dynamo_compiling():
        return typing.cast(ReadsTensor, getattr(_Known, _known(cls, *args, **kwargs)))
    with contextlib.suppress(TypeError):  # an argument without a hash, which the class may refuse in its own words
        return typing.cast(ReadsTensor, _fixed(typing.cast(Any, cls), *args, **kwargs))
    return typing.cast(ReadsTensor, cls(*args, **kwargs))


class _Known:
    """The metrics that functions in compiled code read, each an attribute: there a module can be found, but not be built."""


@check.constant_result
def _known(cls: Any, *args: Hashable, **kwargs: Hashable) -> str:
    metric = _fixed(cls, *args, **kwargs)
    name = f"_{id(metric)}"  # which it keeps: it is never let go
    setattr(_Known, name, metric)
    return name
