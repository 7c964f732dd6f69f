r"""Association of two categorical variables: all read one table, how often category i of one meets category j of the other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State, fixed
from epochal.numeric import histogram, signed, wide
from epochal.ranks import dense_ranks

STRATEGIES = ("replace", "drop")


class Association(Metric):
    """Base of what reads the table.

    ``update(preds, target)``: categories 0 .. num_classes-1, integers or floats, ``(N,)``, or scores ``(N, num_classes)``, which
    stand for their highest, NaN where one of them is.

    Args:
        num_classes: of each variable, at most; what occurs in neither has no part in a value.
        nan_strategy: of NaN among float categories: "replace" puts a category in its place, "drop" leaves the pair out.
        nan_replace_value: that category.

    Raises:
        ValueError: shapes that differ, or values that are no categories.
    """

    is_differentiable = False
    higher_is_better = True
    refuses = False  # faults are counted in the table
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(
        self,
        num_classes: int,
        nan_strategy: str = "replace",
        nan_replace_value: float | None = 0.0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.whole(self, "num_classes", num_classes, 2)
        self.num_classes, self.nan_strategy, self.nan_replace_value = num_classes, nan_strategy, nan_replace_value
        check_strategy(self, nan_strategy, nan_replace_value)
        self.add_state("table", torch.zeros(num_classes**2 + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return self.num_classes, self.nan_strategy, self.nan_replace_value

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Count the pairs; in the last cell those that are no categories."""
        preds, target = categories(self, preds, target)
        (p, p_nan), (t, t_nan) = (replaced(x, self.nan_strategy, self.nan_replace_value) for x in (preds, target))
        known = self._is_known(p) & self._is_known(t)
        cell = torch.where(known, p.long() * self.num_classes + t.long(), self.num_classes**2)
        weight = (~(p_nan | t_nan)).long() if self.nan_strategy == "drop" else None
        return {"table": histogram(cell, self.num_classes**2 + 1, weight)}

    def _is_known(self, x: Tensor) -> Tensor:
        whole = x == x.floor() if x.is_floating_point() else True
        return (x >= 0) & (x < self.num_classes) & whole

    def verify(self, state: State) -> None:
        faults = int(state["table"][-1])
        if faults:
            came = f"{faults} pairs have a value that is no category"
            check.fail(
                self, came, f"0 .. {self.num_classes - 1} are needed", "Pass a larger num_classes, or number the categories."
            )

    def derive(self, table: Tensor) -> dict[str, Any]:
        return {"table": wide(table[:-1]).reshape(self.num_classes, self.num_classes)}


def check_strategy(metric: object, nan_strategy: str, nan_replace_value: float | None) -> None:
    if not isinstance(nan_strategy, str):
        raise TypeError(check.message(metric, f"nan_strategy is {nan_strategy!r}", f"one of {list(STRATEGIES)} is needed"))
    check.choice(metric, "nan_strategy", nan_strategy, STRATEGIES)
    if nan_strategy == "replace":
        check.number(metric, "nan_replace_value", nan_replace_value, float("-inf"))


