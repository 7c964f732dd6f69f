"""The one rule of logging in Lightning's own ``LightningModule``: each value of an epoch is the metric's own, over all of its data.

Lightning averages the numbers that it is given, weighted by the sizes of batches; only a metric object is asked for the epoch's
value. A value here remembers its metric, so :class:`LoggingMixin` hands Lightning a metric where it was given what one returned.
And an evaluation has states of its own, of each loader: they are set apart where Lightning's hooks say that one begins or ends.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from epochal.collection import MetricCollection
from epochal.metric import Metric, leaves
from epochal.training import foreign
from epochal.training.parking import Parking

__all__ = ["LoggingMixin"]


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
    becomes keys under the names of its leaves, a vector ``{name}_{i}``, a matrix or a curve a figure in the loggers that have some.

    One metric may serve training, validation and several loaders. In an epoch's end it holds all loaders, and the value that is
    logged is that of the moment. A metric that only epoch ends update belongs to the run: nothing resets it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, around in AROUND.items():
            if name in cls.__dict__ or (LoggingMixin in cls.__bases__ and hasattr(cls, name)):
                setattr(cls, name, _surrounded(getattr(cls, name), name, around))

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's; ``value`` may also be what a metric returned, a collection, a dictionary, a vector or a curve."""
        found = (value, ()) if isinstance(value, Metric) else foreign.owner_of(value)
        if isinstance(value, MetricCollection | Mapping) and (found is None or found[1]):
            self.log_dict(value, *args, **kwargs)
        elif found is None:
            super().log(name, value, *args, **kwargs)  # type: ignore[misc]  # Lightning's, which this is mixed into
        else:
            metric, path = found
            self._log_metric(name, metric, path, None if isinstance(value, Metric) else value, args, kwargs)

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, for the values that :meth:`log` takes."""
        if isinstance(dictionary, MetricCollection):
            for name, (metric, path) in _book(self).results_of(dictionary).items():
                self._log_metric(name, metric, path, None, args, kwargs)
            return
        for name, value in dictionary.items():
            if isinstance(value, Mapping):  # of a dict of dicts, the inner names behind the outer
                self.log_dict({f"{name}_{key}": item for key, item in value.items()}, *args, **kwargs)
            else:
                self.log(name, value, *args, **kwargs)

    def _log_metric(self, name: str, metric: Any, path: tuple[Any, ...], now: Any, args: Any, kwargs: Any) -> None:
        """Hand Lightning a reading for each key of a result. ``now``: the value of this moment, where it is known."""
        book = _book(self)
        if now is None and book.stepped is not None:  # taken before a reset of the user's own
            now = _follow(metric.compute(), path)
        on_step = args[2] if len(args) > 2 else kwargs.get("on_step")
        wanted = on_step or (on_step is None and book.stepped is None and self._in_training())
        if now is None and (wanted or name not in book.plans):
            whole = metric.batch_value()
            now = None if whole is None else _follow(whole, path)
        book.parking(self).logged.update(book.parking(self).names_of_leaves(metric, name))
        if now is not None:
            book.plan(name, _expanded(name, now, path))
        for key, where in book.plans.get(name, [(name, path)]):
            item = None if now is None else _follow(now, where[len(path) :])
            if item is not None and not (isinstance(item, Tensor) and item.numel() == 1):
                is_shared = not (args[8] if len(args) > 8 else kwargs.get("add_dataloader_idx", True))
                place = key, None if is_shared or book.stepped is not None else book.loader
                book.pictures[place] = metric, where, item if book.stepped is not None else None
                continue
            reading = book.reading((key, self._in_training(), book.stepped is not None))
            reading.show(metric, where, item, book)
            super().log(key, reading, *args, **{**kwargs, "metric_attribute": key})  # type: ignore[misc]  # the same

    def _in_training(self) -> bool:
        """False in evaluation, and where no trainer is attached."""
        trainer = self.__dict__.get("_trainer")
        return trainer is not None and bool(trainer.training)


class OwnMetrics(Parking):
    """Those of torchmetrics are left to Lightning, which resets them when it likes."""

    def refresh(self) -> None:
        super().refresh()
        self.metrics = {name: metric for name, metric in self.metrics.items() if isinstance(metric, Metric)}


Place = tuple[str, int | None]  # a key, and the loader of an evaluation whose own it is
Picture = tuple[Any, tuple[Any, ...], Any]  # a metric, the part of its result, and its value where that is known


class Book:
    """What a module remembers of its logging."""

    def __init__(self) -> None:
        self.plans: dict[str, list[tuple[str, tuple[Any, ...]]]] = {}  # the keys of a name, and the part of the result for each
        self.collections: dict[int, tuple[Any, dict[str, tuple[Any, tuple[Any, ...]]]]] = {}
        self.readings: dict[Any, Reading] = {}
        self.pictures: dict[Place, Picture] = {}  # of this epoch
        self.others: dict[Place, Picture] = {}  # of the training epoch, in an evaluation inside of it
        self.left: dict[int, int] = {}  # how many updates a metric had when an epoch's end was over
        self.stepped: set[int] | None = None  # in an epoch's end: the metrics that steps have updated
        self.loader: int | None = None  # of an evaluation
        self.running: set[str] = set()  # hooks
        self._parking: OwnMetrics | None = None

    def parking(self, module: Any) -> OwnMetrics:
        if self._parking is None:
            self._parking = OwnMetrics(module)
        return self._parking

    def read_pictures(self) -> None:
        """Take the values of what is not known yet, while the metrics hold it: before another loader, or a user's reset."""
        for place, (metric, where, value) in self.pictures.items():
            if value is None and (place[1] is None or place[1] == self.loader):
                self.pictures[place] = metric, where, _follow(metric.compute(), where)

    def results_of(self, collection: MetricCollection) -> dict[str, tuple[Any, tuple[Any, ...]]]:
        found = self.collections.get(id(collection))
        if found is None or found[0] is not collection:
            found = self.collections[id(collection)] = collection, foreign.results_of(collection)
        return found[1]

    def plan(self, name: str, leaves: Iterator[tuple[str, tuple[Any, ...], Any]]) -> None:
        """The keys of a name, behind it where another has one of them."""
        others = {key for other, plan in self.plans.items() if other != name for key, _ in plan}
        self.plans[name] = [(f"{name}_{key}" if key in others and key != name else key, where) for key, where, _ in leaves]

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
        by_steps = not final or id(metric) in (book.stepped or ())
        self.__dict__["resets"] = by_steps and book.loader is None  # an evaluation brings back what was there before

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


