"""The longest common subsequence of two texts, token by token."""

from __future__ import annotations

from collections.abc import Sequence


def common_places(target: Sequence[str], preds: Sequence[str]) -> list[int]:
    """Where in ``target`` the tokens of a longest common subsequence are, from the last to the first.

    Of several, the one that is found from the ends of both: a token of target is passed over unless that alone makes the rest
    shorter, as rouge-score does. A row of the table of lengths is an integer with a bit for each token of ``preds``: 0 where the
    length grows (H. Hyyrö, Bit-parallel LCS-length computation revisited, 2004).
    """
    at: dict[str, int] = {}
    for place, token in enumerate(preds):
        at[token] = at.get(token, 0) | 1 << place
    if at.keys().isdisjoint(target):
        return []
    full = (1 << len(preds)) - 1
    rows = [full]
    for token in target:
        row = rows[-1]
        new = row & at.get(token, 0)
        rows.append((row + new | row - new) & full)

    def length(i: int, j: int) -> int:
        """Of the first i tokens of target and the first j of preds."""
        return j - (rows[i] & ((1 << j) - 1)).bit_count()

    found = []
    i, j = len(target), len(preds)
    while i and j:
        if target[i - 1] == preds[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif length(i, j - 1) > length(i - 1, j):
            j -= 1
        else:
            i -= 1
    return found
