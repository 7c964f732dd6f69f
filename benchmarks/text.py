"""Text metrics beside torchmetrics, jiwer, sacrebleu and rouge-score, on words of Zipf's distribution, a fifth of them changed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import jiwer
import torchmetrics

import epochal
from benchmarks.timing import Row, row

EQUAL = 1.0  # not slower
WORDS = 20_000


def translations(size: int) -> tuple[list[str], list[str]]:
    """Predictions and targets of 5 to 40 words."""
    chance = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 10))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    target = [chance.choices(words, weights, k=chance.randint(5, 40)) for _ in range(size)]
    preds = [
        [word if chance.random() < 0.8 else chance.choice(words) for word in text if chance.random() < 0.95] for text in target
    ]
    return [" ".join(text) + "." for text in preds], [" ".join(text) + "." for text in target]


def edits() -> Iterator[Row]:
    ours, peer = epochal.functional, torchmetrics.functional
    preds, target = translations(500)
    yield row(
        "word error rate of 500", lambda: ours.word_error_rate(preds, target), lambda: peer.word_error_rate(preds, target), 50
    )
    preds5, target5 = translations(5000)
    yield row(
        "word error rate of 5,000, jiwer", lambda: ours.word_error_rate(preds5, target5), lambda: jiwer.wer(target5, preds5), EQUAL
    )
    yield row(
        "word information lost of 5,000, jiwer",
        lambda: ours.word_information_lost(preds5, target5),
        lambda: jiwer.wil(target5, preds5),
        EQUAL,
    )


def rows() -> Iterator[Row]:
    yield from edits()
