"""BLEU: n-grams of a corpus that are in a reference, and the lengths of both; all of it adds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.extras import library
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import wide
from epochal.text.ngrams import Integers, Tokens, first_best, overlaps, words
from epochal.text.texts import References, TextMetric, Texts, references


class BLEUScore(TextMetric):
    r"""BLEU: the precision of n-grams, their geometric mean, less for texts that are shorter than their references.

    .. math:: \min(1, e^{1 - r / c}) \exp \sum_n w_n \log p_n

    with the share :math:`p_n` of the n-grams of all texts that a reference has, too (each as often as in the reference that has it
    most often), their length c, and the length r of the references that are closest in length. Words stand between white space.
    ``update(preds, target)``: a text or a list of texts; for each a list of references, or one. ``compute()``: a scalar in [0, 1];
    0 where no n-gram of an order is right, and without data.

    Args:
        n_gram: the longest n-grams.
        smooth: count one more right n-gram, of one more, from n = 2 on.
        weights: :math:`w_n`, a number for each n; default: all alike, with the sum 1.

    Raises:
        TypeError: what is no string. ValueError: other numbers of texts, a text without a reference.

    Source: K. Papineni et al., BLEU: a method for automatic evaluation of machine translation, 2002; C.-Y. Lin and F. J. Och, 2004.

    >>> BLEUScore()(["the cat is on the mat"], [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.7598)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(
        self, n_gram: int = 4, smooth: bool = False, weights: Sequence[float] | None = None, **kwargs: Unpack[MetricOptions]
    ) -> None:
        super().__init__(**kwargs)
        check.whole(self, "n_gram", n_gram, 1)
        if weights is not None and (not isinstance(weights, list | tuple) or len(weights) != n_gram):
            check.fail(self, f"weights is {weights!r}", f"{n_gram} numbers are needed, as n_gram is {n_gram}")
        self.n_gram, self.smooth, self.weights = n_gram, smooth, tuple(weights or [1 / n_gram] * n_gram)
        self.add_state("right", torch.zeros(n_gram, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("all", torch.zeros(n_gram, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("preds_length", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("target_length", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.n_gram

    def split(self) -> Callable[[str], Sequence[str]]:
        """What makes words of a text."""
        return str.split

    def measure(self, preds: Texts, target: References) -> State:
        """N-grams that are right and all, of each order, and the lengths, over all texts."""
        preds, target = references(self, preds, target)
        split = self.split()
        tokens = words(map(split, preds), (map(split, given) for given in target))
        found = list(overlaps(tokens, self.n_gram))
        counted = {
            "right": [int(order.clipped.sum()) for order in found],
            "all": [int(order.preds.sum()) for order in found],
            "preds_length": tokens.preds.sum(),
            "target_length": closest(tokens).sum(),
        }
        return {name: self.counts(numbers) for name, numbers in counted.items()}

    def value(self, right: Tensor, all: Tensor, preds_length: Tensor, target_length: Tensor) -> Tensor:
        more = (torch.arange(self.n_gram, device=right.device) > 0) & self.smooth
        precision = torch.where(right + all > 0, (wide(right) + more) / (all + more), wide(more))
        weights = precision.new_tensor(self.weights)
        logs = torch.where(weights == 0, 0.0, weights * precision.log())
        brevity = (1 - wide(target_length) / preds_length).clamp_max(0).exp()
        return torch.where(right[0] > 0, brevity * logs.sum().exp(), 0.0)


def closest(tokens: Tokens) -> Integers:
    """Of each text the length of the reference that is closest in length, the shorter of two."""
    base = 1 + int(tokens.target.max(initial=0))
    farness = np.abs(tokens.target - tokens.preds[tokens.owners]) * base + tokens.target
    return tokens.target[first_best(-farness, tokens.owners)]


def bleu_score(
    preds: Texts, target: References, n_gram: int = 4, smooth: bool = False, weights: Sequence[float] | None = None
) -> Tensor:
    """Functional form of :class:`BLEUScore`."""
    return fixed(BLEUScore, n_gram, smooth, tuple(weights) if isinstance(weights, list) else weights).of(preds, target)


class SacreBLEUScore(BLEUScore):
    """:class:`BLEUScore` of words as sacrebleu makes them, so that scores of one tokenizer can be compared.

    ``update``, ``compute``, ``n_gram``, ``smooth``, ``weights`` and errors as in :class:`BLEUScore`.

    Args:
        tokenize: a tokenizer of sacrebleu: "13a" (the WMT's), "intl", "char", "zh", "ja-mecab", "ko-mecab", "none", ..., some of
            which need more packages, or load a model when first used.
        lowercase: whether case is of no matter.

    Raises:
        ModuleNotFoundError: the extra ``text`` is not installed.

    Source: M. Post, A call for clarity in reporting BLEU scores, 2018.

    >>> SacreBLEUScore()(["The cat is on the mat."], [["There is a cat on the mat.", "A cat is on the mat."]])
    tensor(0.8091)
    """

    def __init__(
        self,
        n_gram: int = 4,
        smooth: bool = False,
        tokenize: str = "13a",
        lowercase: bool = False,
        weights: Sequence[float] | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(n_gram, smooth, weights, **kwargs)
        check.choice(self, "tokenize", tokenize, library(self, "text", "sacrebleu.metrics.bleu").BLEU.TOKENIZERS)
        self.tokenize, self.lowercase = tokenize, lowercase
        self.split()

    def measured_by(self) -> Hashable:
        return self.n_gram, self.tokenize, self.lowercase

    def split(self) -> Callable[[str], Sequence[str]]:
        tokenizer = _tokenizer(self.tokenize)
        if self.lowercase:
            return lambda text: tokenizer(text.lower().rstrip()).split()
        return lambda text: tokenizer(text.rstrip()).split()


@functools.cache
def _tokenizer(name: str) -> Callable[[str], str]:
    """One for each name: some hold a model, and all remember the texts that they have seen."""
    from sacrebleu.metrics.bleu import BLEU

    tokenizer: Callable[[str], str] = BLEU(tokenize=name).tokenizer
    return tokenizer


def sacre_bleu_score(
    preds: Texts,
    target: References,
    n_gram: int = 4,
    smooth: bool = False,
    tokenize: str = "13a",
    lowercase: bool = False,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Functional form of :class:`SacreBLEUScore`."""
    weights = tuple(weights) if isinstance(weights, list) else weights
    return fixed(SacreBLEUScore, n_gram, smooth, tokenize, lowercase, weights).of(preds, target)
