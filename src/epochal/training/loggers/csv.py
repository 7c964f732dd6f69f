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
import time
from collections.abc import Mapping

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
        self._late: list[str] = []  # keys that it lacks

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
        self._held.append({**row, "step": len(self._held) if step is None else step})
        now = time.monotonic()
        if len(self._held) == 1:
            self._since = now
        if len(self._held) >= self.flush_logs_every_n_steps or now - self._since > self.HOLD:
            self.flush()

    def flush(self) -> None:
        """Append the rows that are held."""
        if not self._held:
            return
        rows, self._held = self._held, []
        self._make_folder()
        self._append("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        if self._columns is None:
            self._columns = _ordered(rows)
            self._write_wide(rows)
            return
        known = set(self._columns)
        self._late += [key for row in rows for key in row if key not in known]
        if self._late:
            return  # until the epoch's end the journal alone has them
        self._append("metrics.csv", _as_csv(rows, self._columns))

    def save(self) -> None:
        """Write all, and the wide file anew if keys came late."""
        self.flush()
        if self._late:
            self._rewrite()

    def _rewrite(self) -> None:
        with fsspec.open(self._join(self.log_dir, "metrics.jsonl"), "r") as file:
            rows = [json.loads(line) for line in file]
        self._columns, self._late = _ordered(rows), []
        self._write_wide(rows)

    def _write_wide(self, rows: list[Row]) -> None:
        assert self._columns is not None
        files, path = fsspec.core.url_to_fs(self.path)
        with files.open(path + ".new", "w") as file:
            file.write(",".join(_quoted(self._columns)) + "\n" + _as_csv(rows, self._columns))
        files.mv(path + ".new", path)

    def _append(self, name: str, text: str) -> None:
        with fsspec.open(self._join(self.log_dir, name), "a") as file:
            file.write(text)


def _ordered(rows: list[Row]) -> list[str]:
    return sorted({key for row in rows for key in row})


def _quoted(cells: list[str]) -> list[str]:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return [out.getvalue()]


def _as_csv(rows: list[Row], columns: list[str]) -> str:
    out = io.StringIO()
    csv.DictWriter(out, columns, restval="", lineterminator="\n").writerows(rows)
    return out.getvalue()