# --- around Lightning's hooks ------------------------------------------------------------------------------------------------


def _surrounded(hook: Callable[..., Any], name: str, around: Callable[..., Any]) -> Callable[..., Any]:
    """A hook with something before and after it; once, though it may call that of its base class."""

    @functools.wraps(hook)
    def called(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        book = _book(self)
        if name in book.running:
            return hook(self, *args, **kwargs)
        book.running.add(name)
        try:
            with around(self, book, *args):
                return hook(self, *args, **kwargs)
        finally:
            book.running.discard(name)

    return called


@contextmanager
def _evaluation_begins(module: Any, book: Book) -> Iterator[None]:
    parking = book.parking(module)
    parking.stages.clear()  # of a run that failed
    parking.open(fresh=True)
    book.loader, book.pictures, book.others = 0, {}, book.pictures
    yield


@contextmanager
def _batch_begins(module: Any, book: Book, _batch: Any, _batch_idx: int, loader: int = 0) -> Iterator[None]:
    if loader != book.loader and book.loader is not None:  # Lightning has read the values of the loader before
        book.read_pictures()
        book.parking(module).park(book.loader)
        book.loader = loader
    yield


@contextmanager
def _evaluation_ends(module: Any, book: Book) -> Iterator[None]:
    yield
    parking = book.parking(module)
    if module.trainer.sanity_checking:
        parking.undo()
    else:
        parking.close(fresh=True)
    book.loader, book.pictures = None, book.others


@contextmanager
def _evaluated(module: Any, book: Book, *_: Any) -> Iterator[None]:
    parking = book.parking(module)
    book.read_pictures()
    parking.park(book.loader or 0)
    parking.present(set(), fresh=True)
    with _epoch_ends(module, book):
        yield


@contextmanager
def _epoch_ends(module: Any, book: Book, *_: Any) -> Iterator[None]:
    """An epoch's end that knows which metrics steps have updated: those with more updates than the last end left them."""
    metrics, before = leaves(module), book.stepped
    book.read_pictures()
    book.stepped = {id(m) for m in metrics if m.update_count and m.update_count != book.left.get(id(m), 0)}
    try:
        yield
        _draw(module, book)
    finally:
        book.left.update((id(m), m.update_count) for m in metrics if id(m) not in book.stepped)
        book.stepped = before


def _draw(module: Any, book: Book) -> None:
    """The results of an epoch that are no numbers, as figures."""
    pictures, book.pictures = book.pictures, {}
    read = {id(reading.metric) for reading in book.readings.values()}
    several = any(loader for _, loader in pictures)
    for (key, loader), (metric, _, value) in pictures.items():
        if not module.trainer.sanity_checking and module.trainer.is_global_zero:
            suffix = f"/dataloader_idx_{loader}" if several and loader is not None else ""
            _draw_one(module.trainer, key + suffix, metric, value)
        if book.loader is None and id(metric) not in read and id(metric) in (book.stepped or ()):
            metric.reset()  # which Lightning does not know


def _draw_one(trainer: Any, key: str, metric: Any, value: Any) -> None:
    from epochal.training.loggers.writer import picture

    draws = [draw for logger in trainer.loggers if (draw := _drawing(logger)) is not None]
    if not draws:
        text = f"self.log({key!r}): value is no number, and no logger shows figures. It is not logged."
        warnings.warn(text, stacklevel=2)
    try:
        for draw in draws:
            draw(key, picture(metric, value), trainer.global_step)
    except Exception as error:  # the run is worth more than its pictures
        text = f"self.log({key!r}): the picture failed with {type(error).__name__}: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def _drawing(logger: Any) -> Callable[[str, Any, int], Any] | None:
    """How a logger shows a figure: one of ours, or one that writes as TensorBoard does."""
    own: Any = getattr(logger, "log_figure", None)
    return own or getattr(getattr(logger, "experiment", None), "add_figure", None)


AROUND: dict[str, Callable[..., Any]] = {
    "on_train_epoch_end": _epoch_ends,
    **dict.fromkeys(["on_validation_start", "on_test_start"], _evaluation_begins),
    **dict.fromkeys(["on_validation_batch_start", "on_test_batch_start"], _batch_begins),
    **dict.fromkeys(["on_validation_epoch_end", "on_test_epoch_end"], _evaluated),
    **dict.fromkeys(["on_validation_end", "on_test_end"], _evaluation_ends),
}


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
