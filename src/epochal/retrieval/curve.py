"""Precision and recall at every k."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, fixed
from epochal.plot import curve, values
from epochal.retrieval.hits import one
from epochal.retrieval.queries import Aggregation, Queries, RetrievalMetric


class RetrievalPrecisionRecallCurve(RetrievalMetric):
    r"""Precision and recall at k = 1, 2, ..., each aggregated over queries.

    .. math:: P_k = \frac{1}{k} \sum_{i \le k} E[r_i], \quad R_k = \frac{1}{R} \sum_{i \le k} E[r_i]

    with R relevant documents, :math:`E[r_i]` the chance that the i-th is relevant: the part of relevant ones in its tie.
    ``compute()``: precision, recall and k, each ``(max_k,)``.

    Args:
        max_k: the largest k; None: the number of documents of the longest query.
        adaptive_k: whether the k of a query is at most the number of its documents.

    Shapes, units and the other arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` says.

    >>> metric = RetrievalPrecisionRecallCurve(max_k=2)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    (tensor([1.0000, 0.5000]), tensor([0.7500, 0.7500]), tensor([1, 2]))
    """

    plot = curve(x=("Recall", 1), y=("Precision", 0))

    def __init__(
        self,
        max_k: int | None = None,
        adaptive_k: bool = False,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(empty_target_action, ignore_index, aggregation, **kwargs)
        if max_k is not None:
            check.whole(self, "max_k", max_k, 1)
        check.choice(self, "adaptive_k", adaptive_k, (False, True))
        self.max_k, self.adaptive_k = max_k, adaptive_k

    def value(self, queries: Queries) -> Any:
        largest = int(queries.size.max()) if queries.size.numel() else 0
        k = torch.arange(1, (self.max_k or largest) + 1, device=queries.size.device)
        each = k.unsqueeze(1).expand(-1, queries.size.shape[0])
        hits = queries.hits(each)  # (K, Q)
        precision = hits / (torch.minimum(each, queries.size) if self.adaptive_k else each)
        found = (self.aggregated(self.scores(queries, part)) for part in (precision, hits / queries.relevant))
        return (*found, k)


class RetrievalRecallAtFixedPrecision(RetrievalPrecisionRecallCurve):
    r"""The highest recall at a k whose precision is high enough, and the largest such k.

    .. math:: \max \{R_k : P_k \ge \text{min\_precision}\}

    over :class:`RetrievalPrecisionRecallCurve`, aggregated over queries. ``compute()``: a scalar in [0, 1], and k; 0 and the
    largest k where no precision is high enough, or the recall is 0.

    Args:
        min_precision: in [0, 1].
        max_k, adaptive_k: as :class:`RetrievalPrecisionRecallCurve` says.

    Shapes, units and the other arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` says.

    >>> metric = RetrievalRecallAtFixedPrecision(min_precision=0.6)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    (tensor(0.7500), tensor(1))
    """

    plot = values

    def __init__(
        self,
        min_precision: float = 0.0,
        max_k: int | None = None,
        adaptive_k: bool = False,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        *,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(max_k, adaptive_k, empty_target_action, ignore_index, aggregation, **kwargs)
        check.number(self, "min_precision", min_precision, 0, 1)
        self.min_precision = min_precision

    def value(self, queries: Queries) -> Any:
        precision, recall, k = super().value(queries)
        enough = torch.where(precision.isnan(), torch.nan, recall.masked_fill(precision < self.min_precision, 0.0))
        if not k.numel():
            return recall.new_full((), torch.nan), k.new_zeros(())
        best = enough.amax()
        return best, torch.where(best > 0, k.masked_fill(enough != best, 0).amax(), k[-1])


def retrieval_precision_recall_curve(preds: Tensor, target: Tensor, max_k: int | None = None, adaptive_k: bool = False) -> Any:
    """Functional form of :class:`RetrievalPrecisionRecallCurve`, of one query; 0 without a relevant document."""
    return fixed(RetrievalPrecisionRecallCurve, max_k, adaptive_k).of(preds, target, one(preds))
