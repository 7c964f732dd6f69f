r"""One statistic for all that compare two partitions: how many samples are in cluster i of one and in cluster j of the other.

Which labels there are is not known beforehand, and any integers may be, so the labels themselves are kept and counted once, at the
end: the table :math:`n_{ij}` as its cells that are not empty, with the sums of its rows :math:`a_i` and columns :math:`b_j`. In a
collection all its readers count once.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric, State
from epochal.numeric import signed, wide
from epochal.ranks import dense_ranks


@dataclass(frozen=True)
class Contingency:
    """The cells of the table that are not empty: samples in each, and the sums of its row and of its column, float64."""

    cells: Tensor
    rows: Tensor  # of each cell
    columns: Tensor
    row_sums: Tensor  # of each label of preds
    column_sums: Tensor

    @property
    def n(self) -> Tensor:
        return self.cells.sum()


def contingency(preds: Tensor, target: Tensor) -> Contingency:
    """Of two vectors of labels."""
    (x, x_sizes), (y, y_sizes) = dense_ranks(preds), dense_ranks(target)
    columns = max(1, y_sizes.shape[0])
    keys, cells = torch.unique_consecutive(torch.sort(x * columns + y).values, return_counts=True)
    rows, column_sums = wide(x_sizes), wide(y_sizes)
    return Contingency(wide(cells), rows[keys // columns], column_sums[keys % columns], rows, column_sums)


class Partitions(Metric):
    """Base of what reads the contingency table of two partitions.

    ``update(preds, target)``: integer labels ``(N,)``, any numbers, all of which are kept. A score without a unit; renaming the
    labels of either changes nothing.

    Raises:
        TypeError: labels that are floats. ValueError: shapes that differ, or have more than one dimension.
    """

    is_differentiable = False
    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        return ()

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The labels."""
        check.same_shape(self, preds=preds, target=target)
        check.integers(self, preds=preds, target=target)
        if preds.ndim != 1:
            check.fail(self, f"preds has shape {check.shape(preds)}", "(N,) is needed", "Pass a label for each sample.")
        return {"preds": signed(preds), "target": signed(target)}

    def derive(self, preds: Tensor, target: Tensor) -> dict[str, Any]:
        return {"table": contingency(preds.long(), target.long())}
