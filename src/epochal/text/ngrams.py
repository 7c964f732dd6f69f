"""N-grams of many texts at once: how many of those of a text are in its references, too.

Tokens are numbered, and the texts joined end to end. An n-gram is a number, too: that of its first n - 1 tokens times the size of
the vocabulary, plus its last token. Where that would leave int64, n-grams are numbered anew by their ranks, so that none are
confused. A sort of these numbers, each followed by the text or reference that it is in, counts all n-grams of an order in all of
them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from epochal.ranks import dense_ranks

Integers: TypeAlias = npt.NDArray[np.int64]  # on the host, where texts are: an operation on a few costs a third of torch's


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts and of their references, joined end to end: first those of all texts, then of all references."""

    numbers: Integers
    size: int  # of the vocabulary
    lengths: Integers  # of each text and reference
    owners: Integers  # of each reference the text that it belongs to: ascending, and each text has one

    @property
    def preds(self) -> Integers:
        """The lengths of the texts."""
        return self.lengths[: self.lengths.shape[0] - self.owners.shape[0]]

    @property
    def target(self) -> Integers:
        """The lengths of the references."""
        return self.lengths[self.lengths.shape[0] - self.owners.shape[0] :]


def words(preds: Iterable[Sequence[str]], target: Iterable[Iterable[Sequence[str]]]) -> Tokens:
    """Of texts and their references, each a list of words."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new word has the next number
    flat: list[int] = []
    lengths: list[int] = []
    owners: list[int] = []

    def add(text: Sequence[str]) -> None:
        flat.extend(map(numbers.__getitem__, text))
        lengths.append(len(text))

    for text in preds:
        add(text)
    for owner, references in enumerate(target):
        for text in references:
            add(text)
            owners.append(owner)
    return Tokens(_integers(flat), len(numbers), _integers(lengths), _integers(owners))


def characters(preds: Sequence[str], target: Sequence[Sequence[str]]) -> Tokens:
    """Of texts and their references, each a string."""
    texts = [*preds, *chain.from_iterable(target)]
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.int32)
    numbers, sizes = dense_ranks(torch.from_numpy(points.copy()))
    owners = [owner for owner, references in enumerate(target) for _ in references]
    return Tokens(numbers.numpy(), sizes.shape[0], _integers([len(text) for text in texts]), _integers(owners))


@dataclass(frozen=True)
class Overlap:
    """N-grams of one order: of each text and reference, of both at once, and of a text and the best of all its references."""

    preds: Integers  # (texts,)
    target: Integers  # (references,)
    common: Integers  # (references,): those of a reference and its text, each as often as it is in both
    clipped: Integers  # (texts,): those of a text, each as often as some reference has it


LIMIT = 1 << 62


def overlaps(tokens: Tokens, orders: int) -> Iterator[Overlap]:
    """Those of order 1, 2, ... up to ``orders``."""
    texts, each = tokens.preds.shape[0], np.arange(tokens.lengths.shape[0])
    places = np.arange(tokens.owners.shape[0]) - np.flatnonzero(begins(tokens.owners))[tokens.owners] + 1
    columns = 1 + int(places.max(initial=0))  # of a text: itself, then its references
    text = np.repeat(each, tokens.lengths)
    left = tokens.lengths.cumsum()[text] - np.arange(text.shape[0])  # in its text, from each token on
    row, rows = np.concatenate([each[:texts] * columns, tokens.owners * columns + places])[text], max(1, texts * columns)
    grams, size = tokens.numbers, max(1, tokens.size)
    for order in range(1, orders + 1):
        if order > 1:  # also over the ends of texts: left out below
            if size * tokens.size >= LIMIT // rows:
                ranks, sizes = dense_ranks(torch.from_numpy(grams))
                grams, size = ranks.numpy(), sizes.shape[0]
            grams, size = grams[:-1] * tokens.size + tokens.numbers[order - 1 :], size * tokens.size
        keys = (grams * rows + row[: grams.shape[0]])[left[: grams.shape[0]] >= order]
        common, clipped = _shared(keys, texts, columns)
        lengths = (tokens.lengths - (order - 1)).clip(0)
        yield Overlap(lengths[:texts], lengths[texts:], common[tokens.owners, places - 1], clipped)


def _shared(keys: Integers, texts: int, columns: int) -> tuple[Integers, Integers]:
    """What each reference has in common with its text ``(texts, columns - 1)``, and all of them together ``(texts,)``.

    ``keys``: the n-gram, the text, and the column, 0 for the text itself.
    """
    cells = torch.from_numpy(keys).sort().values.numpy()  # a radix sort, unlike NumPy's
    new = begins(cells)
    counts = np.diff(np.flatnonzero(new), append=cells.shape[0])
    grams, column = np.divmod(cells[new], columns)
    first = begins(grams)
    table = np.zeros((np.count_nonzero(first), columns), dtype=np.int64)
    table[first.cumsum() - 1, column] = counts
    both = np.minimum(table[:, :1], table[:, 1:])
    both = np.concatenate([both, both.max(1, keepdims=True, initial=0)], 1)
    at = (grams[first] % max(1, texts))[:, None] * columns + np.arange(columns)
    summed = np.bincount(at.ravel(), both.ravel(), texts * columns).astype(np.int64).reshape(texts, columns)
    return summed[:, :-1], summed[:, -1]


def begins(ascending: Integers) -> npt.NDArray[np.bool_]:
    """Where a number is another than the one before."""
    new = np.ones(ascending.shape, dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return new


def first_best(scores: npt.NDArray[np.float64], owners: Integers) -> Integers:
    """Of each text the reference with the highest score, the first of equals."""
    first = np.flatnonzero(begins(owners))
    best = np.maximum.reduceat(scores, first) if first.shape[0] else scores
    candidates = np.flatnonzero(scores == best[owners])
    return candidates[begins(owners[candidates])]


def _integers(numbers: Any) -> Integers:
    return np.array(numbers, dtype=np.int64)
