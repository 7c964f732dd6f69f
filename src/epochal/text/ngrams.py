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

import numpy as np
import torch
from torch import Tensor

from epochal.ranks import dense_ranks


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts and of their references, joined end to end: first those of all texts, then of all references."""

    numbers: Tensor
    size: int  # of the vocabulary
    lengths: Tensor  # of each text and reference
    owners: Tensor  # of each reference the text that it belongs to, ascending

    @property
    def preds(self) -> Tensor:
        """The lengths of the texts."""
        return self.lengths[: self.lengths.shape[0] - self.owners.shape[0]]

    @property
    def target(self) -> Tensor:
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
    return Tokens(torch.tensor(flat, dtype=torch.int64), len(numbers), _integers(lengths), _integers(owners))


def characters(preds: Sequence[str], target: Sequence[Sequence[str]]) -> Tokens:
    """Of texts and their references, each a string."""
    texts = [*preds, *chain.from_iterable(target)]
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.int32)
    numbers, sizes = dense_ranks(torch.from_numpy(points.copy()))
    owners = [owner for owner, references in enumerate(target) for _ in references]
    return Tokens(numbers, sizes.shape[0], _integers([len(text) for text in texts]), _integers(owners))


@dataclass(frozen=True)
class Overlap:
    """N-grams of one order: of each text and reference, of both at once, and of a text and the best of all its references."""

    preds: Tensor  # (texts,)
    target: Tensor  # (references,)
    common: Tensor  # (references,): those of a reference and its text, each as often as it is in both
    clipped: Tensor  # (texts,): those of a text, each as often as some reference has it


LIMIT = 1 << 62


def overlaps(tokens: Tokens, orders: int) -> Iterator[Overlap]:
    """Those of order 1, 2, ... up to ``orders``."""
    texts, each = tokens.preds.shape[0], torch.arange(tokens.lengths.shape[0])
    places = _places(tokens.owners, texts)
    columns = 1 + int(places.max()) if places.numel() else 1  # of a text: itself, then its references
    row = torch.cat([each[:texts] * columns, tokens.owners * columns + places])
    text = torch.repeat_interleave(each, tokens.lengths)
    left = tokens.lengths.cumsum(0)[text] - torch.arange(text.shape[0])  # in its text, from each token on
    row, rows = row[text], max(1, texts * columns)
    grams, size = tokens.numbers, max(1, tokens.size)
    for order in range(1, orders + 1):
        if order > 1:  # also over the ends of texts: left out below
            if size * tokens.size >= LIMIT // rows:
                grams, sizes = dense_ranks(grams)
                size = sizes.shape[0]
            grams, size = grams[:-1] * tokens.size + tokens.numbers[order - 1 :], size * tokens.size
        keys = grams * rows + row[: grams.shape[0]]
        common, clipped = _shared(keys[left[: grams.shape[0]] >= order], texts, columns)
        lengths = (tokens.lengths - (order - 1)).clamp_min(0)
        yield Overlap(lengths[:texts], lengths[texts:], common[tokens.owners, places - 1], clipped)


def _shared(keys: Tensor, texts: int, columns: int) -> tuple[Tensor, Tensor]:
    """What each reference has in common with its text ``(texts, columns - 1)``, and all of them together ``(texts,)``.

    ``keys``: the n-gram, the text, and the column, 0 for the text itself.
    """
    cells, counts = torch.unique_consecutive(torch.sort(keys).values, return_counts=True)
    grams, at = torch.unique_consecutive(cells // columns, return_inverse=True)
    table = counts.new_zeros(grams.shape[0], columns)
    table[at, cells % columns] = counts
    both = torch.minimum(table[:, :1], table[:, 1:])
    best = both.amax(1) if columns > 1 else both.sum(1)
    summed = counts.new_zeros(texts, columns).index_add_(0, grams % max(1, texts), torch.cat([both, best[:, None]], 1))
    return summed[:, :-1], summed[:, -1]


def _places(owners: Tensor, texts: int) -> Tensor:
    """Of each reference its number among those of its text, from 1 on."""
    before = torch.bincount(owners, minlength=texts).cumsum(0)
    first = torch.cat([before.new_zeros(1), before])[owners]
    return torch.arange(owners.shape[0]) - first + 1


def first_best(scores: Tensor, owners: Tensor, texts: int) -> Tensor:
    """Of each text the reference with the highest score, the first of equals."""
    best = scores.new_full((texts,), -torch.inf).scatter_reduce_(0, owners, scores, "amax")
    number = torch.arange(owners.shape[0])
    candidates = torch.where(scores == best[owners], number, owners.shape[0])
    return number.new_full((texts,), owners.shape[0]).scatter_reduce_(0, owners, candidates, "amin")


def _integers(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)
