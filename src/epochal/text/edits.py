r"""Edits that turn one text into another: how many there are, and how many words stay.

Of the alignments of two sequences that have the fewest edits, S substitute, D delete, I insert, and H units stay. Their sum
S + D + I, the distance, is all that error rates read. H is read off an alignment, which takes longer: it is a statistic of its own,
of the metrics that need it. There may be several alignments with as few edits and different H; rapidfuzz's is taken, as by jiwer.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.extras import library
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import wide
from epochal.text.texts import TextMetric, Texts, pairs

LEVENSHTEIN = "rapidfuzz.distance.Levenshtein"
AT_ONCE = 64  # texts: the words of all at once would cost twice the time


class Errors(TextMetric):
    """Base of rates of edits: their number, and the units of target, which are words or characters."""

    higher_is_better = False
    plot_lower_bound = 0.0
    of_words: ClassVar[bool] = True

    def __init__(self, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        library(self, "text", LEVENSHTEIN)
        self.add_state("errors", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("length", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return "words" if self.of_words else "characters"

    def measure(self, preds: Texts, target: Texts) -> State:
        """Edits and the length of target, over all texts."""
        distance, split = library(self, "text", LEVENSHTEIN).distance, str.split if self.of_words else str
        preds, target = pairs(self, preds, target)
        errors = length = 0
        for start in range(0, len(target), AT_ONCE):
            units = list(map(split, target[start : start + AT_ONCE]))
            errors += sum(map(distance, units, map(split, preds[start : start + AT_ONCE])))
            length += sum(map(len, units))
        return {"errors": self.counts(errors), "length": self.counts(length)}

    def value(self, errors: Tensor, length: Tensor) -> Tensor:
        return rate(errors, length)


class Alignments(TextMetric):
    """Base of what reads the words that stay: hits, edits, and the words of both sides, over all texts."""

    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(self, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        library(self, "text", LEVENSHTEIN)
        for name in ("hits", "errors", "preds_length", "length"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return ()

    def measure(self, preds: Texts, target: Texts) -> State:
        """Words that stay, edits, and words, over all texts."""
        editops = library(self, "text", LEVENSHTEIN).editops
        hits = errors = preds_length = length = 0
        for text, wanted in zip(*pairs(self, preds, target), strict=True):
            x, y = text.split(), wanted.split()
            edits = editops(y, x).as_list()
            hits += len(y) - sum(1 for kind, _, _ in edits if kind != "insert")
            errors += len(edits)
            preds_length += len(x)
            length += len(y)
        counted = {"hits": hits, "errors": errors, "preds_length": preds_length, "length": length}
        return {name: self.counts(number) for name, number in counted.items()}

    def derive(self, hits: Tensor, errors: Tensor, preds_length: Tensor, length: Tensor) -> dict[str, Any]:
        """Also the share of information preserved, which is 1 where there is nothing to tell apart."""
        kept = wide(hits).square() / (preds_length * length)
        preserved = torch.where(errors == 0, 1.0, torch.where(hits == 0, 0.0, kept))
        return {"hits": hits, "errors": errors, "preserved": preserved}


def rate(errors: Tensor, length: Tensor) -> Tensor:
    """0 where there is no error, also of nothing."""
    return torch.where(errors == 0, 0.0, wide(errors) / length)


class WordErrorRate(Errors):
    r"""Word error rate: edits for each word of the target.

    .. math:: \frac{S + D + I}{N}

    with the substituted, deleted and inserted words of the shortest way from target to preds, and N words in target.
    ``update(preds, target)``: a text or a list of texts each; words stand between white space. ``compute()``: a scalar, at least 0;
    0 where there is no error, also without data; infinity where only target is empty.

    Raises:
        TypeError: what is no string. ValueError: other numbers of texts. ModuleNotFoundError: the extra ``text`` is not installed.

    Source: A. C. Morris, V. Maier and P. Green, From WER and RIL to MER and WIL, 2004; V. I. Levenshtein, 1966.

    >>> WordErrorRate()(["this is the prediction"], ["this is a reference"])
    tensor(0.5000)
    """


def word_error_rate(preds: Texts, target: Texts) -> Tensor:
    """Functional form of :class:`WordErrorRate`."""
    return fixed(WordErrorRate).of(preds, target)


class CharErrorRate(Errors):
    r"""Character error rate: edits for each character of the target, white space among them.

    .. math:: \frac{S + D + I}{N}

    As :class:`WordErrorRate`, of the characters as they are: nothing is stripped.

    >>> CharErrorRate()(["this is the prediction"], ["this is the predicate"])
    tensor(0.1905)
    """

    of_words = False


def char_error_rate(preds: Texts, target: Texts) -> Tensor:
    """Functional form of :class:`CharErrorRate`."""
    return fixed(CharErrorRate).of(preds, target)


class MatchErrorRate(Alignments):
    r"""Match error rate: the share of edits among edits and words that stay, in [0, 1].

    .. math:: \frac{S + D + I}{H + S + D + I}

    ``update`` and errors as in :class:`WordErrorRate`. ``compute()``: a scalar; 0 where there is no error.

    Source: A. C. Morris, V. Maier and P. Green, From WER and RIL to MER and WIL, 2004.

    >>> MatchErrorRate()(["this is the prediction"], ["this is a reference"])
    tensor(0.5000)
    """

    higher_is_better = False

    def value(self, hits: Tensor, errors: Tensor, **_: Any) -> Tensor:
        return rate(errors, hits + errors)


def match_error_rate(preds: Texts, target: Texts) -> Tensor:
    """Functional form of :class:`MatchErrorRate`."""
    return fixed(MatchErrorRate).of(preds, target)


class WordInfoPreserved(Alignments):
    r"""Word information preserved: the share of words that stay, among those of target times among those of preds, in [0, 1].

    .. math:: \frac{H}{N} \cdot \frac{H}{P}

    with N words in target and P in preds. ``update`` and errors as in :class:`WordErrorRate`. ``compute()``: a scalar; 1 where
    there is no error.

    Source: A. C. Morris, V. Maier and P. Green, From WER and RIL to MER and WIL, 2004.

    >>> WordInfoPreserved()(["this is the prediction"], ["this is a reference"])
    tensor(0.2500)
    """

    higher_is_better = True

    def value(self, preserved: Tensor, **_: Any) -> Tensor:
        return preserved


def word_information_preserved(preds: Texts, target: Texts) -> Tensor:
    """Functional form of :class:`WordInfoPreserved`."""
    return fixed(WordInfoPreserved).of(preds, target)


class WordInfoLost(Alignments):
    r"""Word information lost: what :class:`WordInfoPreserved` leaves, in [0, 1].

    .. math:: 1 - \frac{H}{N} \cdot \frac{H}{P}

    >>> WordInfoLost()(["this is the prediction"], ["this is a reference"])
    tensor(0.7500)
    """

    higher_is_better = False

    def value(self, preserved: Tensor, **_: Any) -> Tensor:
        return 1 - preserved


def word_information_lost(preds: Texts, target: Texts) -> Tensor:
    """Functional form of :class:`WordInfoLost`."""
    return fixed(WordInfoLost).of(preds, target)


REDUCTIONS = ("mean", "sum", "none", None)


class EditDistance(TextMetric):
    r"""Levenshtein's distance of texts: the least cost of edits of characters that turn one into the other.

    ``update(preds, target)``: a text or a list of texts each. ``compute()``: a scalar, NaN without data for the mean; for "none"
    ``(N,)``, in the order of the data.

    Args:
        substitution_cost: of a substitution, an integer of at least 0; deletions and insertions cost 1.
        reduction: over texts: "mean", "sum", "none" or None.

    Raises:
        TypeError: what is no string. ValueError: other numbers of texts. ModuleNotFoundError: the extra ``text`` is not installed.

    Source: V. I. Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals, 1966.

    >>> EditDistance()(["rain"], ["shine"])
    tensor(3.)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, substitution_cost: int = 1, reduction: str | None = "mean", **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        check.whole(self, "substitution_cost", substitution_cost, 0)
        check.choice(self, "reduction", reduction, REDUCTIONS)
        library(self, "text", LEVENSHTEIN)
        self.substitution_cost, self.reduction = substitution_cost, reduction
        if reduction in ("mean", "sum"):
            self.add_state("distance", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        else:
            self.add_state("distance", [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        return self.substitution_cost, self.reduction in ("mean", "sum")

    def measure(self, preds: Texts, target: Texts) -> State:
        """The distance of each text, or their sum and number."""
        preds, target = pairs(self, preds, target)
        distance, weights = library(self, "text", LEVENSHTEIN).distance, (1, 1, self.substitution_cost)
        distances = [distance(x, y, weights=weights) for x, y in zip(preds, target, strict=True)]
        if self.reduction in ("mean", "sum"):
            return {"distance": self.counts(sum(distances)), "count": self.counts(len(distances))}
        return {"distance": self.counts(distances)}

    def value(self, distance: Tensor, count: Tensor | None = None) -> Tensor:
        return wide(distance) / count if self.reduction == "mean" and count is not None else distance.long()


def edit_distance(preds: Texts, target: Texts, substitution_cost: int = 1, reduction: str | None = "mean") -> Tensor:
    """Functional form of :class:`EditDistance`."""
    return fixed(EditDistance, substitution_cost, reduction).of(preds, target)
