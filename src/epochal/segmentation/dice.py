"""Dice's coefficient of label maps."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import ratio
from epochal.segmentation.regions import Overlap, Regions, mean_over_samples

AVERAGES = ("micro", "macro", "weighted", "none", None)
LEVELS = ("samplewise", "global")


def dice(found: Regions, average: str | None) -> tuple[Tensor, Tensor]:
    """Of ``(N, C)`` counts the scores of each sample, ``(N,)`` or ``(N, C)``, and which of them are of something that occurs."""
    overlap, size = 2 * found.both, found.preds + found.target
    if average == "micro":
        overlap, size = overlap.sum(1), size.sum(1)
    score, occurs = ratio(overlap, size), size > 0
    if average in ("micro", "none", None):
        return score, occurs
    weight = occurs.to(score.dtype) if average == "macro" else found.target
    return ratio((score * weight).sum(1), weight.sum(1)), weight.sum(1) > 0


class DiceScore(Overlap):
    r"""Dice's coefficient: twice the overlap over the sum of both sizes.

    .. math:: D_c = \frac{2 |\hat Y_c \cap Y_c|}{|\hat Y_c| + |Y_c|}

    ``update(preds, target)`` and arguments as in :class:`~epochal.segmentation.regions.Overlap`. ``compute()``: a scalar in [0, 1],
    ``(C,)`` with ``average="none"``; NaN where nothing that is averaged occurs. A class counts where it occurs in preds or target.

    Args:
        average: over classes: "micro" counts all places alike, "macro" classes alike, "weighted" by their places in target.
        aggregation_level: "samplewise": the mean of the samples' scores; "global": the score of all samples taken together.

    Source: L. R. Dice, Measures of the amount of ecologic association between species, 1945.

    >>> metric = DiceScore(num_classes=3, input_format="index")
    >>> metric(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]))
    tensor(0.7333)
    """

    def __init__(
        self,
        num_classes: int,
        include_background: bool = True,
        average: str | None = "macro",
        aggregation_level: str = "samplewise",
        input_format: str = "one-hot",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_classes, include_background, input_format, **kwargs)
        check.whole(self, "num_classes", num_classes, 1)
        check.choice(self, "average", average, AVERAGES)
        check.choice(self, "aggregation_level", aggregation_level, LEVELS)
        self.average, self.aggregation_level = average, aggregation_level
        per_class = aggregation_level == "global" or average in ("none", None)
        zeros = torch.zeros((num_classes - (not include_background),) if per_class else (), dtype=torch.float64)
        for name in ("both", "preds", "target") if aggregation_level == "global" else ("total",):
            self.add_state(name, zeros, dist_reduce_fx="sum")
        if aggregation_level == "samplewise":
            self.add_state("count", zeros.long(), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        averaged = None if self.aggregation_level == "global" else self.average or "none"
        return self.num_classes, self.include_background, self.input_format, self.aggregation_level, averaged

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Sums over the samples: of the counts, or of the scores."""
        found = self.regions(preds, target)
        if self.aggregation_level == "global":
            return {**{name: getattr(found, name).sum(0) for name in ("both", "preds", "target")}, "faults": found.faults}
        return {**mean_over_samples(*dice(found, self.average)), "faults": found.faults}

    def value(self, *, faults: Tensor, **state: Tensor) -> Tensor:
        if self.aggregation_level == "samplewise":
            return state["total"] / state["count"]
        both, preds, target = (state[name][None] for name in ("both", "preds", "target"))
        score, occurs = dice(Regions(both, preds, target, faults), self.average)
        return torch.where(occurs, score, torch.nan)[0]


def dice_score(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    include_background: bool = True,
    average: str | None = "macro",
    input_format: str = "one-hot",
    aggregation_level: str = "samplewise",
) -> Tensor:
    """The scores that :class:`DiceScore` averages over the samples, ``(N,)`` or ``(N, C)``; of "global" one row."""
    metric: Any = fixed(DiceScore, num_classes, include_background, average, aggregation_level, input_format)
    if aggregation_level == "global":
        score: Tensor = metric.of(preds, target)
        return score[None]
    found = metric.regions(preds, target)
    metric.verify({"faults": found.faults})
    score, occurs = dice(found, average)
    return torch.where(occurs, score, torch.nan).to(metric.dtype)
