"""Every logger row of a run, in memory and bounded, as columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

Row = dict[str, float]


class History(Mapping[str, list[float]]):
    """``history["val_loss"]`` is the list of its values so far, ``history.rows`` all rows with their ``step``."""

    LONGEST = 100_000  # rows; the oldest go first

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=self.LONGEST)

    def append(self, row: Mapping[str, float], step: int) -> None:
        self.rows.append({**row, "step": step})

    def __getitem__(self, key: str) -> list[float]:
        column = [row[key] for row in self.rows if key in row]
        if not column:
            raise KeyError(key)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for row in self.rows for key in row))

    def __len__(self) -> int:
        return len({key for row in self.rows for key in row})
