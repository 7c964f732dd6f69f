"""How many of the relevant documents are among the first: precision, recall, fall-out, hit rate, R-precision."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, fixed
from epochal.retrieval.queries import Aggregation, Queries, RetrievalMetric, TopKMetric, at, log_choose


class RetrievalPrecision(TopKMetric):
    r"""Precision at k: which part of the first k documents is relevant.

    .. math:: \frac{1}{k} \sum_{i \le k} E[r_i]

    with :math:`E[r_i]` the chance that the i-th document is relevant: the part of relevant ones in its tie. A query of fewer than k
    documents has precision r / k all the same, as in trec_eval.

    Args:
        top_k: k; None: all documents of a query.
        adaptive_k: whether k is at most the number of documents of the query.

    Shapes, units and the other arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` says.

    >>> metric = RetrievalPrecision(top_k=2)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(0.7500)
    """

    def __init__(
        self,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        top_k: int | None = None,
        adaptive_k: bool = False,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(empty_target_action, ignore_index, top_k, aggregation, **kwargs)
        check.choice(self, "adaptive_k", adaptive_k, (False, True))
        self.adaptive_k = adaptive_k

    def score(self, queries: Queries) -> Tensor:
        k = self.k(queries)
        return queries.hits(k) / (torch.minimum(k, queries.size) if self.adaptive_k else k)


class RetrievalRecall(TopKMetric):
    r"""Recall at k: which part of the R relevant documents is among the first k.

    .. math:: \frac{1}{R} \sum_{i \le k} E[r_i]

    with :math:`E[r_i]` the chance that the i-th document is relevant: the part of relevant ones in its tie. Shapes, units and
    arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` and :class:`~epochal.retrieval.queries.TopKMetric` say.

    >>> metric = RetrievalRecall(top_k=2)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(1.)
    """

    def score(self, queries: Queries) -> Tensor:
        return queries.hits(self.k(queries)) / queries.relevant


class RetrievalFallOut(TopKMetric):
    r"""Fall-out at k: which part of the documents that are not relevant is among the first k. Lower is better.

    .. math:: \frac{1}{n - R} \sum_{i \le k} (1 - E[r_i])

    of n documents with R relevant ones, :math:`E[r_i]` the chance that the i-th is relevant: the part of relevant ones in its tie.
    Empty is a query of relevant documents alone. Shapes, units and arguments: as
    :class:`~epochal.retrieval.queries.RetrievalMetric` and :class:`~epochal.retrieval.queries.TopKMetric` say.

    >>> metric = RetrievalFallOut(top_k=2)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 0, 1]))
    tensor(0.7500)
    """

    higher_is_better = False
    missing = "non-relevant"

    def __init__(
        self,
        empty_target_action: str = "pos",
        ignore_index: int | None = None,
        top_k: int | None = None,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(empty_target_action, ignore_index, top_k, aggregation, **kwargs)

    def score(self, queries: Queries) -> Tensor:
        k = torch.minimum(self.k(queries), queries.size)
        return (k - queries.hits(k)) / (queries.size - queries.relevant)


class RetrievalHitRate(TopKMetric):
    r"""Hit rate at k: whether a relevant document is among the first k.

    Of a tie of s documents with r relevant ones, of which m are among the first k, and no relevant one before, the chance:

    .. math:: 1 - \binom{s - r}{m} \Big/ \binom{s}{m}

    Shapes, units and arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` and
    :class:`~epochal.retrieval.queries.TopKMetric` say.

    >>> metric = RetrievalHitRate(top_k=1)
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(0.5000)
    """

    def score(self, queries: Queries) -> Tensor:
        tie, m = queries.cut(self.k(queries))
        s, r = at(queries.tie_size, tie), at(queries.tie_relevant, tie)
        missed = (log_choose(s - r, m) - log_choose(s, m)).exp()
        return (1 - missed).masked_fill(at(queries.relevant_before, tie) > 0, 1.0)


class RetrievalRPrecision(RetrievalMetric):
    r"""R-precision: the precision at R, the number of relevant documents of the query.

    .. math:: \frac{1}{R} \sum_{i \le R} E[r_i]

    with :math:`E[r_i]` the chance that the i-th document is relevant: the part of relevant ones in its tie. Shapes, units and
    arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` says.

    >>> metric = RetrievalRPrecision()
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(0.7500)
    """

    def score(self, queries: Queries) -> Tensor:
        most = queries.relevant.clamp(min=1)
        return queries.hits(most) / most


def one(preds: Tensor) -> Tensor:
    """The indexes of functions: all documents are of one query."""
    return torch.zeros_like(preds, dtype=torch.int64) if isinstance(preds, Tensor) else preds


def retrieval_precision(preds: Tensor, target: Tensor, top_k: int | None = None, adaptive_k: bool = False) -> Tensor:
    """Functional form of :class:`RetrievalPrecision`, of one query; 0 without a relevant document."""
    return fixed(RetrievalPrecision, top_k=top_k, adaptive_k=adaptive_k).of(preds, target, one(preds))


def retrieval_recall(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalRecall`, of one query; 0 without a relevant document."""
    return fixed(RetrievalRecall, top_k=top_k).of(preds, target, one(preds))


def retrieval_fall_out(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalFallOut`, of one query; 0 where all documents are relevant."""
    return fixed(RetrievalFallOut, "neg", top_k=top_k).of(preds, target, one(preds))


def retrieval_hit_rate(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalHitRate`, of one query; 0 without a relevant document."""
    return fixed(RetrievalHitRate, top_k=top_k).of(preds, target, one(preds))


def retrieval_r_precision(preds: Tensor, target: Tensor) -> Tensor:
    """Functional form of :class:`RetrievalRPrecision`, of one query; 0 without a relevant document."""
    return fixed(RetrievalRPrecision).of(preds, target, one(preds))
