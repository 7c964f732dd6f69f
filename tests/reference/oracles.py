"""The numbers that the counts family must give: scikit-learn on hard decisions, numpy where scikit-learn has no such score.

An oracle sees all the data at once. :func:`decisions` reads raw input the plain way (numpy, float64); an oracle then scores the
pairs of true and predicted labels: one pair of vectors in a binary or multiclass task, one for each label in a multilabel task.

Where we differ from scikit-learn by decision, a comment that begins with "Differs" says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit
from sklearn import metrics as sk

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


class Decisions(NamedTuple):
    """True and predicted labels, and which of them count, each of target's shape."""

    true: np.ndarray
    pred: np.ndarray
    kept: np.ndarray

    def samples(self) -> Iterator[Decisions]:
        for i in range(len(self.true)):
            yield Decisions(*(field[i : i + 1] for field in self))

    def pairs(self, task: str) -> Pairs:
        if task != "multilabel":
            return [(self.true[self.kept], self.pred[self.kept])]
        labels = (Decisions(*(field[:, label] for field in self)) for label in range(self.true.shape[1]))
        return [(one.true[one.kept], one.pred[one.kept]) for one in labels]


def decisions(
    task: str,
    preds: np.ndarray,
    target: np.ndarray,
    threshold: float = 0.5,
    top_k: int = 1,
    ignore_index: int | None = None,
    logits: bool | None = None,
) -> Decisions:
    kept = np.ones(target.shape, bool) if ignore_index is None else target != ignore_index
    if preds.dtype.kind != "f":
        return Decisions(target, preds, kept)
    if task == "multiclass":
        return Decisions(target, best(preds, target, top_k), kept)
    if logits is None:  # a property of all the data that count
        logits = bool(((preds < 0) | (preds > 1))[kept].any())
    return Decisions(target, ((expit(preds) if logits else preds) > threshold).astype(int), kept)


def best(scores: np.ndarray, target: np.ndarray, top_k: int) -> np.ndarray:
    """The class of the highest score, or the true one if it is among the ``top_k`` highest."""
    order = np.argsort(-scores, axis=1, kind="stable")
    among = (order[:, :top_k] == np.expand_dims(target, 1)).any(1)
    return np.where(among, target, order[:, 0])


# --- averages ----------------------------------------------------------------------------------------------------------------


def outcomes(task: str, pairs: Pairs, size: int) -> np.ndarray:
    """(classes or labels, 4): tp, fp, tn, fn; one row in a binary task."""
    if task == "multiclass":
        matrix = crossed(*pairs[0], size)
        tp, predicted, true = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
        return np.stack([tp, predicted - tp, matrix.sum() - predicted - true + tp, true - tp], 1)
    return np.stack([crossed(*pair, 2)[[1, 0, 0, 1], [1, 1, 0, 0]] for pair in pairs])


