"""Text metrics beside torchmetrics, jiwer, sacrebleu and rouge-score, on words of Zipf's distribution, a fifth of them changed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import jiwer
import torchmetrics
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

import epochal
from benchmarks.timing import Row, best_of, row

EQUAL = 1.0  # not slower
WORDS = 20_000


def translations(size: int, shortest: int = 5, longest: int = 40) -> tuple[list[str], list[str]]:
    """Predictions and targets."""
    chance = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 10))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    target = [chance.choices(words, weights, k=chance.randint(shortest, longest)) for _ in range(size)]
    kept = [[word for word in text if chance.random() < 0.95] for text in target]
    preds = [[word if chance.random() < 0.8 else chance.choice(words) for word in text] for text in kept]
    return [" ".join(text) + "." for text in preds], [" ".join(text) + "." for text in target]


def edits() -> Iterator[Row]:
    """The ratio grows with the length of sentences: torchmetrics' time with its square, ours is that of making words."""
    ours, peer = epochal.functional, torchmetrics.functional
    for longest, required in ((40, None), (80, 50)):
        preds, target = translations(500, longest // 8, longest)
        yield row(
            f"word error rate of 500, up to {longest} words",
            lambda p=preds, t=target: ours.word_error_rate(p, t),
            lambda p=preds, t=target: peer.word_error_rate(p, t),
            required,
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


def ngrams() -> Iterator[Row]:
    """The tokenizers remember their texts on both sides."""
    ours = epochal.functional
    preds, target = translations(2000)
    sacrebleu, plain = BLEU(smooth_method="none"), BLEU(smooth_method="none", tokenize="none")
    yield row(
        "SacreBLEU of 2,000, sacrebleu",
        lambda: ours.sacre_bleu_score(preds, target),
        lambda: sacrebleu.corpus_score(preds, [target]),
        EQUAL,
    )
    yield row(
        "BLEU of 2,000, sacrebleu", lambda: ours.bleu_score(preds, target), lambda: plain.corpus_score(preds, [target]), EQUAL
    )
    preds, target, chrf = preds[:500], target[:500], CHRF(word_order=2)
    yield row("chrF of 500, sacrebleu", lambda: ours.chrf_score(preds, target), lambda: chrf.corpus_score(preds, [target]), EQUAL)
    nested = [[text] for text in target]
    mine = best_of(ours.chrf_score, preds, target)
    start = time.perf_counter()  # once: it takes many seconds
    torchmetrics.functional.chrf_score(preds, nested)
    yield Row("chrF of 500", mine, time.perf_counter() - start, 50)


def rouge() -> Iterator[Row]:
    """By one sentence each, and by summaries of four lines."""
    ours, scorer = epochal.functional, RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
    stemming = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    sentences, summaries = translations(500), [["\n".join(side[i : i + 4]) for i in range(0, 800, 4)] for side in translations(800)]
    for title, (preds, target), its, stems in (
        ("ROUGE of 500", sentences, scorer, False),
        ("ROUGE of 500, stems", sentences, stemming, True),
        ("ROUGE of 200 of four lines", summaries, scorer, False),
    ):
        yield row(
            f"{title}, rouge-score",
            lambda p=preds, t=target, s=stems: ours.rouge_score(p, t, use_stemmer=s),
            lambda p=preds, t=target, s=its: [s.score(wanted, text) for text, wanted in zip(p, t, strict=True)],
            3,
        )


def rows() -> Iterator[Row]:
    yield from edits()
    yield from ngrams()
    yield from rouge()
