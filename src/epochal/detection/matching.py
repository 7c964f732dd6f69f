"""Which detections find an object: the greedy matching of COCO, over all thresholds and ranges of areas at once.

In an image and a class, detections choose in the order of their scores. Each takes, of the objects that it overlaps enough and that
no other has taken, that with the largest overlap. Objects that do not count (crowds, those whose area is out of range) are
chosen only where no other is left, and then the detection does not count either; a crowd may be taken by any number.

This happens once for each threshold and each range of areas: each such pair is a bit, and a set of them a Python integer, so that
one pass over the candidates does it for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}  # in pixels
BITS = 1 << np.arange(len(AREAS))


def in_range(areas: Array) -> Array:
    """For each area a byte, with a bit for each range that it lies in."""
    low, high = np.array(list(AREAS.values())).T
    inside: Array = (areas[:, None] >= low) & (areas[:, None] <= high)
    return np.asarray(inside @ BITS, np.uint8)


def each_with(first: Array, number: Array) -> tuple[Array, Array]:
    """All pairs of a row and one of ``number`` others, which are next to each other from ``first`` on: the places of both."""
    row = np.repeat(np.arange(len(number)), number)
    return row, np.arange(len(row)) + np.repeat(first - (np.cumsum(number) - number), number)


@dataclass(frozen=True)
class Pairs:
    """All pairs of a detection and an object of one group (an image and a class), the detections by group and score."""

    order: Array  # of the detections, of which only the first of each group are there
    rank: Array  # of each of them in its group
    key: Array  # its group
    preds: Array  # of each pair: which of these detections
    target: Array  # and which object

    @classmethod
    def of(cls, pred_key: Array, scores: Array, target_key: Array, limit: int) -> Pairs:
        order = np.lexsort((-scores, pred_key))
        key = pred_key[order]
        rank = np.arange(len(key)) - np.searchsorted(key, key)
        order, rank, key = (rows[rank < limit] for rows in (order, rank, key))
        target_order = np.argsort(target_key, kind="stable")
        ascending = target_key[target_order]
        first = np.searchsorted(ascending, key)
        number = np.searchsorted(ascending, key, side="right") - first
        preds, place = each_with(first, number)
        return cls(order, rank, key, preds, target_order[place])

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The pairs of each group, from a place to another: each of its detections in turn with all of its objects."""
        key = self.key[self.preds]
        yield from itertools.pairwise([0, *(np.flatnonzero(np.diff(key)) + 1).tolist(), len(key)] if len(key) else [])


class Matcher:
    """Greedy matching at these thresholds of the overlap, for each range of areas.

    A set of (range, threshold) is an integer with the bit ``range * len(thresholds) + threshold``, or its bytes, the lowest first.
    """

    def __init__(self, thresholds: tuple[float, ...]) -> None:
        reached = [min(t, 1 - 1e-10) for t in thresholds]  # of two masks that are equal the overlap may be an ulp below 1
        self.thresholds = np.sort(reached)
        self.size = -(-len(AREAS) * len(thresholds) // 8)
        levels = [0]  # the sets of thresholds that an overlap reaches, by their number
        for bit in np.argsort(reached, kind="stable").tolist():
            levels.append(levels[-1] | 1 << bit)
        codes = range(1 << len(AREAS))
        shifts = [[a * len(thresholds) for a in range(len(AREAS)) if code >> a & 1] for code in codes]
        self.sets = [[sum(level << shift for shift in by_code) for level in levels] for by_code in shifts]
        self.every = np.stack([self.packed([sets[-1]])[0] for sets in self.sets])  # by code: all thresholds of these ranges

    def packed(self, sets: list[int]) -> Array:
        """``(N, size)`` bytes."""
        return np.frombuffer(bytearray(b"").join(s.to_bytes(self.size, "little") for s in sets), np.uint8).reshape(-1, self.size)

    def unpacked(self, packed: Array) -> Array:
        """``(ranges, thresholds, N)`` bools."""
        bits = np.unpackbits(packed.reshape(-1, self.size).T, axis=0, bitorder="little", count=len(AREAS) * len(self.thresholds))
        return bits.reshape(len(AREAS), len(self.thresholds), -1).view(bool)

    def __call__(self, pairs: Pairs, overlap: Array, counted: Array, crowd: Array, inside: Array) -> tuple[Array, Array]:
        """For each detection of the pairs the sets in which it found an object that counts, and in which it does not count.

        ``overlap``: of each pair. ``counted``: for each object the ranges in which it counts. ``inside``: for each detection of
        the pairs the ranges that it lies in: where it found nothing, it counts only there.
        """
        level = np.searchsorted(self.thresholds, overlap, side="right")
        every = len(self.sets) - 1
        near = np.flatnonzero(level)
        code = counted[pairs.target[near]]
        first, last = near[code > 0], near[code < every]  # objects that count, and then those that do not
        both = np.concatenate([first, last])
        reserve = np.arange(len(both)) >= len(first)
        order = np.lexsort((-pairs.target[both], -overlap[both], reserve, pairs.preds[both]))
        both, reserve = both[order], reserve[order]
        target = pairs.target[both]
        code = np.where(reserve, every - counted[target], counted[target])
        found, left_out, taken = [0] * len(pairs.order), [0] * len(pairs.order), [0] * len(counted)
        columns = (pairs.preds[both], target, code, level[both], reserve, crowd[target])
        for d, g, c, reached, is_reserve, is_crowd in zip(*(column.tolist() for column in columns), strict=True):
            won = self.sets[c][reached] & ~(found[d] | left_out[d] | taken[g])
            if won:
                if is_reserve:
                    left_out[d] |= won
                else:
                    found[d] |= won
                if not is_crowd:
                    taken[g] |= won
        hits, ignored = self.packed(found), self.packed(left_out)
        return hits, ignored | (self.every[every - inside] & ~hits)