def crossed(true: np.ndarray, pred: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(size * true.astype(int) + pred.astype(int), minlength=size**2).reshape(size, size)


def divide(numerator: Any, denominator: Any, zero: float) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.where(denominator == 0, zero, numerator / np.where(denominator == 0, 1, denominator))


def mean(scores: np.ndarray, weights: np.ndarray, zero: float) -> np.ndarray:
    """NaN counts for nothing where it stands for a division by zero."""
    if math.isnan(zero):
        weights, scores = weights * ~np.isnan(scores), np.nan_to_num(scores)
    return divide((scores * weights).sum(), weights.sum(), zero)


def averaged(formula: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An oracle from a formula of (tp, fp, tn, fn, zero_division)."""

    def oracle(task: str, pairs: Pairs, size: int, average: str = "none", zero_division: float = 0, **more: Any) -> np.ndarray:
        table = outcomes(task, pairs, size)
        tp, fp, tn, fn = table.T
        if task == "binary":
            return formula(*table[0], zero_division, **more)
        if average == "micro":
            return formula(*table.sum(0), zero_division, **more)
        scores = formula(tp, fp, tn, fn, zero_division, **more)
        if average == "none":
            return scores
        present = (tp + fp + fn > 0) if task == "multiclass" else np.ones(len(tp))
        return mean(scores, present if average == "macro" else tp + fn, zero_division)

    return oracle


# --- scikit-learn's scores ---------------------------------------------------------------------------------------------------


def library(score: Callable[..., Any], formula: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An oracle from a function of scikit-learn; its formula stands in where that function refuses the data."""
    by_hand = averaged(formula)

    def oracle(task: str, pairs: Pairs, size: int, average: str = "none", zero_division: float = 0, **more: Any) -> np.ndarray:
        ragged = len({len(true) for true, _ in pairs}) > 1
        if ragged or not all(len(true) for true, _ in pairs) or (score is sk.jaccard_score and math.isnan(zero_division)):
            return by_hand(task, pairs, size, average, zero_division, **more)
        if average == "weighted" and unweighted(by_hand(task, pairs, size, "none", zero_division, **more), task, pairs, size):
            # Differs: where no class with a score has a weight, scikit-learn takes the plain mean; ours is zero_division.
            return by_hand(task, pairs, size, average, zero_division, **more)
        options = {"zero_division": zero_division, **more}
        if task == "binary":
            return score(*pairs[0], average="binary", **options)
        options["average"] = None if average == "none" else average
        if task == "multilabel":
            return score(*(np.stack(side, 1) for side in zip(*pairs, strict=True)), **options)
        every = average in ("none", "micro")  # the others are over the classes that occur
        return score(*pairs[0], labels=range(size) if every else None, **options)

    return oracle


def unweighted(scores: np.ndarray, task: str, pairs: Pairs, size: int) -> bool:
    """Whether nothing is true of the classes that have a score."""
    tp, _, _, fn = outcomes(task, pairs, size).T
    return not (tp + fn)[~np.isnan(scores)].any()


def precision(tp, fp, tn, fn, zero):
    return divide(tp, tp + fp, zero)


def recall(tp, fp, tn, fn, zero):
    return divide(tp, tp + fn, zero)


def fbeta(tp, fp, tn, fn, zero, beta=1.0):
    return divide((1 + beta**2) * tp, (1 + beta**2) * tp + beta**2 * fn + fp, zero)


def jaccard(tp, fp, tn, fn, zero):
    return divide(tp, tp + fp + fn, zero)


PRECISION = library(sk.precision_score, precision)
RECALL = library(sk.recall_score, recall)
FBETA = library(sk.fbeta_score, fbeta)
F1 = library(sk.f1_score, fbeta)
JACCARD = library(sk.jaccard_score, jaccard)
SPECIFICITY = averaged(lambda tp, fp, tn, fn, zero: divide(tn, tn + fp, zero))
NEGATIVE_PREDICTIVE_VALUE = averaged(lambda tp, fp, tn, fn, zero: divide(tn, tn + fn, zero))


def accuracy(task: str, pairs: Pairs, size: int, average: str = "none", **more: Any) -> Any:
    """In a multiclass task recall. Differs: its macro average is over the classes that occur in target or preds, as that of
    ``recall_score``, where ``balanced_accuracy_score`` is over those in target."""
    if task == "multiclass":
        if average == "micro" and len(pairs[0][0]):
            return sk.accuracy_score(*pairs[0])
        return RECALL(task, pairs, size, average)
    each = np.array([sk.accuracy_score(*pair) if len(pair[0]) else 0.0 for pair in pairs])
    if task == "binary":
        return each[0]
    if average == "micro":
        return 1 - sk.hamming_loss(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    weights = np.array([true.sum() for true, _ in pairs]) if average == "weighted" else np.ones(size)
    return each if average == "none" else mean(each, weights, 0.0)


def hamming(task: str, pairs: Pairs, size: int, average: str = "none", **more: Any) -> Any:
    """What accuracy misses: 1 of no decision, but a mean over no class is 0."""
    nothing_true = not any(true.any() for true, _ in pairs)
    if task == "multilabel" and average == "weighted" and nothing_true:
        return 0.0
    if task == "multiclass" and average in ("macro", "weighted") and not len(pairs[0][0]):
        return 0.0
    if task != "multiclass" and average in ("micro", "none") and all(len(true) for true, _ in pairs):
        sides = [np.concatenate(side) for side in zip(*pairs, strict=True)]
        if average == "micro" or task == "binary":
            return sk.hamming_loss(*sides)
    return 1 - np.asarray(accuracy(task, pairs, size, average))


def stat_scores(task: str, pairs: Pairs, size: int, average: str = "none", **more: Any) -> np.ndarray:
    """tp, fp, tn, fn, and how many are true. Of all the classes for macro: a count of 0 is a count."""
    table = outcomes(task, pairs, size)
    table = np.concatenate([table, table[:, [0]] + table[:, [3]]], 1)
    if task == "binary":
        return table[0]
    weights = {"macro": np.ones(size), "weighted": table[:, 4]}.get(average)
    if weights is not None:
        return divide((table * weights[:, None]).sum(0), weights.sum(), 0.0)
    return table.sum(0) if average == "micro" else table


# --- readings of the confusion matrix ----------------------------------------------------------------------------------------


def confusion_matrix(task: str, pairs: Pairs, size: int, normalize: str | None = None, **more: Any) -> np.ndarray:
    def one(true, pred, labels):
        return sk.confusion_matrix(true, pred, labels=labels, normalize=normalize) if len(true) else np.zeros((len(labels),) * 2)

    if task == "multilabel":
        return np.stack([one(*pair, [0, 1]) for pair in pairs])
    return one(*pairs[0], range(size) if task == "multiclass" else [0, 1])


def cohen_kappa(task: str, pairs: Pairs, size: int, weights: str | None = None, **more: Any) -> float:
    true, pred = pairs[0]
    if set(true) == set(pred) and len(set(true)) <= 1:
        return math.nan  # chance alone explains all; scikit-learn warns and says the same
    return sk.cohen_kappa_score(true, pred, labels=range(size) if task == "multiclass" else [0, 1], weights=weights)


def matthews(task: str, pairs: Pairs, size: int, **more: Any) -> float:
    true, pred = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if len(set(true)) < 2 or len(set(pred)) < 2:
        return 0.0  # scikit-learn says the same, and warns of its matrix
    return sk.matthews_corrcoef(true, pred)


# --- exact match -------------------------------------------------------------------------------------------------------------


def exact_match(task: str, found: Decisions) -> float:
    """Subset accuracy: scikit-learn's accuracy of label sets, where what is ignored is made right.

    Of a multiclass task the positions of a sample are a set, of a multilabel task the labels at each position.
    """
    rows = [np.where(found.kept, side, 0).reshape(len(found.true), -1) for side in found[:2]]
    kept = found.kept.reshape(len(found.true), -1)
    if task == "multilabel":
        rows = [np.moveaxis(np.where(found.kept, side, 0), 1, -1).reshape(-1, found.true.shape[1]) for side in found[:2]]
        kept = np.moveaxis(found.kept, 1, -1).reshape(-1, found.true.shape[1])
    true, pred = (side[kept.any(1)] for side in rows)
    if not len(true):
        return 0.0
    if task == "multilabel":
        return sk.accuracy_score(true, pred)
    return sk.accuracy_score((true == pred).all(1), np.ones(len(true), bool))
