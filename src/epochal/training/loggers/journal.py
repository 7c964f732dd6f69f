"""The rows of a run as they came, a line of JSON each: never written anew, so that a row costs the same however many there are."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from epochal.training import storage

Row = dict[str, float]
Keys = tuple[str, ...]
Texts = tuple[Keys, list[str]]  # a row whose numbers stay as they are written: to make and to write numbers is most of its cost
_AS_TEXT = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda name: str(float(name)))
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as JSON spells them
_AT_ONCE = 1000  # lines


def _as_json(keys: Keys, texts: list[str]) -> str:
    if not _NOT_FINITE.keys().isdisjoint(texts):
        texts = [_NOT_FINITE.get(text, text) for text in texts]
    return _form(keys)(*texts)


@functools.lru_cache(256)
def _form(keys: Keys) -> Callable[..., str]:
    """What rows of the same keys have in common."""
    names = [json.dumps(key).replace("{", "{{").replace("}", "}}") for key in keys]
    return ("{{" + ", ".join([f"{name}: {{}}" for name in names]) + "}}\n").format


class Journal:
    """A file that grows by what is appended.

    Object stores cannot append: there each piece is a file of its own, named after the number of its first row
    (``metrics.jsonl.1200``), until :meth:`join` makes one of all.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._grows = storage.is_local(path)
        self._rows: int | None = None  # None: nobody has looked
        self._pieces = False

    def open(self) -> list[str]:
        """Go on with the rows that are there, less one that a killed process left half written. Returns their keys."""
        storage.make_folder(os.path.dirname(self.path))
        count, keys = 0, dict[str, None]()
        for found, _ in self:
            count += 1
            keys.update(dict.fromkeys(found))
        self._pieces = bool(storage.exists(self.path) or self._parts())
        self.join()
        self._rows = count
        return list(keys)

    def append(self, rows: Iterable[Row]) -> list[Texts]:
        """In one piece, so that a process that is killed leaves whole lines. Returns the rows as they are written."""
        assert self._rows is not None
        written = [(tuple(row), list(map(repr, row.values()))) for row in rows]
        lines = [_as_json(*row) for row in written]
        if self._grows:
            storage.append("".join(lines), self.path)
        else:
            storage.write_text("".join(lines), f"{self.path}.{self._rows}")
            self._pieces = True
        self._rows += len(lines)
        return written

    def join(self) -> None:
        """One file of all pieces; a process that is killed in between counts no row twice."""
        if self._pieces:
            storage.put(self.path, self._copy)
            for _, piece in self._parts():
                storage.remove(piece)
            self._pieces = False

    def _copy(self, file: Any) -> None:
        for line in self._lines():
            file.write(line)

    def __iter__(self) -> Iterator[Texts]:
        """The rows, one at a time."""
        lines = self._lines()
        while some := list(islice(lines, _AT_ONCE)):
            for row in _AS_TEXT.decode(f"[{b','.join(some).decode()}]"):
                yield tuple(row), list(row.values())

    def _lines(self) -> Iterator[bytes]:
        count = 0
        whole = [(0, self.path)] if storage.exists(self.path) else []
        for first, path in whole + self._parts():
            if first < count:
                continue  # it was joined, and not yet removed
            with storage.opened(path) as file:
                for line in file:
                    if line.endswith(b"\n"):
                        count += 1
                        yield line

    def _parts(self) -> list[tuple[int, str]]:
        folder, name = os.path.split(self.path)
        endings = [found.removeprefix(f"{name}.") for found in storage.names(folder) if found.startswith(f"{name}.")]
        return [(first, f"{self.path}.{first}") for first in sorted(int(ending) for ending in endings if ending.isdigit())]
