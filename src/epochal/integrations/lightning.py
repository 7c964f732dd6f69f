"""The one rule of logging in Lightning's own ``LightningModule``: each value of an epoch is the metric's own, over all of its data.

Lightning averages the numbers that it is given, weighted by the sizes of batches; only a metric object is asked for the epoch's
value. A value here remembers its metric, so :class:`LoggingMixin` hands Lightning a metric where it was given what one returned.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from epochal.collection import MetricCollection
from epochal.metric import Metric, leaves, metric_of

__all__ = ["LoggingMixin"]

ENDS = ("on_train_epoch_end", "on_validation_epoch_end", "on_test_epoch_end")


class LoggingMixin:
    """Logging that is right at the epoch, in Lightning's own module: put it before ``lightning.pytorch.LightningModule``.

    ::

        class Classifier(LoggingMixin, lightning.pytorch.LightningModule):
            def validation_step(self, batch, batch_idx):
                x, y = batch
                self.log("f1", self.f1(self(x), y))  # the F1 score of the epoch, not a mean over batches
                self.log_dict(self.scores(self(x), y))  # of a collection, too

    What a metric returned from ``forward``, alone, from a collection or inside of a dictionary, is logged as the metric itself:
    over all data and processes, and reset afterwards. A step has a value where only ``update`` was called, too. A dictionary
    becomes keys under the names of its leaves, a vector ``{name}_{i}``; a matrix is left out, with a warning.

    In an epoch's end the value is that of the moment. A metric that only epoch ends update belongs to the run: nothing resets it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ENDS:
            if name in cls.__dict__:
                setattr(cls, name, _end(cls.__dict__[name]))

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's; ``value`` may also be what a metric returned, a collection, a dictionary or a vector."""
        if isinstance(value, MetricCollection | Mapping):
            self.log_dict(value, *args, **kwargs)
            return
        found = (value, ()) if isinstance(value, Metric) else metric_of(value)
        if found is None:
            super().log(name, value, *args, **kwargs)  # type: ignore[misc]  # of the class that this is mixed into
            return
        metric, path = found
        book = _book(self)
        now = value if isinstance(value, Tensor) else None
        if now is None and book.stepped is not None:  # taken before a reset of the user's own
            now = metric.compute()
        on_step = args[2] if len(args) > 2 else kwargs.get("on_step")
        wanted = on_step or (on_step is None and book.stepped is None and self._in_training())
        if now is None and (wanted or name not in book.plans):
            now = metric.batch_value()
        if now is not None:
            book.plans[name] = [(key, where) for key, where, _ in _expanded(name, now, path)]
        for key, where in book.plans.get(name, [(name, path)]):
            item = None if now is None else _follow(now, where[len(path) :])
            if isinstance(item, Tensor) and item.numel() != 1:
                text = f"self.log({name!r}): value is of shape {tuple(item.shape)}; one number is needed. It is not logged."
                warnings.warn(text, stacklevel=2)
                continue
            reading = book.reading((key, self._in_training(), book.stepped is not None))
            reading.show(metric, where, item, book)
            super().log(key, reading, *args, **{**kwargs, "metric_attribute": key})  # type: ignore[misc]  # the same

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, for the values that :meth:`log` takes."""
        for name, value in dictionary.items():
            self.log(name, value, *args, **kwargs)

    def _in_training(self) -> bool:
        """False in evaluation, and where no trainer is attached."""
        trainer = self.__dict__.get("_trainer")
        return trainer is not None and bool(trainer.training)


class Book:
    """What a module remembers of its logging."""

    def __init__(self) -> None:
        self.plans: dict[str, list[tuple[str, tuple[Any, ...]]]] = {}  # the keys of a name, and the part of the result for each
        self.readings: dict[Any, Reading] = {}
        self.left: dict[int, int] = {}  # how many updates a metric had when an epoch's end was over
        self.stepped: set[int] | None = None  # in an epoch's end: the metrics that steps have updated

    def reading(self, key: Any) -> Reading:
        if key not in self.readings:
            self.readings[key] = Reading()
        return self.readings[key]


class Reading(Metric, composite=True):
    """What Lightning holds for a key: a metric, the part of its result, and the value of the step, or of an epoch's end."""

    metric: Metric
    path: tuple[Any, ...]
    item: Any
    final: bool
    resets: bool
    book: Book

    def __init__(self) -> None:
        super().__init__()
        self.show(self, (), None, Book())

    def show(self, metric: Metric, path: tuple[Any, ...], item: Any, book: Book) -> None:
        final = book.stepped is not None
        item = item.detach().clone() if isinstance(item, Tensor) else item
        self.__dict__.update(metric=metric, path=path, item=item, final=final, book=book)
        self.__dict__["resets"] = not final or id(metric) in (book.stepped or ())

    @property
    def _forward_cache(self) -> Any:
        return self.item

    def compute(self) -> Any:
        return self.item if self.final else _follow(self.metric.compute(), self.path)

    def reset(self) -> None:
        if self.resets and self.metric is not self:
            self.metric.reset()
            for leaf in leaves(self.metric):
                self.book.left.pop(id(leaf), None)


def _book(module: Any) -> Book:
    book: Book = module.__dict__.setdefault("_book", Book())
    return book


def _end(hook: Callable[..., Any]) -> Callable[..., Any]:
    """An epoch's end that knows which metrics steps have updated: those with more updates than the last end left them."""

    @functools.wraps(hook)
    def ended(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        book = _book(self)
        metrics, before = leaves(self), book.stepped
        book.stepped = {id(m) for m in metrics if m.update_count and m.update_count != book.left.get(id(m), 0)}
        try:
            return hook(self, *args, **kwargs)
        finally:
            book.left.update((id(m), m.update_count) for m in metrics if id(m) not in book.stepped)
            book.stepped = before

    return ended


def _expanded(name: str, value: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """The keys of a result: their names, the way to their part of it, and that part."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            before = f"{key}_" if isinstance(item, Mapping) else ""
            yield from ((before + leaf, where, part) for leaf, where, part in _expanded(str(key), item, (*path, key)))
    elif isinstance(value, Tensor) and value.ndim == 1 and value.numel() > 1:
        yield from ((f"{name}_{i}", (*path, i), item) for i, item in enumerate(value.unbind()))
    else:
        yield name, path, value


def _follow(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
