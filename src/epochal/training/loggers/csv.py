"""CSVLogger: rows in ``metrics.csv``, which always parses.

Rows are appended, to the wide file and to the journal, ``metrics.jsonl``. A key that comes late needs a wider header: from then
on the journal alone is written, and at the epoch's end (:meth:`CSVLogger.save`) the wide file is made anew from it. So a row's cost
does not grow with the file.

At a remote address nothing can be appended: the journal gets a file for each piece, and the wide file is made anew when that takes
less than a tenth of the time, and at the end. So a flush sends what it holds, and a row costs the same there, too.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from epochal.training import storage
from epochal.training.loggers.folder import FolderLogger
from epochal.training.loggers.journal import Journal, Keys, Row, Texts


class CSVLogger(FolderLogger):
    """Rows as ``save_dir/name/version_N/metrics.csv``, on any address that fsspec knows.

    ``flush_logs_every_n_steps``: rows that are held at most; they are also written after two seconds and at the end.
    """

    HOLD = 2.0  # seconds
    REWRITE = 30.0  # seconds between two remote wide files within an epoch

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        self.flush_logs_every_n_steps = flush_logs_every_n_steps
        self._held: list[Row] = []
        self._since = 0.0
        self._journal: Journal | None = None
        self._columns: list[str] = []  # of the wide file as it is
        self._late: dict[str, None] = {}  # keys that it lacks
        self._stale = False  # whether it lacks rows
        self._rewritten, self._cost = 0.0, 0.0  # when that was, and how long it took
        self._lock = threading.RLock()  # rows come from the training thread, too, where a user writes some

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    @property
    def path(self) -> str:
        return self._join(self.log_dir, "metrics.csv")

    @property
    def experiment(self) -> CSVLogger:
        return self

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._lock:
            self.log_rows([(self._floats(metrics), len(self._held) if step is None else int(step))])

    def log_rows(self, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
        """Rows of numbers, with their steps."""
        with self._lock:
            if not self._held:
                self._since = time.monotonic()
            self._held += [self._row(row, step) for row, step in rows]
            if len(self._held) >= self.flush_logs_every_n_steps or time.monotonic() - self._since > self.HOLD:
                self.flush()

    def _row(self, metrics: Mapping[str, float], step: int) -> Row:
        names = map(self._prefixed, metrics) if self._prefix else metrics
        row = dict(zip(names, map(float, metrics.values()), strict=True))
        if "epoch" in row and row["epoch"].is_integer():  # a user may log parts of one
            row["epoch"] = int(row["epoch"])
        row["step"] = step
        return row

    def flush(self) -> None:
        """Append the rows that are held."""
        self._write(self.REWRITE)

    def save(self) -> None:
        """Write all, and the wide file anew if keys came late."""
        self._write(0.0)

    def finalize(self, status: str) -> None:  # noqa: ARG002  # the files are the same for both
        self._write(0.0, last=True)

    def _write(self, pause: float, last: bool = False) -> None:
        """Rows into the journal and the wide file; where that is made anew, ``pause`` seconds after the time before."""
        with self._lock:
            if self._held or self._stale or self._table:
                self._attempt(lambda: self._write_now(pause, last), last)

    def _write_now(self, pause: float, last: bool) -> None:
        if self._journal is None:
            journal = Journal(self._join(self.log_dir, "metrics.jsonl"))
            self._late = dict.fromkeys(journal.open())
            self._journal = journal
        if self._held:
            rows, self._held = self._journal.append(self._held), []
            came = dict.fromkeys(key for keys in {keys for keys, _ in rows} for key in keys)
            self._late.update((key, None) for key in came if key not in self._columns)
            self._stale = self._stale or bool(self._late) or not self.is_local
            if not self._stale:
                storage.append("".join(_lines(rows, self._columns)), self.path)
        if self._stale and (not self._columns or last or self._is_due(pause)):
            self._rewrite()

    def _is_due(self, pause: float) -> bool:
        """Whether the wide file is made anew: here at an epoch's end, elsewhere if it takes less than a tenth of the time."""
        if self.is_local:
            return not pause
        return time.monotonic() - self._rewritten >= max(pause, self.REST * self._cost)

    def _rewrite(self) -> None:
        """The wide file anew, with the late keys and rows."""
        assert self._journal is not None
        begun = time.monotonic()
        self._journal.join()
        columns = sorted({*self._columns, *self._late})
        storage.put(self.path, lambda file: self._fill(file, columns), durable=False)
        self._columns, self._late, self._stale = columns, {}, False
        self._rewritten = time.monotonic()
        self._cost = self._rewritten - begun

    def _fill(self, file: Any, columns: list[str]) -> None:
        assert self._journal is not None
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text, lineterminator="\n").writerow(columns)
        text.writelines(_lines(self._journal, columns))
        text.flush()
        text.detach()


def _lines(rows: Iterable[Texts], columns: list[str]) -> Iterator[str]:
    """Numbers need no quotes."""
    form = functools.cache(functools.partial(_form, columns))
    return (form(keys)(*texts) for keys, texts in rows)


def _form(columns: list[str], keys: Keys) -> Callable[..., str]:
    """A line of rows of the same keys: which number stands where."""
    places = {key: f"{{{place}}}" for place, key in enumerate(keys)}
    return (",".join([places.get(column, "") for column in columns]) + "\n").format
