"""Operating points: how many positives and negatives score at least each threshold.

What curves, the areas under them and the best threshold under a condition read. They come from rows of scores, which are sorted
when somebody asks (:class:`RowPoints`), or from counts by value (:func:`points_of`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from epochal import check
from epochal.numeric import derived, wide

LARGEST = {2: 0x7FFF, 4: 0x7FFFFFFF}  # integer of a width in bytes
INTEGERS = {2: torch.int16, 4: torch.int32}


class Points:
    """At ascending ``thresholds``: ``tp`` and ``fp``, the positives and negatives that score at least as much, of ``positives``
    and ``negatives`` in all. Float64, of shape (..., thresholds) and (...).

    ``exact``: the thresholds are all the scores that occur, so that the first takes all. A rate over no samples is NaN.
    """

    thresholds: Tensor
    tp: Tensor
    fp: Tensor
    positives: Tensor
    negatives: Tensor
    exact = False

    def __init__(
        self, thresholds: Tensor, tp: Tensor, fp: Tensor, positives: Tensor, negatives: Tensor, *, exact: bool = False
    ) -> None:
        self.thresholds, self.tp, self.fp = thresholds, tp, fp
        self.positives, self.negatives, self.exact = positives, negatives, exact

    @derived
    def recall(self) -> Tensor:
        """Also the true positive rate."""
        return self.tp / self.positives.unsqueeze(-1)

    @derived
    def fpr(self) -> Tensor:
        """The false positive rate: 1 less the specificity."""
        return self.fp / self.negatives.unsqueeze(-1)

    @derived
    def precision(self) -> Tensor:
        return self.tp / (self.tp + self.fp)

    @derived
    def closed(self) -> Points:
        """With both ends, a threshold that all reach and one that none does, where areas begin and end."""
        ends = (self.positives, self.negatives)
        tp, fp = (
            torch.cat([end.unsqueeze(-1), part, torch.zeros_like(end).unsqueeze(-1)], -1)
            for end, part in zip(ends, (self.tp, self.fp), strict=True)
        )
        infinite = self.thresholds.new_full((1,), torch.inf)
        return Points(torch.cat([-infinite, self.thresholds, infinite]), tp, fp, *ends, exact=self.exact)

    @derived
    def wins(self) -> Tensor:
        """In how many pairs a positive scores more than a negative; ties count half."""
        points = self.closed
        width, height = points.fp[..., :-1] - points.fp[..., 1:], points.tp[..., :-1] + points.tp[..., 1:]
        return (width * height).sum(-1) / 2


class RowPoints(Points):
    """Of rows: a score each, and whether it is positive. What nobody asks for is not computed.

    ``scale``: of scores, as which they are thresholds.
    """

    exact = True

    def __init__(self, scores: Tensor, positive: Tensor, scale: Callable[[Tensor], Tensor]) -> None:
        self.scores, self.positive, self.scale = scores, positive, scale

    positives = derived(lambda self: wide(self.positive.sum()))
    negatives = derived(lambda self: self.positive.numel() - self.positives)
    thresholds = derived(lambda self: self.scale(self.steps.thresholds))
    tp = derived(lambda self: self.steps.tp)
    fp = derived(lambda self: self.steps.fp)

    @derived
    def keys(self) -> Tensor:
        """A score of up to four bytes and its bit as one integer, sorted: in a third of the time of sorting indices."""
        whole = ordered(self.scores)
        narrow = self.scores.element_size() < 4
        if not narrow and whole.numel() and check.reads_values(whole.device):
            low, high = (int(end) for end in whole.aminmax())
            narrow = low >= 0 and high < 2**30  # 0 to 2: probabilities leave room for the bit
        return ascending((whole.int() if narrow else whole.long()).mul_(2).add_(self.positive))

    @derived
    def steps(self) -> Points:
        if self.scores.element_size() <= 4:
            whole = (self.keys >> 1).to(INTEGERS[self.scores.element_size()])
            values, positive = scores_of(whole, self.scores.dtype), self.keys & 1
        else:
            free = check.reads_values(self.scores.device)
            order = torch.from_numpy(self.scores.numpy().argsort()) if free else self.scores.argsort()
            values, positive = self.scores[order], self.positive[order].long()
        return points_of(values, positive)

    @derived
    def wins(self) -> Tensor:
        """By sums of ranks."""
        if self.scores.element_size() > 4:
            every, own = ascending(self.scores.clone()), ascending(self.scores[self.positive])
            ranks = torch.searchsorted(every, own) + torch.searchsorted(every, own, right=True)
            return wide(ranks.sum() - own.numel() ** 2) / 2
        keys = self.keys  # of equal scores, negatives come first
        at = (keys & 1).nonzero()
        pairs = at.sum() - at.numel() * (at.numel() - 1) // 2
        last = (keys[1:] ^ keys[:-1] == 1).nonzero()  # negative that has equal positives behind it
        tied = (last + 1 - torch.searchsorted(keys, keys[last])) * (torch.searchsorted(keys, keys[last + 1], right=True) - last - 1)
        return wide(2 * pairs - tied.sum()) / 2


def points_of(values: Tensor, positive: Tensor, samples: Tensor | None = None) -> Points:
    """Of ascending values, each of so many ``samples`` (None: one), of which some are positive; values that are equal are one
    threshold."""
    if not values.numel():
        nothing = wide(values)
        return Points(nothing, nothing, nothing, nothing.sum(), nothing.sum(), exact=True)
    first = torch.ones_like(values, dtype=torch.bool)
    torch.ne(values[1:], values[:-1], out=first[1:])
    starts = first.nonzero().squeeze(1)

    def reaching(counts: Tensor) -> tuple[Tensor, Tensor]:
        """How many reach each threshold, and how many there are."""
        upto = counts.cumsum(0)
        return wide(upto[-1] - upto[starts] + counts[starts]), wide(upto[-1])

    tp, positives = reaching(positive)
    if samples is None:
        every, total = wide(values.shape[0] - starts), values.shape[0] + 0 * positives
    else:
        every, total = reaching(samples)
    return Points(wide(values[starts]), tp, every - tp, positives, total - positives, exact=True)


# --- the order of scores -----------------------------------------------------------------------------------------------------


def ordered(scores: Tensor) -> Tensor:
    """Floats of two or four bytes as integers of the same order; zero has one sign."""
    bits = (scores + 0.0).view(INTEGERS[scores.element_size()])
    return _flipped(bits)


def scores_of(whole: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of :func:`ordered`."""
    return _flipped(whole).view(dtype)


def _flipped(bits: Tensor) -> Tensor:
    """The magnitude of a negative float grows where an integer's falls; its own inverse."""
    width = bits.element_size()
    return bits ^ ((bits >> (8 * width - 1)) & LARGEST[width])


def ascending(values: Tensor) -> Tensor:
    """Sorted, in place where NumPy does it, which knows the processor's vectors."""
    if not check.reads_values(values.device):
        return values.sort().values
    values.numpy().sort()
    return values
