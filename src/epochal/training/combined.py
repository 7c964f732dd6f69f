"""CombinedLoader: batches of several loaders, side by side or one loader after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from epochal import check
from epochal.training.data import is_several, length

MODES: dict[str, Callable[[list[float]], float]] = {
    "min_size": min,
    "max_size": max,
    "max_size_cycle": max,
    "sequential": sum,
}


class CombinedLoader:
    """Batches in the form of ``iterables``: a list or dict of loaders, of any depth, gives lists or dicts of batches.

    ``mode``: "min_size" ends with the shortest loader, "max_size_cycle" with the longest while the others begin again, "max_size"
    with the longest while the others give None; "sequential" gives the batches of one loader after the other, as they are.
    Iterating gives ``(batch, batch_idx, dataloader_idx)``, as in Lightning; :meth:`batches` gives batches.

    >>> list(CombinedLoader({"a": [1, 2], "b": [3]}, "max_size_cycle").batches())
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 3}]
    """

    def __init__(self, iterables: Any, mode: str = "min_size") -> None:
        check.choice(self, "mode", mode, tuple(MODES))
        self.iterables, self.mode = iterables, mode

    @property
    def flattened(self) -> list[Any]:
        """The loaders, in order."""
        return list(_leaves(self.iterables))

    def mapped(self, change: Callable[[Any], Any]) -> CombinedLoader:
        """The same with each loader changed."""
        return CombinedLoader(_filled(self.iterables, map(change, self.flattened)), self.mode)

    def batches(self) -> Iterator[Any]:
        """The batches alone."""
        return (batch for batch, _, _ in self)

    def __iter__(self) -> Iterator[tuple[Any, int, int]]:
        loaders = self.flattened
        if self.mode == "sequential":
            for loader_idx, loader in enumerate(loaders):
                for batch_idx, batch in enumerate(loader):
                    yield batch, batch_idx, loader_idx
            return
        for batch_idx, row in enumerate(self._rows(loaders)):
            yield _filled(self.iterables, iter(row)), batch_idx, 0

    def _rows(self, loaders: list[Any]) -> Iterator[tuple[Any, ...]]:
        if self.mode == "min_size":
            return zip(*loaders, strict=False)
        if self.mode == "max_size":
            return itertools.zip_longest(*loaders)
        return _cycling(loaders)

    def __len__(self) -> int:
        total = MODES[self.mode]([length(loader) for loader in self.flattened])
        if math.isinf(total):
            raise TypeError(check.message(self, "a loader has no length", "that of all is asked for", "Count batches yourself."))
        return int(total)


def _cycling(loaders: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Rows until each loader has ended once; one that ends earlier begins again."""
    running, ended = [iter(loader) for loader in loaders], [False] * len(loaders)
    while True:
        row = []
        for index, loader in enumerate(loaders):
            batch = next(running[index], _END)
            if batch is _END:
                ended[index] = True
                if all(ended):
                    return
                running[index] = iter(loader)
                batch = next(running[index], _END)
            if batch is _END:  # a loader without any batch
                return
            row.append(batch)
        yield tuple(row)


_END = object()


def _leaves(structure: Any) -> Iterator[Any]:
    if is_several(structure):
        for part in structure.values() if isinstance(structure, Mapping) else structure:
            yield from _leaves(part)
    else:
        yield structure


def _filled(structure: Any, values: Iterator[Any]) -> Any:
    """The structure with its leaves replaced, in order."""
    if not is_several(structure):
        return next(values)
    if isinstance(structure, Mapping):
        return {key: _filled(part, values) for key, part in structure.items()}
    return type(structure)(_filled(part, values) for part in structure)


def each(loader: Any, change: Callable[[Any], Any]) -> Any:
    """A loader changed, or each of those that are combined."""
    return loader.mapped(change) if isinstance(loader, CombinedLoader) else change(loader)


def members(loader: Any) -> list[Any]:
    """A loader, or those that are combined."""
    return loader.flattened if isinstance(loader, CombinedLoader) else [loader]


def batches_of(loader: Any) -> Any:
    """What a loop over it gives: batches."""
    return loader.batches() if isinstance(loader, CombinedLoader) else loader
