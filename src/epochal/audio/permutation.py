"""Scores of several signals whose order is free: the best assignment of estimates to targets."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epochal import check
from epochal.audio.signals import MeanOverSignals
from epochal.extras import library
from epochal.metric import OPTIONS
from epochal.numeric import constant, wide

Score = Callable[..., Tensor]
MODES = ("speaker-wise", "permutation-wise")
EVALUATIONS = ("max", "min")
FEW = 4  # speakers whose 24 orders are compared on the device; of more the best is found by scipy, on the host


def permutation_invariant_training(
    preds: Tensor, target: Tensor, metric_func: Score, mode: str = "speaker-wise", eval_func: str = "max", **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """The best score of each sample, ``(N,)``, and the order of its estimates that has it, ``(N, S)``.

    Target s belongs to estimate ``order[:, s]``. Arguments and errors as in :class:`PermutationInvariantTraining`; ``kwargs`` go to
    ``metric_func``.

    >>> from epochal.functional import scale_invariant_signal_noise_ratio
    >>> target = torch.tensor([[[1.0, 2, 0, 4], [4.0, 0, 1, 1]]])
    >>> score, order = permutation_invariant_training(target.flip(1) + 0.1, target, scale_invariant_signal_noise_ratio)
    >>> order
    tensor([[1, 0]])
    """
    name = "PermutationInvariantTraining"
    check.choice(name, "mode", mode, MODES)
    check.choice(name, "eval_func", eval_func, EVALUATIONS)
    check.pair(name, preds, target)
    if preds.ndim < 2:
        check.fail(name, f"preds has shape {check.shape(preds)}", "(N, S, ...) is needed", "Stack the speakers in dimension 1.")
    speakers = target.shape[1]
    if mode == "permutation-wise":
        (orders,) = _orders(speakers, preds.device)
        scores = torch.stack([_of_samples(name, metric_func(preds[:, order], target, **kwargs), preds) for order in orders], 1)
    else:
        pairs = itertools.product(range(speakers), repeat=2)
        matrix = torch.stack([_of_samples(name, metric_func(preds[:, p], target[:, t], **kwargs), preds) for t, p in pairs], 1)
        matrix = matrix.reshape(-1, speakers, speakers)  # of target t with estimate p
        if speakers > FEW:
            order = _assigned(matrix, eval_func)
            return matrix.gather(2, order.unsqueeze(2)).squeeze(2).mean(1), order
        (orders,) = _orders(speakers, preds.device)
        scores = matrix[:, torch.arange(speakers, device=preds.device), orders].mean(-1)
    best, index = scores.max(1) if eval_func == "max" else scores.min(1)
    return best, orders[index]


def pit_permutate(preds: Tensor, perm: Tensor) -> Tensor:
    """The estimates ``(N, S, ...)`` in the order of the targets that :func:`permutation_invariant_training` found, ``(N, S)``.

    >>> pit_permutate(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1, 0]]))
    tensor([[[2.],
             [1.]]])
    """
    return preds[torch.arange(preds.shape[0], device=preds.device)[:, None], perm]


@constant
def _orders(speakers: int, device: torch.device) -> tuple[Tensor]:
    """All of them, ``(S!, S)``."""
    orders = list(itertools.permutations(range(speakers)))
    return (torch.tensor(orders, dtype=torch.int64, device=device).reshape(math.factorial(speakers), speakers),)


def _of_samples(name: str, scores: Any, preds: Tensor) -> Tensor:
    if not isinstance(scores, Tensor) or scores.shape != preds.shape[:1]:
        came = f"metric_func returned {check.shape(scores) if isinstance(scores, Tensor) else type(scores).__name__}"
        check.fail(name, came, f"a score of each of {preds.shape[0]} samples is needed", "Let it not average over them.")
    return scores


def _assigned(matrix: Tensor, eval_func: str) -> Tensor:
    """The best order of each sample; waits for the device."""
    needed = f"it is needed for more than {FEW} speakers"
    assign = library("PermutationInvariantTraining", "audio", "scipy.optimize", needed).linear_sum_assignment
    found = [assign(_finite(scores), maximize=eval_func == "max")[1] for scores in wide(matrix).numpy(force=True)]
    return torch.from_numpy(np.array(found, dtype=np.int64).reshape(matrix.shape[:2])).to(matrix.device)


def _finite(scores: Any) -> Any:
    """What scipy takes: infinite ones as more than all others together, NaN as 0. Their mean tells of them."""
    beyond = 2 * len(scores) * (1 + np.abs(scores, where=np.isfinite(scores), out=np.zeros_like(scores)).max())
    return np.nan_to_num(scores, nan=0.0, posinf=beyond, neginf=-beyond)


def taken(function: Score) -> set[str] | None:
    """The names of the arguments that a function takes besides the first two; None: any, or it does not say."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters[2:]}


class PermutationInvariantTraining(MeanOverSignals):
    r"""The best mean score over all ways to assign S estimated signals to S targets (PIT).

    .. math:: \max_\pi \frac1S \sum_s f(\hat y_{\pi(s)}, y_s)

    ``update(preds, target)``: ``(N, S, ...)``, as ``metric_func`` takes them. ``compute()``: the mean of the samples' best
    scores, a scalar in the unit of f; NaN without data.

    Args:
        metric_func: f. "speaker-wise" it scores single signals, ``(N, ...)``, each pair once; "permutation-wise" all signals in one
            order, ``(N, S, ...)``, S! times. It returns ``(N,)``.
        mode: which of both.
        eval_func: whether the best is the "max" or the "min".
        kwargs: options of every metric; others go to ``metric_func``.

    Raises:
        ValueError: different numbers of signals, or scores that are not ``(N,)``.

    Source: D. Yu et al., Permutation invariant training of deep models for speaker-independent multi-talker separation, 2017.

    >>> from epochal.functional import scale_invariant_signal_noise_ratio
    >>> metric = PermutationInvariantTraining(scale_invariant_signal_noise_ratio)
    >>> target = torch.tensor([[[1.0, 2, 0, 4], [4.0, 0, 1, 1]]])
    >>> metric(target.flip(1) + torch.tensor([0.1, 0, 0, 0]), target)
    tensor(36.6585)
    """

    higher_is_better = None  # as its score

    def __init__(self, metric_func: Score, mode: str = "speaker-wise", eval_func: str = "max", **kwargs: Any) -> None:
        super().__init__(**{name: value for name, value in kwargs.items() if name in OPTIONS})
        if not callable(metric_func):
            raise TypeError(check.message(self, f"metric_func is {metric_func!r}", "a function of preds and target is needed"))
        check.choice(self, "mode", mode, MODES)
        check.choice(self, "eval_func", eval_func, EVALUATIONS)
        self.metric_func, self.mode, self.eval_func = metric_func, mode, eval_func
        self.arguments = {name: value for name, value in kwargs.items() if name not in OPTIONS}
        known = taken(metric_func)
        if known is not None:
            unknown = {name: value for name, value in self.arguments.items() if name not in known}
            check.unknown_arguments(self, unknown, {"metric_func", "mode", "eval_func", *OPTIONS, *known})

    def measured_by(self) -> Hashable:
        return self.metric_func, self.mode, self.eval_func, repr(sorted(self.arguments.items()))

    def scores(self, preds: Tensor, target: Tensor) -> Tensor:
        """The best of each sample."""
        return wide(permutation_invariant_training(preds, target, self.metric_func, self.mode, self.eval_func, **self.arguments)[0])
