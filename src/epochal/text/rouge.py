"""ROUGE: n-grams and subsequences that a summary and its references have in common; each text scored, and the scores added."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.extras import library
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import TINY
from epochal.text.ngrams import Integers, first_best, overlaps, words
from epochal.text.subsequences import common_places
from epochal.text.texts import References, TextMetric, Texts, references

KEYS = (*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum")
LCS, STEMMER = "rapidfuzz.distance.LCSseq", "nltk.stem.porter"
READINGS = ("precision", "recall", "fmeasure")
FMEASURE = 2
Scores: TypeAlias = npt.NDArray[np.float64]  # precision, recall and F in the last dimension
Lengths: TypeAlias = tuple[int, int, int]  # of what a text and a reference have in common, of the text, of the reference


class ROUGEScore(TextMetric):
    r"""ROUGE: the recall and precision of a summary's n-grams, or of its longest common subsequence with a reference.

    .. math:: R = \frac{\text{in both}}{\text{in the reference}}, \quad P = \frac{\text{in both}}{\text{in the summary}}, \quad
        F = \frac{2 P R}{P + R}

    "rouge1" to "rouge9" count n-grams, each as often as it is in both; "rougeL" the longest common subsequence; "rougeLsum" for
    each line of the reference the union of its subsequences with all lines of the summary. ``update(preds, target)``: a text or a
    list of texts; for each a list of references, or one. ``compute()``: a dictionary of the means over texts, ``{key}_fmeasure``,
    ``{key}_precision`` and ``{key}_recall``, in [0, 1]; NaN without data.

    Args:
        use_stemmer: whether words of more than three letters lose their suffixes (Porter's).
        normalizer: a function of a text that returns it as words are to be made of it; default: lower case, and what is neither a
            letter a to z nor a digit is a space.
        tokenizer: a function of a text that returns its words; default: they stand between white space.
        accumulate: over references: "best", for each key the one with the highest F, or "avg", the mean.
        rouge_keys: which of them, one or several.

    Raises:
        TypeError: what is no string. ValueError: other numbers of texts, a text without a reference. ModuleNotFoundError: the extra
        ``text`` is not installed.

    Source: C.-Y. Lin, ROUGE: a package for automatic evaluation of summaries, 2004; words and edge cases as in rouge-score.

    >>> ROUGEScore(rouge_keys="rouge1")("My name is John", "Is your name John")
    {'rouge1_fmeasure': tensor(0.7500), 'rouge1_precision': tensor(0.7500), 'rouge1_recall': tensor(0.7500)}
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(
        self,
        use_stemmer: bool = False,
        normalizer: Callable[[str], str] | None = None,
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        accumulate: str = "best",
        rouge_keys: str | Sequence[str] = ("rouge1", "rouge2", "rougeL", "rougeLsum"),
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        keys = (rouge_keys,) if isinstance(rouge_keys, str) else rouge_keys
        for key in keys if isinstance(keys, list | tuple) and keys else [rouge_keys]:
            check.choice(self, "rouge_keys", key, KEYS)
        check.choice(self, "accumulate", accumulate, ("best", "avg"))
        for name, function in (("normalizer", normalizer), ("tokenizer", tokenizer)):
            if function is not None and not callable(function):
                raise TypeError(check.message(self, f"{name} is {function!r}", "a function of a text is needed"))
        for module in [LCS, *[STEMMER] * use_stemmer]:
            library(self, "text", module)
        self.use_stemmer, self.normalizer, self.tokenizer = use_stemmer, normalizer, tokenizer
        self.accumulate, self.rouge_keys = accumulate, tuple(keys)
        self.add_state("total", torch.zeros(len(self.rouge_keys), 3), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.use_stemmer, self.normalizer, self.tokenizer, self.accumulate, self.rouge_keys

    def measure(self, preds: Texts, target: References) -> State:
        """Precision, recall and F of each key, summed over texts, and the number of texts."""
        preds, target = references(self, preds, target)
        own, its = [self.words(text) for text in preds], [[self.words(text) for text in given] for given in target]
        tokens = words(own, its)
        orders = max((int(key[5:]) for key in self.rouge_keys if key[5:].isdigit()), default=0)
        found: dict[str, Scores] = {}
        for n, order in enumerate(overlaps(tokens, orders), 1):
            found[f"rouge{n}"] = scores(order.common, order.preds[tokens.owners], order.target)
        if "rougeL" in self.rouge_keys or "rougeLsum" in self.rouge_keys:
            similarity = library(self, "text", LCS).similarity
            lengths = [(similarity(x, y), len(x), len(y)) for x, given in zip(own, its, strict=True) for y in given]
            found["rougeL"] = of_lengths(lengths)
            if "rougeLsum" in self.rouge_keys:
                found["rougeLsum"] = of_lengths(self.by_lines(preds, target, lengths))
        total = np.stack([self.over_references(found[key], tokens.owners) for key in self.rouge_keys])
        return {"total": self.placed("total", torch.from_numpy(total)), "count": self.counts(len(preds))}

    def words(self, text: str) -> list[str]:
        if self.normalizer is None and self.tokenizer is None:
            found = WORD.findall(text.lower())
        else:
            text = self.normalizer(text) if self.normalizer else " ".join(WORD.findall(text.lower()))
            found = [word for word in (self.tokenizer or str.split)(text) if word]
        return list(map(stemmed, found)) if self.use_stemmer else found

    def by_lines(self, preds: Sequence[str], target: Sequence[Sequence[str]], whole: Sequence[Lengths]) -> list[Lengths]:
        """Lengths of each reference by its lines; ``whole``: where it and its text have one each."""
        lengths = list(whole)
        pairs = ((text, wanted) for text, given in zip(preds, target, strict=True) for wanted in given)
        for number, (text, wanted) in enumerate(pairs):
            if "\n" in text or "\n" in wanted:
                x, y = ([self.words(line) for line in side.split("\n") if line] for side in (text, wanted))
                lengths[number] = in_unions(x, y), sum(map(len, x)), sum(map(len, y))
        return lengths

    def over_references(self, scores: Scores, owners: Integers) -> Scores:
        """The sum over texts of the best or the mean of their references."""
        if self.accumulate == "best":
            of_texts: Scores = scores[first_best(scores[:, FMEASURE], owners)]
        else:
            of_texts = scores / np.bincount(owners)[owners, None]
        total: Scores = of_texts.sum(0)
        return total

    def value(self, total: Tensor, count: Tensor) -> dict[str, Tensor]:
        means = total / count
        readings = sorted(range(3), key=READINGS.__getitem__)
        return {f"{key}_{READINGS[i]}": mean[i] for key, mean in zip(self.rouge_keys, means, strict=True) for i in readings}


WORD = re.compile(r"[a-z0-9]+")


def scores(common: Integers, preds: Integers, target: Integers) -> Scores:
    """Precision, recall and F ``(..., 3)`` of counts; 0 of none."""
    precision, recall = common / np.maximum(preds, 1), common / np.maximum(target, 1)
    return np.stack([precision, recall, 2 * precision * recall / np.maximum(precision + recall, TINY)], -1)


def of_lengths(lengths: Sequence[Lengths]) -> Scores:
    return scores(*np.array(lengths, dtype=np.int64).reshape(-1, 3).T)


def in_unions(preds: Sequence[Sequence[str]], target: Sequence[Sequence[str]]) -> int:
    """The tokens of all lines of ``target`` that are in a longest common subsequence with some line of ``preds``.

    Each token counts at most as often as it is in ``preds``.
    """
    found = Counter[str]()
    for line in target:
        places = set(chain.from_iterable(common_places(line, other) for other in preds))
        found.update(line[place] for place in places)
    return (found & Counter(chain.from_iterable(preds))).total()


@functools.lru_cache(maxsize=1 << 16)
def stemmed(word: str) -> str:
    """Words come again, and a stem takes longer than all else."""
    return cast(str, _stemmer().stem(word)) if len(word) > 3 else word


@functools.cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def rouge_score(
    preds: Texts,
    target: References,
    accumulate: str = "best",
    use_stemmer: bool = False,
    normalizer: Callable[[str], str] | None = None,
    tokenizer: Callable[[str], Sequence[str]] | None = None,
    rouge_keys: str | Sequence[str] = ("rouge1", "rouge2", "rougeL", "rougeLsum"),
) -> Any:
    """Functional form of :class:`ROUGEScore`."""
    keys = tuple(rouge_keys) if isinstance(rouge_keys, list) else rouge_keys
    return fixed(ROUGEScore, use_stemmer, normalizer, tokenizer, accumulate, keys).of(preds, target)
