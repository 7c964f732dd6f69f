"""chrF: n-grams of characters and words that a text and its best reference have in common; summed over a corpus."""

from __future__ import annotations

import math
import string
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import wide
from epochal.text.ngrams import characters, first_best, overlaps, words
from epochal.text.texts import References, TextMetric, Texts, references

PREDS, TARGET, COMMON = range(3)
PUNCTUATION = frozenset(string.punctuation)


class CHRFScore(TextMetric):
    r"""chrF: the F-score of n-grams of characters, and of words (chrF++).

    .. math:: F_\beta = \frac{(1 + \beta^2) P R}{\beta^2 P + R}

    with P and R the means over the orders of n-grams of their precision and recall in all texts; an order that texts or references
    are too short for is left out. Of several references the one with the highest score of its text counts.
    ``update(preds, target)``: a text or a list of texts; for each a list of references, or one. ``compute()``: a scalar in [0, 1],
    0 without data; or (score, score of each text ``(N,)`` in the order of the data).

    Args:
        n_char_order: the longest n-grams of characters.
        n_word_order: the longest n-grams of words; 0: none, which is chrF. Punctuation at the end or the start of a word is a word.
        beta: how much more recall counts than precision, a positive number.
        lowercase: whether case is of no matter.
        whitespace: whether white space counts as characters.
        return_sentence_level_score: whether to return the score of each text, too.

    Raises:
        TypeError: what is no string. ValueError: other numbers of texts, a text without a reference.

    Source: M. Popović, chrF++: words helping character n-grams, 2017; edge cases as in sacrebleu.

    >>> CHRFScore()(["the cat is on the mat"], [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.8648)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(
        self,
        n_char_order: int = 6,
        n_word_order: int = 2,
        beta: float = 2.0,
        lowercase: bool = False,
        whitespace: bool = False,
        return_sentence_level_score: bool = False,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.whole(self, "n_char_order", n_char_order, 1)
        check.whole(self, "n_word_order", n_word_order, 0)
        check.number(self, "beta", beta, 0)
        if beta in (0, math.inf):
            check.fail(self, f"beta is {beta!r}", "a positive number is needed")
        self.n_char_order, self.n_word_order, self.beta = n_char_order, n_word_order, float(beta)
        self.lowercase, self.whitespace = lowercase, whitespace
        self.return_sentence_level_score = return_sentence_level_score
        self.add_state("ngrams", torch.zeros(n_char_order + n_word_order, 3, dtype=torch.int64), dist_reduce_fx="sum")
        if return_sentence_level_score:
            self.add_state("sentences", [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        kept = self.return_sentence_level_score
        return self.n_char_order, self.n_word_order, self.beta, self.lowercase, self.whitespace, kept

    def measure(self, preds: Texts, target: References) -> State:
        """N-grams of the texts, of their best references, and of both at once, of each order, over all texts."""
        preds, target = references(self, preds, target)
        if self.lowercase:
            preds, target = [text.lower() for text in preds], [[text.lower() for text in given] for given in target]
        letters = characters([self.letters(text) for text in preds], [[self.letters(t) for t in given] for given in target])
        found = list(overlaps(letters, self.n_char_order))
        if self.n_word_order:
            parted = words(map(parts, preds), (map(parts, given) for given in target))
            found += overlaps(parted, self.n_word_order)
        rows = [np.stack([o.preds[letters.owners] * (o.target > 0), o.target, o.common], -1) for o in found]
        counts = torch.from_numpy(np.stack(rows, 1))  # (references, orders, 3)
        scores = f_score(counts, self.beta)
        best = first_best(scores.numpy(), letters.owners)
        state = {"ngrams": self.counts(counts[best].sum(0))}
        return {**state, "sentences": self.placed("sentences", scores[best])} if self.return_sentence_level_score else state

    def letters(self, text: str) -> str:
        return text if self.whitespace else "".join(text.split())

    def value(self, ngrams: Tensor, sentences: Tensor | None = None) -> Any:
        score = f_score(ngrams, self.beta)
        return score if sentences is None else (score, wide(sentences))


def f_score(counts: Tensor, beta: float) -> Tensor:
    """Of n-grams ``(..., orders, 3)``."""
    preds, target, common = wide(counts).unbind(-1)
    orders = ((preds > 0) & (target > 0)).sum(-1).clamp_min(1)
    precision = (common / preds.clamp_min(1)).sum(-1) / orders
    recall = (common / target.clamp_min(1)).sum(-1) / orders
    weighed = beta**2 * precision + recall
    return torch.where(weighed > 0, (1 + beta**2) * precision * recall / weighed, 0.0)


def parts(text: str) -> list[str]:
    """Words, and punctuation that ends or else begins a word as a word of its own."""
    found = []
    for word in text.split():
        if word.isalnum() or len(word) == 1:
            found.append(word)
        elif word[-1] in PUNCTUATION:
            found += (word[:-1], word[-1])
        elif word[0] in PUNCTUATION:
            found += (word[0], word[1:])
        else:
            found.append(word)
    return found


def chrf_score(
    preds: Texts,
    target: References,
    n_char_order: int = 6,
    n_word_order: int = 2,
    beta: float = 2.0,
    lowercase: bool = False,
    whitespace: bool = False,
    return_sentence_level_score: bool = False,
) -> Any:
    """Functional form of :class:`CHRFScore`."""
    kept = return_sentence_level_score
    return fixed(CHRFScore, n_char_order, n_word_order, beta, lowercase, whitespace, kept).of(preds, target)
