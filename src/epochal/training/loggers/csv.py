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
from typing import Any

import fsspec

from epochal.training.loggers.logger import Logger

Row = dict[str, float]


class CSVLogger(Logger):
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
        self._save_dir, self._name, self._version, self._prefix = os.fspath(save_dir), name or "", version, prefix
        self.flush_logs_every_n_steps = flush_logs_every_n_steps
        self._held: list[Row] = []
        self._since = 0.0
        self._columns: list[str] | None = None  # of the wide file as it is
        self._late: list[str] = []  # keys that it lacks

    @property
    def name(self) -> str:
        return self._name

    @property
    def save_dir(self) -> str:
        return self._save_dir

    @property
    def root_dir(self) -> str:
        return self._join(self._save_dir, self._name) if self._name else self._save_dir

    @property
    def version(self) -> int | str:
        """The number of the run: one more than the highest there is."""
        if self._version is None:
            self._version = self._next_version()
        return self._version

    def follow(self, version: int | str | None) -> None:
        self._version = version

    @property
    def log_dir(self) -> str:
        return self._join(self.root_dir, self.version if isinstance(self.version, str) else f"version_{self.version}")

    @property
    def path(self) -> str:
        return self._join(self.log_dir, "metrics.csv")

    @property
    def experiment(self) -> CSVLogger:
        return self

    @staticmethod
    def _join(*parts: str) -> str:
        return "/".join(part.rstrip("/") for part in parts)

    def _next_version(self) -> int:
        files, root = fsspec.core.url_to_fs(self.root_dir)
        if not files.isdir(root):
            return 0
        names = [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in files.ls(root, detail=True)]
        numbers = [name.removeprefix("version_") for name in names if name.startswith("version_")]
        return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {f"{self._prefix}-{key}" if self._prefix else key: float(value) for key, value in metrics.items()}
        for key in row:
            if key == "epoch":
                row[key] = int(row[key])
        self._held.append({**row, "step": len(self._held) if step is None else step})
        now = time.monotonic()
        if len(self._held) == 1:
            self._since = now
        if len(self._held) >= self.flush_logs_every_n_steps or now - self._since > self.HOLD:
            self.flush()

    def log_hyperparams(self, params: Any = None, *_: Any, **__: Any) -> None:
        """Into ``hparams.yaml``, one key a line."""
        values = params if isinstance(params, Mapping) else vars(params) if params is not None else {}
        self._make_folder()
        with fsspec.open(self._join(self.log_dir, "hparams.yaml"), "w") as file:
            file.writelines(f"{key}: {json.dumps(value, default=str)}\n" for key, value in sorted(values.items()))

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

    def _make_folder(self) -> None:
        files, path = fsspec.core.url_to_fs(self.log_dir)
        files.makedirs(path, exist_ok=True)


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
