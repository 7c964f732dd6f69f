"""Precision and recall of matched detections, by class, range of areas, limit of detections and threshold: COCO's tables."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.detection.matching import AREAS, Matcher

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Matches:
    """All detections, in the order of arrival, and all objects."""

    scores: Array
    label: Array  # of the detections
    hits: Array
    ignored: Array
    limit: Array  # the first limit that lets it pass: detections of an image and a class are counted by their scores
    positive: Array  # labels of the objects
    counted: Array  # the ranges of areas in which they count


@dataclass(frozen=True)
class Tables:
    """COCO's tables, -1 where there is no object: T thresholds, R recalls, K classes, A ranges of areas, M limits."""

    classes: Array
    precision: Array  # (T, R, K, A, M)
    recall: Array  # (T, K, A, M)
    scores: Array  # (T, R, K, A, M)

    @classmethod
    def empty(cls, classes: Array, thresholds: int, recalls: int, limits: int) -> Tables:
        shape = len(classes), len(AREAS), limits
        precision, scores = (np.full((thresholds, recalls, *shape), -1.0) for _ in range(2))
        return cls(classes, precision, np.full((thresholds, *shape), -1.0), scores)


def tables(matcher: Matcher, matches: Matches, recalls: Array, limits: int, every_limit: bool) -> Tables:
    """``every_limit``: precision at all limits, not at the last alone."""
    size = len(AREAS), len(matcher.thresholds)
    classes, place = np.unique(np.concatenate([matches.label, matches.positive]), return_inverse=True)
    label, positive = np.split(place.reshape(-1), [len(matches.label)])
    count = [np.bincount(positive[(matches.counted >> a & 1).astype(bool)], minlength=len(classes)) for a in range(size[0])]
    out = Tables.empty(classes, size[1], len(recalls), limits)
    order = np.lexsort((-matches.scores, label))
    ends = np.searchsorted(label[order], np.arange(len(classes) + 1))
    for k, (start, end) in enumerate(itertools.pairwise(ends)):
        rows = order[start:end]
        hits, seen = matcher.unpacked(matches.hits[rows]), ~matcher.unpacked(matches.ignored[rows])
        passed = matches.limit[rows] <= np.arange(limits)[:, None]
        for a in range(size[0]):
            if not count[a][k]:
                continue
            out.recall[:, k, a] = np.count_nonzero(hits[a][:, None] & passed, axis=-1) / count[a][k]
            needed = np.searchsorted(np.arange(count[a][k] + 1) / count[a][k], recalls)
            for m in range(limits) if every_limit else [limits - 1]:
                here = slice(None) if m == limits - 1 else passed[m]  # the last limit lets all pass that are there
                curve = interpolated(hits[a][:, here], seen[a][:, here], matches.scores[rows][here], needed)
                out.precision[:, :, k, a, m], out.scores[:, :, k, a, m] = curve
    return out


def interpolated(hits: Array, seen: Array, scores: Array, needed: Array) -> tuple[Array, Array]:
    """Precision and score ``(T, R)`` where so many objects are found, of detections ``(T, N)``; 0 where they never are."""
    found = hits.cumsum(1)
    at = first_reach(found, needed)
    ratio = found / (seen.cumsum(1) + np.spacing(1))
    best = np.maximum.accumulate(ratio[:, ::-1], 1)[:, ::-1]
    return read(best, at), read(np.broadcast_to(scores, best.shape), at)


def first_reach(found: Array, needed: Array) -> Array:
    """``(T, R)``: in each row of ``(T, N)`` ascending counts the first place of so many; N where there is none."""
    rows, length = found.shape
    offset = np.arange(rows)[:, None] * (length + 2)  # makes one ascending row of all
    places = np.searchsorted((found + offset).reshape(-1), np.minimum(needed, length + 1) + offset)
    out: Array = places - np.arange(rows)[:, None] * length
    return out


def read(rows: Array, at: Array) -> Array:
    """``(T, R)`` of ``(T, N)``, 0 for a place behind the last."""
    if not rows.shape[1]:
        return np.zeros(at.shape)
    return np.where(at < rows.shape[1], np.take_along_axis(rows, np.minimum(at, rows.shape[1] - 1), 1), 0)
