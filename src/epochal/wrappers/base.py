"""What all wrappers have in common: a metric whose state is that of the metrics in it.

A wrapper says three things: which metrics it holds (:attr:`Wrapper.inner`), what each of them takes of a batch
(:meth:`Wrapper.shares`), and how their values are one (:meth:`Wrapper.result`). Every verb follows from that, here. All metrics in
it take a batch, or none; ``compute`` merges them over processes in one exchange.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor

from epochal import check
from epochal.collection import MetricCollection
from epochal.metric import Metric, all_or_none, keywords, leaves, synced

__all__ = ["Inner", "Share", "Wrapper", "joined", "look_like", "metric_needed", "nested", "parted"]

Inner: TypeAlias = "Metric | MetricCollection"
Share: TypeAlias = tuple[Sequence[Any], Mapping[str, Any]]  # positional and keyword arguments


class Wrapper(Metric, composite=True):
    """Base of the wrappers; see the module's docstring.

    Keyword arguments are those of every metric (:class:`~epochal.metric.MetricOptions`); one that is given goes to the metrics in
    the wrapper, too. They are not copied: what is done to one of them is seen in the wrapper.
    """

    _options: dict[str, Any]  # that were given

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._options = kwargs

    def hold(self, **metrics: Any) -> None:
        """Take in the metrics, under the names of their attributes."""
        for name, module in metrics.items():
            setattr(self, name, module)
            for leaf in leaves(module):
                leaf.__dict__.update(self._options)
        if len(self.inner) == 1 and isinstance(self.inner[0], Metric):
            self.is_differentiable = self.inner[0].is_differentiable
            look_like(self, self.inner[0])

    # --- what a wrapper defines ------------------------------------------------------------------------------------------

    @property
    def inner(self) -> Sequence[Inner]:
        """The metrics and collections that take batches."""
        raise NotImplementedError

    def shares(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Share]:
        """What each of :attr:`inner` takes of a batch; by default all of it."""
        return [(args, kwargs)] * len(self.inner)

    def result(self, values: Sequence[Any], **state: Any) -> Any:  # noqa: ARG002  # a wrapper's own fields, where it has some
        """The value, of the values of :attr:`inner`, and of fields of the wrapper's own: of none for a batch alone. Pure."""
        return values[0]

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        shares = self.shares(args, kwargs)
        with all_or_none([self]) if len(shares) > 1 and not torch.compiler.is_compiling() else nullcontext():
            for metric, (mine, named) in zip(self.inner, shares, strict=True):
                metric.update(*mine, **named)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        shares = self.shares(args, kwargs)
        with all_or_none([self]):  # a result may fail, too
            values = [metric(*mine, **named) for metric, (mine, named) in zip(self.inner, shares, strict=True)]
            return self._remember(self.result(values))

    def of(self, *args: Any, **kwargs: Any) -> Any:
        shares = self.shares(args, kwargs)
        values = [metric.of(*mine, **named) for metric, (mine, named) in zip(self.inner, shares, strict=True)]
        return self._remember(self.result(values))

    def compute(self) -> Any:
        with synced([self]) if self._syncs() else nullcontext():
            return self._remember(self.result([metric.compute() for metric in self.inner], **self._state()))

    def peek(self) -> Any:
        return self.result([metric.peek() for metric in self.inner], **self._state())

    def batch_value(self) -> Any:
        values = [metric.batch_value() for metric in self.inner] if self.update_called else []
        return self._remember(self.result(values)) if values and not any(value is None for value in values) else None

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the metrics in another wrapper of the same kind into those in this one."""
        theirs = incoming_state.inner if isinstance(incoming_state, Wrapper) and type(incoming_state) is type(self) else []
        if len(theirs) != len(self.inner):
            what = f"with {len(theirs)} metrics" if theirs else f"{type(incoming_state).__name__}"
            check.fail(self, f"merge_state got one {what}", f"one like {self!r} is needed")
        assert isinstance(incoming_state, Wrapper)
        with all_or_none([self]):
            for mine, other in zip(self.inner, theirs, strict=True):
                mine.merge_state(other)  # type: ignore[arg-type]  # a collection takes a collection
            self._adopt(self.merge(self._state(), incoming_state.metric_state))

    # --- the life around it ------------------------------------------------------------------------------------------------

    @property
    def update_count(self) -> int:
        """How many batches the state holds: of the metric in it that has most."""
        return max((metric.update_count for part in self.inner for metric in leaves(part)), default=0)

    def keywords(self) -> Collection[str] | None:
        return keywords(metric for part in self.inner for metric in members(part))


def members(inner: Inner) -> Collection[Metric]:
    """The metric, or those of a collection."""
    return inner.members().values() if isinstance(inner, MetricCollection) else [inner]


def metric_needed(wrapper: object, name: str, value: Any, collection: bool = True) -> None:
    """Raise where what is to be wrapped is no metric."""
    if isinstance(value, Metric) or (collection and isinstance(value, MetricCollection)):
        return
    needed = "a Metric or a MetricCollection is needed" if collection else "a Metric is needed"
    came = f"{name} is a MetricCollection" if isinstance(value, MetricCollection) else f"{name} is {value!r}"
    raise TypeError(check.message(wrapper, came, needed))


def affix(wrapper: object, name: str, value: Any) -> str:
    """A prefix or postfix; nothing for None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(check.message(wrapper, f"{name} is {value!r}", "a string is needed", f"Pass {str(value)!r}."))
    return value or ""


def look_like(wrapper: Metric, metric: Any) -> None:
    """What is better, and how it is drawn, of what a wrapper makes of the values of a metric."""
    if isinstance(metric, Metric):
        for fact in ("higher_is_better", "plot_legend_name", "plot_labels", "plot_lower_bound", "plot_upper_bound"):
            setattr(wrapper, fact, getattr(metric, fact))
        wrapper.plot_title = f"{type(wrapper).__name__}({metric.plot_title or type(metric).__name__})"


def joined(values: Sequence[Any]) -> Any:
    """Values of one form as one: tensors stacked, where their shapes are the same, dictionaries key by key; else a list."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: joined([value[key] for value in values]) for key in first}
    if isinstance(first, Tensor) and len({value.shape for value in values}) == 1:
        return torch.stack(list(values))
    return list(values)


def parted(value: Any) -> list[Any]:
    """The values that :func:`joined` made one."""
    if isinstance(value, Mapping):
        return [dict(zip(value, row, strict=True)) for row in zip(*map(parted, value.values()), strict=True)]
    return list(value)


def nested(value: Any) -> Iterator[Tensor]:
    """The tensors of a value, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nested(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from nested(item)
