"""The functions of :mod:`epochal.text`."""

from epochal.text.edits import (
    char_error_rate,
    edit_distance,
    match_error_rate,
    word_error_rate,
    word_information_lost,
    word_information_preserved,
)

__all__ = [
    "char_error_rate",
    "edit_distance",
    "match_error_rate",
    "word_error_rate",
    "word_information_lost",
    "word_information_preserved",
]
