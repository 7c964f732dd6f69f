"""Writing off the training thread: one thread calls the loggers, in the order in which the calls came."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from epochal import check
from epochal.extras import library
from epochal.metric import Metric
from epochal.training import storage

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
ROW = "log_metrics"


class Writer:
    """Holds rows until enough are held or two seconds have passed; any other call goes out at once, with the rows before it.

    A logger that fails is left out from then on, with a warning: the run is worth more. If it is a remote address that does not
    answer, the logger stays.
    """

    HOLD = 2.0  # seconds
    LONGEST = 10_000  # calls that wait for a slow logger; then the run waits for it

    def __init__(self, loggers: Iterable[Any] = (), flush_every: int = 100) -> None:
        self.loggers = list(loggers)
        self.flush_every = min(
            [flush_every, *(getattr(logger, "flush_logs_every_n_steps", flush_every) for logger in self.loggers)]
        )
        self._calls: deque[Call | None] = deque()  # None: the thread ends
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures: deque[tuple[str, str | storage.Unreachable]] = deque()  # a logger's name, and what came
        self._draws = True

    def __reduce__(self) -> Any:
        return Writer, (self.loggers, self.flush_every)

    def open(self) -> None:
        """Settle each logger's run on the caller's thread, so that ``experiment`` and ``version`` are the same for all."""
        self._each(lambda logger: (getattr(logger, "experiment", None), getattr(logger, "version", None)), "experiment")
        self._warn()

    def send(self, verb: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of each logger, later; ``finalize`` comes back when all is written."""
        if self._failures:
            self._warn()
        if not self.loggers:
            return
        self._calls.append((verb, args, kwargs))
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._due.set()
        if verb == "finalize":
            self.drain()

    def send_row(self, row: dict[str, float], step: int) -> None:
        """Log a row to each logger, later."""
        if not self.loggers:
            return
        self._calls.append((ROW, (row, step), {}))
        waiting = len(self._calls)
        if 1 < waiting < self.flush_every:  # the common case, at every step
            return
        if self._failures:
            self._warn()
        if self._thread is None or not self._thread.is_alive():
            self._start()
        if waiting >= self.flush_every:
            self._due.set()
        if waiting >= self.LONGEST:
            self.drain()

    def send_picture(self, name: str, metric: Any, value: Any, step: int) -> None:
        """A result that is no number, for the loggers that can show a figure."""
        if any(_way_to_draw(logger) for logger in self.loggers):
            self.send("log_figure", name, lambda: picture(metric, value), step)

    def now(self, verb: str, *args: Any) -> None:
        """Call a method of the loggers that have it, on this thread, after all that was sent."""
        self.drain()
        self._each(lambda logger: getattr(logger, verb, _nothing)(*args), verb)
        self._warn()

    def drain(self) -> None:
        """Wait until all is written."""
        while self._calls or (self._thread is not None and self._thread.is_alive()):
            if self._thread is None or not self._thread.is_alive():
                self._start()
            assert self._thread is not None
            self._calls.append(None)
            self._due.set()
            self._thread.join()
        atexit.unregister(self._drain_at_exit)
        self._warn()

    def _drain_at_exit(self, process: int) -> None:
        if os.getpid() == process:  # the rows that a fork has, its parent writes
            self.drain()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="loggers", daemon=True)
        atexit.register(self._drain_at_exit, os.getpid())  # of a program that ends without a word
        self._thread.start()

    def _run(self) -> None:
        going = True
        while going:
            self._due.wait(self.HOLD)
            self._due.clear()
            going = self._write()

    def _write(self) -> bool:
        """All that waits; False at the mark that ends the thread."""
        held = False  # rows that a logger may hold by itself
        call: Call | None = ("", (), {})
        while self._calls and (call := self._calls.popleft()) is not None:
            verb, args, kwargs = call
            held = verb == ROW or (held and verb not in ("save", "finalize"))
            if verb == ROW:
                self._log([args, *self._next_rows()])
            elif verb == "log_figure":
                self._draw(*args)
            else:
                self._each(lambda logger: getattr(logger, verb, _nothing)(*args, **kwargs), verb)  # noqa: B023  # called at once
        if held:
            self._each(lambda logger: getattr(logger, "flush", getattr(logger, "save", _nothing))(), "flush")
        return call is not None

    def _next_rows(self) -> Iterator[Any]:
        while self._calls and (call := self._calls[0]) is not None and call[0] == ROW:
            self._calls.popleft()
            yield call[1]

    def _log(self, rows: list[Any]) -> None:
        """Rows in one call where a logger has one for them."""
        for logger in list(self.loggers):
            if _takes_rows(logger):
                self._try(logger, lambda logger: logger.log_rows(rows), ROW)
                continue
            for row, step in rows:  # a copy for each, which it may change
                if not self._try(logger, lambda logger: logger.log_metrics(metrics=dict(row), step=step), ROW):  # noqa: B023  # at once
                    break

    def _each(self, act: Callable[[Any], Any], verb: str) -> None:
        for logger in list(self.loggers):
            self._try(logger, act, verb)

    def _try(self, logger: Any, act: Callable[[Any], Any], verb: str) -> bool:
        """Whether the logger stays."""
        try:
            act(logger)
        except storage.Unreachable as error:  # it goes on, and its rows wait
            self._failures.append((type(logger).__name__, error))
        except BaseException as error:  # whatever its own code, a disk or a network does; an exit would end this thread alone
            if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                raise
            self.loggers.remove(logger)
            self._failures.append((type(logger).__name__, f"{verb} failed with {type(error).__name__}: {error}"))
            return False
        return True

    def _draw(self, name: str, picture: Callable[[], Any], step: int) -> None:
        if not self._draws:
            return
        for draw in filter(None, map(_way_to_draw, self.loggers)):
            try:
                draw(name, picture(), step)
            except Exception as error:  # the rows are worth more than the pictures
                self._draws = False
                self._failures.append(("", f"the picture of {name} failed with {type(error).__name__}: {error}"))

    def _warn(self) -> None:
        """Tell of failures on the training thread, where warnings reach the user."""
        while self._failures:
            name, came = self._failures.popleft()
            if isinstance(came, storage.Unreachable):
                text = check.message(name, came.came, "the run goes on; rows wait, and are sent when it answers", came.fix)
            elif name:
                fix = "The run goes on; pass a default_root_dir that can be written, or logger=False."
                text = check.message(name, came, "nothing more is logged there", fix)
            else:
                text = check.message("self.log", came, "no more pictures are drawn", "The numbers are logged.")
            warnings.warn(text, RuntimeWarning, stacklevel=4)


def picture(metric: Any, value: Any) -> Any:
    """A figure of a result, which belongs to no window."""
    figure = library(metric, "plot", "matplotlib.figure", "it draws").Figure(layout="constrained")
    metric.plot(value, ax=figure if isinstance(metric, Metric) else figure.add_subplot())
    return figure


def _way_to_draw(logger: Any) -> Callable[[str, Any, int], Any] | None:
    """Of our loggers, and of Lightning's for W&B."""
    if hasattr(logger, "log_image"):
        return lambda name, figure, step: logger.log_image(name, [figure], step)
    return getattr(logger, "log_figure", None)


def _takes_rows(logger: Any) -> bool:
    """Whether it logs many rows at once, and nobody has put a ``log_metrics`` of their own before that."""
    for names in (vars(logger), *map(vars, type(logger).__mro__)) if hasattr(logger, "log_rows") else ():
        if "log_rows" in names or ROW in names:
            return "log_rows" in names
    return False


def _nothing(*_: Any, **__: Any) -> None:
    """In place of a method that a logger lacks."""
