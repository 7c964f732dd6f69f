"""Where the relevant documents are: average precision, reciprocal rank, discounted gain, the area under the ROC."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import MetricOptions, fixed
from epochal.numeric import wide
from epochal.retrieval.hits import one
from epochal.retrieval.queries import Aggregation, Queries, TopKMetric, at, before, log_choose


class RetrievalMAP(TopKMetric):
    r"""Mean average precision: over the R relevant documents of a query, the precision at the place of each.

    .. math:: \frac{1}{R} \sum_{i \le k} E\Big[r_i \, \frac{1}{i} \sum_{j \le i} r_j\Big]

    At the j-th place of a tie of s documents with r relevant ones, b relevant ones before it, the expectation is
    :math:`\frac{r}{s} \big(b + 1 + (j - 1) \frac{r - 1}{s - 1}\big) / i`. A relevant document that is not among the first k
    counts 0, as in trec_eval's ``map_cut``. Shapes, units and arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` and
    :class:`~epochal.retrieval.queries.TopKMetric` say.

    >>> metric = RetrievalMAP()
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(0.9167)
    """

    def score(self, queries: Queries) -> Tensor:
        s, r, tie = wide(queries.tie_size), wide(queries.tie_relevant), queries.tie
        others = (r - 1) / (s - 1).clamp(min=1)  # of them relevant, beside one that is
        found = at(queries.relevant_before + 1 - others, tie) + queries.place * at(others, tie)
        return queries.total(self.counts(queries, at(r / s, tie) * found / queries.position)) / queries.relevant


class RetrievalMRR(TopKMetric):
    r"""Mean reciprocal rank: 1 over the place of the first relevant document, 0 where it is not among the first k.

    .. math:: E\Big[\frac{1}{i}\Big], \quad i = \min \{j \le k : r_j\}

    In a tie of s documents with r relevant ones, after c others, the first relevant one is at place j with the chance
    :math:`\binom{s - j}{r - 1} / \binom{s}{r}`, and i is c + j. Shapes, units and arguments: as
    :class:`~epochal.retrieval.queries.RetrievalMetric` and :class:`~epochal.retrieval.queries.TopKMetric` say.

    >>> metric = RetrievalMRR()
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 0, 1]))
    tensor(0.7500)
    """

    def score(self, queries: Queries) -> Tensor:
        first = ((queries.relevant_before == 0) & (queries.tie_relevant > 0)).nonzero().squeeze(1)  # one tie of each query
        tie, j = each(torch.ones_like(first), at(queries.tie_size, first))
        tie = at(first, tie)
        s, r, place = at(queries.tie_size, tie), at(queries.tie_relevant, tie), at(queries.rows_before, tie) + j
        found = (log_choose(s - j, r - 1) - log_choose(s, r)).exp() / place
        if self.top_k is not None:
            found = found.masked_fill(place > self.top_k, 0.0)
        return found.new_zeros(queries.size.shape).index_add_(0, at(queries.tie_query, tie), found)


class RetrievalNormalizedDCG(TopKMetric):
    r"""Normalised discounted cumulative gain: the gains of the first k documents, over those of the best order.

    .. math:: \sum_{i \le k} \frac{E[g_i]}{\log_2(i + 1)} \Big/ \max_{\text{orders}} \sum_{i \le k} \frac{g_i}{\log_2(i + 1)}

    The gain of a document is its target, any number that is not negative; :math:`E[g_i]` is the mean of the tie. Shapes, units and
    arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` and :class:`~epochal.retrieval.queries.TopKMetric` say.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002; ties as McSherry and Najork, Computing
    information retrieval performance measures efficiently in the presence of tied scores, 2008, and scikit-learn's ``ndcg_score``.

    >>> metric = RetrievalNormalizedDCG()
    >>> metric(torch.tensor([0.1, 0.2, 0.3, 4.0, 70.0]), torch.tensor([10, 0, 0, 1, 5]), torch.zeros(5, dtype=torch.long))
    tensor(0.6957)
    """

    def score(self, queries: Queries) -> Tensor:
        longest = int(queries.size.max()) if queries.size.numel() else 0
        table = 1 / wide(torch.arange(1, longest + 2, device=queries.size.device)).log2()  # from place 0 on
        discount = self.counts(queries, at(table, queries.position))
        return queries.total(queries.mean_gain * discount) / queries.total(queries.ideal_gain * discount)


class RetrievalAUROC(TopKMetric):
    r"""The area under the receiver operating characteristic of the first k documents: how often a relevant one is before another.

    .. math:: E\Big[\frac{1}{R_k (k - R_k)} \sum_{i < j \le k} r_i (1 - r_j)\Big]

    with :math:`R_k` relevant ones among them; k is at most the number of documents of the query. Where the k-th place is in a tie,
    :math:`R_k` has the hypergeometric distribution, over which the mean is taken. 0 where the first k are all relevant, or none is.

    Args:
        top_k: k; None: all documents of a query.
        max_fpr: the area up to this false positive rate, scaled so that chance is 0.5 and the best 1. In (0, 1]; None: 1. In a tie
            of m documents that are not relevant and r that are, j r / (m + 1) of these are expected before the j-th of those.

    Shapes, units and the other arguments: as :class:`~epochal.retrieval.queries.RetrievalMetric` says.

    Source: Hanley and McNeil, 1982; the part up to ``max_fpr`` by McClish, 1989.

    >>> metric = RetrievalAUROC()
    >>> metric(torch.tensor([0.2, 0.3, 0.5, 0.1]), torch.tensor([1, 0, 1, 0]), torch.tensor([0, 0, 0, 0]))
    tensor(0.7500)
    """

    def __init__(
        self,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        top_k: int | None = None,
        max_fpr: float | None = None,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(empty_target_action, ignore_index, top_k, aggregation, **kwargs)
        if max_fpr is not None:
            check.number(self, "max_fpr", max_fpr, 0, 1)
            if not max_fpr:
                check.fail(self, f"max_fpr is {max_fpr!r}", "a number in (0, 1] is needed")
        self.max_fpr = max_fpr

    def score(self, queries: Queries) -> Tensor:
        """Each query counts as often as there are numbers h of relevant ones that its last tie may have among the first k."""
        r, n = queries.tie_relevant, queries.tie_size - queries.tie_relevant
        last, taken = queries.cut(self.k(queries))
        query, h = each((taken - at(n, last)).clamp(min=0), torch.minimum(taken, at(r, last)))
        last, others = at(last, query), at(taken, query) - h
        all_r, all_n = at(r, last), at(n, last)
        chance = (log_choose(all_r, h) + log_choose(all_n, others) - log_choose(all_r + all_n, h + others)).exp()

        r_before, first = queries.relevant_before, at(queries.tie, queries.start)
        n_before = queries.rows_before - r_before
        relevant, non_relevant = at(r_before, last) + h, at(n_before, last) + others
        end = wide(non_relevant) * (self.max_fpr or 1)  # to which of them the area goes, and in which tie that is
        tie = torch.searchsorted(n.cumsum(0), at(at(before(n), first), query) + end.long(), right=True).minimum(last)
        won = before(n * (2 * r_before + r))  # of all ties before, twice the area
        won = wide(at(won, tie) - at(at(won, first), query)) / 2
        part = end - at(n_before, tie)
        whole = part.floor()
        r_tie, n_tie = torch.where(tie == last, h, at(r, tie)), torch.where(tie == last, others, at(n, tie))
        rising = wide(r_tie) / (n_tie + 1) * (whole + 1) * (part - whole / 2)
        area = (won + at(r_before, tie) * part + rising) / (relevant * non_relevant)
        if self.max_fpr is not None and self.max_fpr < 1:
            by_chance = self.max_fpr**2 / 2
            area = (1 + (area - by_chance) / (self.max_fpr - by_chance)) / 2
        area = area.masked_fill(relevant * non_relevant == 0, 0.0)
        return area.new_zeros(queries.size.shape).index_add_(0, query, chance * area)


def each(least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """All integers from the least to the most of several ranges: the range of each, and the integer."""
    sizes = most - least + 1
    of = torch.repeat_interleave(sizes)
    return of, torch.arange(of.shape[0], device=of.device) - at(before(sizes) - least, of)


def retrieval_average_precision(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalMAP`, of one query; 0 without a relevant document."""
    return fixed(RetrievalMAP, top_k=top_k).of(preds, target, one(preds))


def retrieval_reciprocal_rank(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalMRR`, of one query; 0 without a relevant document."""
    return fixed(RetrievalMRR, top_k=top_k).of(preds, target, one(preds))


def retrieval_normalized_dcg(preds: Tensor, target: Tensor, top_k: int | None = None) -> Tensor:
    """Functional form of :class:`RetrievalNormalizedDCG`, of one query; 0 without a relevant document."""
    return fixed(RetrievalNormalizedDCG, top_k=top_k).of(preds, target, one(preds))


def retrieval_auroc(preds: Tensor, target: Tensor, top_k: int | None = None, max_fpr: float | None = None) -> Tensor:
    """Functional form of :class:`RetrievalAUROC`, of one query; 0 without a relevant document, or without another."""
    return fixed(RetrievalAUROC, top_k=top_k, max_fpr=max_fpr).of(preds, target, one(preds))
