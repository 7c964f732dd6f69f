"""The functions of :mod:`epochal.text`."""

from epochal.paths import answer_to
from epochal.text.bleu import bleu_score, sacre_bleu_score
from epochal.text.chrf import chrf_score
from epochal.text.edits import (
    char_error_rate,
    edit_distance,
    match_error_rate,
    word_error_rate,
    word_information_lost,
    word_information_preserved,
)
from epochal.text.rouge import rouge_score

__all__ = [
    "bleu_score",
    "char_error_rate",
    "chrf_score",
    "edit_distance",
    "match_error_rate",
    "rouge_score",
    "sacre_bleu_score",
    "word_error_rate",
    "word_information_lost",
    "word_information_preserved",
]

answer_to(__name__, "bleu cer chrf edit mer rouge sacre_bleu wer wil wip")
