"""Every logger row of a run, in memory and bounded, as columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch

Row = dict[str, float]


class History(Mapping[str, list[float]]):
    """``history["val_loss"]`` is the list of its values so far, ``history.rows`` all rows with their ``step``."""

    LONGEST = 100_000  # rows; the oldest go first
    KEPT = 10_000  # of them in a checkpoint

    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=self.LONGEST)
        self._new: deque[tuple[Mapping[str, float], int]] = deque(maxlen=self.LONGEST)  # as they came, at every step

    def append(self, row: Mapping[str, float], step: int) -> None:
        """One more row, which nobody changes after."""
        self._new.append((row, step))

    @property
    def rows(self) -> deque[Row]:
        while self._new:
            row, step = self._new.popleft()
            self._rows.append({**row, "step": step})
        return self._rows

    @property
    def latest(self) -> Row | None:
        return self.rows[-1] if self.rows else None

    def since(self, row: Row | None) -> int:
        """How many rows came after this one, a :attr:`latest` of before."""
        return next((i for i, other in enumerate(reversed(self.rows)) if other is row), len(self.rows))

    def saved(self, less: int = 0) -> dict[str, Any]:
        """For a checkpoint: the latest rows but for the last of them, those of the same keys as one table, and their order."""
        tables: dict[tuple[str, ...], list[list[float]]] = {}
        order = []
        rows = list(self.rows)[: len(self.rows) - less][-self.KEPT :]
        for row in rows:
            keys = tuple(row)
            table = tables.setdefault(keys, [])
            order.append((keys, len(table)))
            table.append([float(row[key]) for key in keys])
        places = {keys: i for i, keys in enumerate(tables)}
        return {
            "keys": list(tables),
            "tables": [torch.tensor(table, dtype=torch.float64) for table in tables.values()],
            "order": torch.tensor([(places[keys], i) for keys, i in order], dtype=torch.int64).reshape(-1, 2),
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> History:
        """The counterpart of :meth:`saved`."""
        history = cls()
        tables = [table.tolist() for table in saved["tables"]]
        rows = history.rows
        for place, i in saved["order"].tolist():
            row = dict(zip(saved["keys"][place], tables[place][i], strict=True))
            rows.append(
                {key: int(value) if key in ("step", "epoch") and value.is_integer() else value for key, value in row.items()}
            )
        return history

    def __getitem__(self, key: str) -> list[float]:
        column = [row[key] for row in self.rows if key in row]
        if not column:
            raise KeyError(key)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for row in self.rows for key in row))

    def __len__(self) -> int:
        return len({key for row in self.rows for key in row})
