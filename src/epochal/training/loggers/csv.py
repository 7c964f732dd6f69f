"""CSVLogger: rows in ``metrics.csv``, which always parses.

Rows are appended, to the wide file and to the journal, ``metrics.jsonl``. A key that comes late needs a wider header: from then
on the journal alone is written, and at the epoch's end (:meth:`CSVLogger.save`) the wide file is made anew from it. So a row's cost
does not grow with the file.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec

from epochal.training.loggers.folder import FolderLogger

Row = dict[str, float]


class CSVLogger(FolderLogger):
    """Rows as ``save_dir/name/version_N/metrics.csv``, on any address that fsspec knows.

    ``flush_logs_every_n_steps``: rows that are held at most; they are also written after two seconds and at the end.
    """

    HOLD = 2.0  # seconds

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
        self._columns: list[str] | None = None  # of the wide file as it is
        self._late: dict[str, None] = {}  # keys that it lacks
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
        row = {self._prefixed(key): float(value) for key, value in metrics.items()}
        for key in row:
            if key == "epoch":
                row[key] = int(row[key])
        with self._lock:
            self._held.append({**row, "step": len(self._held) if step is None else step})
            now = time.monotonic()
            if len(self._held) == 1:
                self._since = now
            if len(self._held) >= self.flush_logs_every_n_steps or now - self._since > self.HOLD:
                self.flush()

    def flush(self) -> None:
        """Append the rows that are held."""
        with self._lock:
            if not self._held:
                return
            if self._columns is None:
                self._open()
            rows, self._held = self._held, []
            self._append("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            if not self._columns:
                self._late.update(dict.fromkeys(key for row in rows for key in row))
                self._rewrite()
                return
            known = set(self._columns)
            self._late.update(dict.fromkeys(key for row in rows for key in row if key not in known))
            if not self._late:  # else the journal alone has them until the epoch's end
                self._append("metrics.csv", _as_csv(rows, self._columns))

    def save(self) -> None:
        """Write all, and the wide file anew if keys came late."""
        with self._lock:
            self.flush()
            if self._late:
                self._rewrite()

    def _open(self) -> None:
        """A run that goes on in its old folder keeps the rows that it has, less one that a killed process left half written."""
        files, folder = fsspec.core.url_to_fs(self.log_dir)
        files.makedirs(folder, exist_ok=True)
        self._columns, journal = [], self._join(folder, "metrics.jsonl")
        if not files.exists(journal):
            return
        for row in self._journal():
            self._late.update(dict.fromkeys(row))
        with files.open(journal + ".new", "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in self._journal())
        files.mv(journal + ".new", journal)

    def _journal(self) -> Iterator[Row]:
        """Its rows, one at a time."""
        with fsspec.open(self._join(self.log_dir, "metrics.jsonl"), "r") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def _rewrite(self) -> None:
        """The wide file anew, with the late keys."""
        self._columns, self._late = sorted({*(self._columns or ()), *self._late}), {}
        files, path = fsspec.core.url_to_fs(self.path)
        with files.open(path + ".new", "w") as file:
            file.write(",".join(_quoted(self._columns)) + "\n")
            table = csv.DictWriter(file, self._columns, restval="", lineterminator="\n")
            table.writerows(self._journal())
        files.mv(path + ".new", path)

    def _append(self, name: str, text: str) -> None:
        """In one piece, so that a process that is killed leaves whole lines."""
        files, path = fsspec.core.url_to_fs(self._join(self.log_dir, name))
        with files.open(path, "ab") as file:
            file.write(text.encode())


def _quoted(cells: list[str]) -> list[str]:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return [out.getvalue()]


def _as_csv(rows: list[Row], columns: list[str]) -> str:
    out = io.StringIO()
    csv.DictWriter(out, columns, restval="", lineterminator="\n").writerows(rows)
    return out.getvalue()