def categories(metric: object, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as ``(N,)``: of scores the highest, NaN where one of them is."""
    check.pair(metric, preds, target)
    preds, target = signed(preds), signed(target)
    if preds.ndim == 2 and preds.shape[1]:
        preds, target = (torch.where(x.isnan().any(1), torch.nan, wide(x.argmax(1))) for x in (preds, target))
    if preds.ndim != 1:
        check.fail(metric, f"preds has shape {check.shape(preds)}", "(N,) or (N, num_classes) is needed")
    return preds, target


def replaced(x: Tensor, strategy: str, value: float | None) -> tuple[Tensor, Tensor]:
    """Categories without NaN, and where it was; what will be dropped is 0 for now."""
    nan = x.isnan()
    return torch.where(nan, torch.as_tensor(value if strategy == "replace" else 0, dtype=x.dtype), x), nan


def numbered(preds: Tensor, target: Tensor, strategy: str, value: float | None) -> tuple[Tensor, Tensor, int]:
    """Any categories as 0, 1, ...; NaN are gone. Waits for the device."""
    (p, p_nan), (t, t_nan) = (replaced(x, strategy, value) for x in (preds, target))
    if strategy == "drop":
        p, t = p[~(p_nan | t_nan)], t[~(p_nan | t_nan)]
    (p, p_sizes), (t, t_sizes) = dense_ranks(p), dense_ranks(t)
    return p, t, max(2, len(p_sizes), len(t_sizes))


class CramersV(Association):
    r"""Cramér's V: chi squared of the table as a share of what it can be, in [0, 1].

    .. math:: V = \sqrt{\frac{\varphi^2}{\min(r - 1, k - 1)}}, \qquad
        \varphi^2 = \sum_{ij} \frac{(n_{ij} - n_{i\cdot} n_{\cdot j} / n)^2}{n_{i\cdot} n_{\cdot j}}

    for r and k categories that occur. ``bias_correction``: with :math:`\varphi^2` less :math:`(r-1)(k-1)/(n-1)`, at least 0, and
    r, k less :math:`(r-1)^2/(n-1)`, :math:`(k-1)^2/(n-1)`. ``update`` and arguments as in
    :class:`~epochal.nominal.association.Association`. ``compute()``: a scalar; NaN where a variable has one category, and without
    data.

    Source: H. Cramér, Mathematical methods of statistics, 1946; W. Bergsma, A bias-correction for Cramér's V, 2013.

    >>> metric = CramersV(num_classes=2, bias_correction=False)
    >>> metric(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 0]))
    tensor(0.5774)
    """

    def __init__(
        self,
        num_classes: int,
        bias_correction: bool = True,
        nan_strategy: str = "replace",
        nan_replace_value: float | None = 0.0,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_classes, nan_strategy, nan_replace_value, **kwargs)
        self.bias_correction = bias_correction

    def value(self, table: Tensor) -> Tensor:
        n, rows, columns = table.sum(), table.sum(1), table.sum(0)
        expected = torch.outer(rows, columns) / n
        phi2 = torch.where(expected > 0, (table - expected).square() / expected, 0.0).sum() / n
        r, k = ((sums > 0).sum().to(table.dtype) for sums in (rows, columns))
        least = torch.minimum(r, k) - 1
        if self.bias_correction:
            phi2 = (phi2 - (r - 1) * (k - 1) / (n - 1)).clamp(min=0)
            least = torch.where(least > 0, torch.minimum(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1, 0.0)
        return torch.where(least > 0, (phi2 / least).sqrt().clamp(max=1), torch.nan)


def cramers_v(
    preds: Tensor,
    target: Tensor,
    bias_correction: bool = True,
    nan_strategy: str = "replace",
    nan_replace_value: float | None = 0.0,
) -> Tensor:
    """Functional form of :class:`CramersV`, of any numbers as categories."""
    check_strategy("cramers_v", nan_strategy, nan_replace_value)
    preds, target = categories("cramers_v", preds, target)
    p, t, size = numbered(preds, target, nan_strategy, nan_replace_value)
    return fixed(CramersV, size, bias_correction).of(p, t)


def cramers_v_matrix(
    matrix: Tensor, bias_correction: bool = True, nan_strategy: str = "replace", nan_replace_value: float | None = 0.0
) -> Tensor:
    """:func:`cramers_v` of each two columns of ``(N, F)`` categories: ``(F, F)``, symmetric, 1 on the diagonal."""
    check.tensors("cramers_v_matrix", matrix=matrix)
    if matrix.ndim != 2:
        check.fail("cramers_v_matrix", f"matrix has shape {check.shape(matrix)}", "(N, F) is needed")
    columns = matrix.unbind(1)
    found = torch.eye(len(columns), device=matrix.device)
    for i, x in enumerate(columns):
        for j, y in enumerate(columns[:i]):
            found[i, j] = found[j, i] = cramers_v(x, y, bias_correction, nan_strategy, nan_replace_value)
    return found
