"""Examples of text metrics."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.laws.data import SIZES, row

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "in", "mat", "house", ",", ".", "big", "small", "and", "then", "3", "don't"]


def sentence(chance: random.Random) -> list[str]:
    return chance.choices(WORDS, k=chance.randint(1, 12))


def edited(words: list[str], chance: random.Random) -> list[str]:
    """With some words left out, others instead of them, or more."""
    kept = [word if chance.random() < 0.75 else chance.choice(WORDS) for word in words if chance.random() < 0.9]
    return kept if chance.random() < 0.5 else [*kept, *sentence(chance)[:3]]


def texts(references: int | None = None) -> Callable[[], list[tuple[list[str], list]]]:
    """Texts, and a target for each, or at most so many references."""

    def batch(size: int, chance: random.Random):
        sentences = [sentence(chance) for _ in range(size)]
        preds = [" ".join(edited(words, chance)) for words in sentences]
        if references is None:
            return preds, [" ".join(words) for words in sentences]
        return preds, [[" ".join(edited(words, chance)) for _ in range(chance.randint(1, references))] for words in sentences]

    def batches():
        chance = random.Random(0)
        return [batch(size, chance) for size in SIZES]

    return batches


def lines(batches: Callable[[], list[tuple[list[str], list]]]) -> Callable[[], list[tuple[list[str], list]]]:
    """The same, with a line for each sentence."""

    def parted(text):
        return [parted(part) for part in text] if isinstance(text, list) else text.replace(" . ", " .\n").replace(" and ", "\nand ")

    return lambda: [(parted(preds), parted(target)) for preds, target in batches()]


FUNCTIONS = {
    "WordErrorRate": "word_error_rate",
    "CharErrorRate": "char_error_rate",
    "MatchErrorRate": "match_error_rate",
    "WordInfoLost": "word_information_lost",
    "WordInfoPreserved": "word_information_preserved",
}
for cls, function in FUNCTIONS.items():
    row(cls, "texts", texts(), function=function)
row("EditDistance", "mean", texts(), {"substitution_cost": 2}, function="edit_distance")
row("EditDistance", "sum", texts(), {"reduction": "sum"}, function="edit_distance")
row("EditDistance", "each", texts(), {"reduction": "none"}, function="edit_distance", rows=True)
row("BLEUScore", "one", texts(), {"n_gram": 2}, function="bleu_score")
row("BLEUScore", "references", texts(3), {"smooth": True, "weights": (0.5, 0.25, 0.15, 0.1)}, function="bleu_score")
row("SacreBLEUScore", "13a", texts(3), {"lowercase": True}, function="sacre_bleu_score")
row("SacreBLEUScore", "char", texts(), {"tokenize": "char"}, function="sacre_bleu_score")
row("CHRFScore", "one", texts(), function="chrf_score")
row("CHRFScore", "references", texts(3), {"n_word_order": 0, "beta": 1.0, "whitespace": True}, function="chrf_score")
row("CHRFScore", "each", texts(3), {"return_sentence_level_score": True}, function="chrf_score", rows=True)
row("ROUGEScore", "one", lines(texts()), function="rouge_score")
row("ROUGEScore", "best", lines(texts(3)), {"use_stemmer": True}, function="rouge_score")
row("ROUGEScore", "avg", texts(3), {"accumulate": "avg", "rouge_keys": ("rouge1", "rouge3", "rougeL")}, function="rouge_score")
row("ROUGEScore", "words", texts(), {"normalizer": str.upper, "tokenizer": list, "rouge_keys": "rouge2"}, function="rouge_score")
