"""TensorBoardLogger: scalars, figures and hyperparameters for TensorBoard."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from epochal import check
from epochal.extras import library
from epochal.training.loggers.folder import FolderLogger, as_dict
from epochal.training.loggers.mirror import Mirror


class TensorBoardLogger(FolderLogger):
    """Event files in ``save_dir/name/version_N``, or in its ``sub_dir``, on any address that fsspec knows.

    At a remote address files are written on this machine and sent when they are flushed.

    ``log_graph``: also the module's graph, if it has an ``example_input_array``. ``default_hp_metric``: hyperparameters that come
    without a metric get ``hp_metric=-1``, so that TensorBoard lists the run. ``kwargs`` are those of ``SummaryWriter``.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        self._log_graph, self._default_hp_metric, self._kwargs = log_graph, default_hp_metric, kwargs
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self._writer: Any = None
        self._writers: list[Any] = []  # the one in use is the last
        self._mirror: Mirror | None = None  # of a remote run
        self._steps = 0  # of rows that came without one
        self._events: dict[tuple[str, ...], Any] = {}  # what the latest rows have in common
        self._lock = threading.Lock()  # rows come from the training thread, too, where a user writes some

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_lock"}
        return {**state, "_writer": None, "_writers": [], "_mirror": None, "_events": {}}  # each process opens its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def sub_dir(self) -> str | None:
        return self._sub_dir

    @property
    def log_dir(self) -> str:
        folder = super().log_dir
        return folder if self._sub_dir is None else self._join(folder, os.path.expandvars(os.path.expanduser(self._sub_dir)))

    @property
    def experiment(self) -> Any:
        """The ``SummaryWriter``, opened at the first need."""
        if self._writer is None:
            self._open()
        return self._writer

    def _open(self) -> None:
        folder = self.log_dir
        if not self.is_local:
            self._mirror = self._mirror or Mirror(folder)
            folder = self._mirror.folder
        tensorboard = library(self, "tensorboard", "torch.utils.tensorboard", "it writes the files")
        self._writer = tensorboard.SummaryWriter(log_dir=folder, **self._kwargs)
        _write_at_once(self._writer)
        self._writers.append(self._writer)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A scalar for each key, all of a row in one event; several in one chart for a dict."""
        if step is None:
            step = self._steps
        charts = {key: value for key, value in metrics.items() if isinstance(value, Mapping)}
        for key, value in charts.items():
            self.experiment.add_scalars(self._prefixed(key), self._floats(value), step)
        rest = {key: value for key, value in metrics.items() if key not in charts} if charts else metrics
        self.log_rows([(self._floats(rest), step)])

    def log_rows(self, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
        """Rows of numbers, with their steps."""
        file = self.experiment._get_file_writer()  # noqa: SLF001  # which opens one anew after a close
        with self._lock:
            for row, step in rows:
                self._steps = step + 1
                if row:
                    event = self._event(tuple(row))
                    for scalar, number in zip(event.summary.value, row.values(), strict=True):
                        scalar.simple_value = number
                    file.add_event(event, step)

    def _event(self, keys: tuple[str, ...]) -> Any:
        """What rows of the same keys have in common."""
        if keys in self._events:
            return self._events[keys]
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._events.clear()  # of other keys, lest they become many
        event = self._events[keys] = Event(summary=Summary(value=[Summary.Value(tag=self._prefixed(key)) for key in keys]))
        return event

    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """A matplotlib ``Figure``, as an image; pyplot is not needed, and nothing has to be closed."""
        canvas = library(self, "plot", "matplotlib.backends.backend_agg", "it draws").FigureCanvasAgg(figure)
        canvas.draw()
        pixels = memoryview(canvas.buffer_rgba())
        self.experiment.add_image(self._prefixed(name), _array(pixels)[..., :3], step, dataformats="HWC")

    def log_hyperparams(
        self, params: Any = None, metrics: Mapping[str, Any] | float | None = None, step: int | None = None, *_: Any, **__: Any
    ) -> None:
        """Into ``hparams.yaml`` and TensorBoard's table of runs, with the metrics that describe this run there."""
        super().log_hyperparams(params)
        if metrics is None:
            metrics = {"hp_metric": -1} if self._default_hp_metric else {}
        elif not isinstance(metrics, Mapping):
            metrics = {"hp_metric": metrics}
        if not metrics:
            return
        from torch.utils.tensorboard import summary

        for key, value in metrics.items():
            self.experiment.add_scalar(self._prefixed(key), float(value), 0 if step is None else step)
        table: Any = summary.hparams
        for part in table(_flat(as_dict(params)), {self._prefixed(key): value for key, value in metrics.items()}):
            self.experiment.file_writer.add_summary(part)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """The graph of the model, where ``log_graph=True`` asks for it."""
        example = getattr(model, "example_input_array", None) if input_array is None else input_array
        if self._log_graph and example is not None:
            try:
                self.experiment.add_graph(model, example)
            except Exception as error:  # torch's tracer takes few modules; the rows are worth more
                came = f"the graph failed with {type(error).__name__}: {error}"
                warnings.warn(check.message("TensorBoardLogger", came, "it is left out", "Pass log_graph=False."), stacklevel=2)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()
        if self._mirror is not None:
            for writer in self._writers[:-1]:
                writer.close()
            if self._mirror.is_large():  # then another file begins, and this one, which a step may use right now, closes next time
                self._open()
            self._attempt(self._mirror.push)

    def save(self) -> None:
        self.flush()

    def finalize(self, status: str) -> None:  # noqa: ARG002  # the files are the same for both
        """Close the event file; a row that comes later opens another."""
        for writer in self._writers:
            writer.close()
        self._writer, self._writers = None, []
        if self._mirror is not None:
            self._attempt(self._mirror.push, last=True)
            self._mirror.close()
            self._mirror = None


class Records:
    """In place of tensorboard's queue of events, whose thread opens the file for each: they go at once into one that is open."""

    def __init__(self, path: str) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        file = open(path, "ab")  # noqa: SIM115  # closed when the run is over, or nobody has it any more
        weakref.finalize(self, file.close)
        self._file = RecordWriter(file)
        self._lock = threading.Lock()  # a user may show pictures from the training thread

    def write(self, event: bytes) -> None:
        with self._lock:
            self._file.write(event)
            self._file.flush()

    def flush(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        with self._lock:
            self._file.close()


def _write_at_once(writer: Any) -> None:
    events = writer._get_file_writer().event_writer  # noqa: SLF001  # a part that can be replaced
    if hasattr(events, "_async_writer"):
        events._async_writer.close()  # noqa: SLF001  # the queue and its thread
        events._async_writer = Records(events._file_name)  # noqa: SLF001  # which goes on with its file


def _array(pixels: memoryview) -> Any:
    import numpy as np

    return np.asarray(pixels)


def _flat(params: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested names joined by ``/``; what TensorBoard can't hold as text."""
    out: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            out.update(_flat(value, f"{before}{key}/"))
        else:
            out[f"{before}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return out
