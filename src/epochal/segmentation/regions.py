r"""What is counted of each sample and class: the places of the class in prediction, in target, and in both.

All overlap scores read these three. Where a score is an average over samples, its sum and number over the samples merge; where it
is that of all samples taken together, the counts themselves do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric, State
from epochal.numeric import histogram, signed, wide

FORMATS = ("one-hot", "index", "mixed")


class Regions(NamedTuple):
    """Numbers of places ``(N, C)``, float64, and how many values are no labels."""

    both: Tensor
    preds: Tensor
    target: Tensor
    faults: Tensor

    def of_classes(self, first: int) -> Regions:
        return Regions(self.both[:, first:], self.preds[:, first:], self.target[:, first:], self.faults)


class Overlap(Metric):
    """Base of overlap scores of label maps.

    ``update(preds, target)``, by ``input_format``: "one-hot": integers or bools ``(N, C, ...)`` of 0 and 1; "index": integers
    ``(N, ...)`` in 0 .. C-1; "mixed": one of each, where scores ``(N, C, ...)`` stand for their highest class.

    Args:
        num_classes: C, needed for "index".
        include_background: whether class 0 counts.

    Raises:
        ValueError: other shapes, or values that are no labels. TypeError: floats where labels are needed.
    """

    is_differentiable = False
    higher_is_better = True
    refuses = False  # faults are counted in the state
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    plot_legend_name = "Class"

    def __init__(self, num_classes: int | None, include_background: bool, input_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check.choice(self, "input_format", input_format, FORMATS)
        if num_classes is None and input_format == "index":
            check.fail(self, "num_classes is None", "input_format='index' needs it", "Pass num_classes=.")
        if num_classes is not None:
            check.whole(self, "num_classes", num_classes, 1 if include_background else 2)
        check.choice(self, "include_background", include_background, (True, False))
        self.num_classes, self.include_background, self.input_format = num_classes, include_background, input_format
        self.add_state("faults", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def scored(self) -> int | None:
        """How many classes have a score; None: not known yet."""
        return None if self.num_classes is None else self.num_classes - (not self.include_background)

    def regions(self, preds: Tensor, target: Tensor) -> Regions:
        """The counts of a batch, of the classes that are scored."""
        check.tensors(self, preds=preds, target=target)
        if self.input_format == "one-hot":
            found = self._of_masks(preds, target)
        else:
            classes = self.num_classes
            if self.input_format == "mixed":
                classes, preds, target = self._unmixed(preds, target)
            assert classes is not None
            found = self._of_labels(preds, target, classes)
        return found.of_classes(0 if self.include_background else 1)

    def _of_masks(self, preds: Tensor, target: Tensor) -> Regions:
        check.same_shape(self, preds=preds, target=target)
        check.integers(self, preds=preds, target=target)
        if preds.ndim < 2 or self.num_classes not in (None, preds.shape[1]):
            needed = "(N, C, ...) is needed" if self.num_classes is None else f"(N, {self.num_classes}, ...) is needed"
            check.fail(self, f"preds has shape {check.shape(preds)}", needed, "For (N, ...) labels pass input_format='index'.")
        faults = ((preds != 0) & (preds != 1)).sum() + ((target != 0) & (target != 1)).sum()
        p, t = ((mask == 1).unsqueeze(-1).flatten(2) for mask in (preds, target))
        both, p_places, t_places = (wide(mask.sum(2)) for mask in (p & t, p, t))
        return Regions(both, p_places, t_places, faults)

    def _of_labels(self, preds: Tensor, target: Tensor, classes: int) -> Regions:
        check.same_shape(self, preds=preds, target=target)
        check.integers(self, preds=preds, target=target)
        if preds.ndim < 1:
            check.fail(self, "preds is a scalar", "(N, ...) is needed")
        n = preds.shape[0]
        p, t = (labels.long().unsqueeze(-1).flatten(1) for labels in (preds, target))
        known = (p >= 0) & (p < classes) & (t >= 0) & (t < classes)
        cell = torch.arange(n, device=p.device)[:, None] * classes**2 + t * classes + p
        counted = histogram(torch.where(known, cell, n * classes**2), n * classes**2 + 1)
        table = wide(counted[:-1]).reshape(n, classes, classes)
        return Regions(table.diagonal(dim1=1, dim2=2), table.sum(1), table.sum(2), counted[-1])

    def _unmixed(self, preds: Tensor, target: Tensor) -> tuple[int, Tensor, Tensor]:
        """The number of classes, and both as labels."""
        if abs(preds.ndim - target.ndim) != 1:
            came = f"preds has shape {check.shape(preds)} and target {check.shape(target)}"
            check.fail(self, came, "input_format is 'mixed'", "Pass one as (N, C, ...), the other as (N, ...).")
        scores = preds if preds.ndim > target.ndim else target
        if scores.ndim < 2 or self.num_classes not in (None, scores.shape[1]):
            check.fail(self, f"the shape of the scores is {check.shape(scores)}", f"(N, {self.num_classes or 'C'}, ...) is needed")
        preds, target = (_highest(x) if x is scores else x for x in (preds, target))
        return scores.shape[1], preds, target

    def verify(self, state: State) -> None:
        faults = state["faults"]
        if faults:
            what = "0 or 1" if self.input_format == "one-hot" else f"0 .. {self.num_classes - 1 if self.num_classes else 'C-1'}"
            check.fail(
                self, f"{int(faults)} values are no labels", f"labels {what} are needed", "Look for an ignored label, -1, or NaN."
            )


def _highest(scores: Tensor) -> Tensor:
    """The class of the highest score; -1, which is none, where a score is NaN."""
    numbers = scores.to(torch.uint8) if scores.dtype == torch.bool else signed(scores)
    return numbers.argmax(1).masked_fill(scores.isnan().any(1), -1)


def mean_over_samples(scores: Tensor, counts: Tensor) -> State:
    """The state of an average over samples: the sum of the scores that count, and their number, over the first dimension."""
    return {"total": torch.where(counts, scores, 0.0).sum(0), "count": counts.sum(0)}
