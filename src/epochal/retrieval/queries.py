r"""One statistic for all retrieval metrics: the documents of each query, by descending score.

Which queries there are is not known beforehand and a query may be spread over batches and processes, so all documents are kept: the
index of their query, their score and their relevance. One sort groups them at the end, and every metric is a sum over the rows of
each query: none loops over queries. In a collection all readers sort once.

Documents of one query with equal scores are a *tie*: nothing says in which order a user would see them. A score is its expectation
over all their orders, each as likely as another, so that it does not depend on the order of input. Of s tied documents with r
relevant ones, the next m have on average m r / s of these, exactly h of them by the hypergeometric distribution. It is what
scikit-learn's ``ndcg_score`` does; trec_eval orders ties by the names of documents instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions, State
from epochal.numeric import derived, signed, wide
from epochal.ranks import dense_ranks, keys

Aggregation: TypeAlias = str | Callable[..., Tensor]
ACTIONS = ("neg", "pos", "skip", "error")
AGGREGATIONS = ("mean", "median", "min", "max")


def median(values: Tensor) -> Tensor:
    """Over the first dimension: of an even number, the mean of the two in the middle."""
    ascending, n = values.sort(0).values, values.shape[0]
    return (ascending[(n - 1) // 2] + ascending[n // 2]) / 2


READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.mean(0),
    "median": median,
    "min": lambda values: values.amin(0),
    "max": lambda values: values.amax(0),
}


# --- rows in runs -------------------------------------------------------------------------------------------------------------


def within(x: Tensor, bits: int) -> Tensor:
    """Numbers of so many bits in the order of ``x``: its own less the smallest, or its ranks where those are too far apart."""
    if not x.numel():
        return x.long()
    ordered = keys(x)
    low, high = (int(end) for end in ordered.aminmax())
    return ordered.long() - low if high - low < 1 << bits else dense_ranks(x)[0]


def descending(groups: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending integers, equal where group and ``x`` are: by group, then from the largest ``x``; and the order of rows."""
    return torch.sort((within(groups, 31) << 32).sub_(within(x, 32)).add_((1 << 32) - 1))


def runs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the run of equal neighbours that each row is in, and how long each run is."""
    _, run, sizes = torch.unique_consecutive(x, return_inverse=True, return_counts=True)
    return run, sizes


def before(sizes: Tensor) -> Tensor:
    """The sums of all sizes before each."""
    return sizes.cumsum(0) - sizes


def at(values: Tensor, rows: Tensor) -> Tensor:
    """``values[rows]``, in a quarter of the time."""
    return values.index_select(0, rows.reshape(-1)).view(rows.shape)


def totals(values: Tensor, sizes: Tensor) -> Tensor:
    """The sums of neighbours, so many each."""
    return torch.segment_reduce(values, "sum", lengths=sizes, unsafe=True)  # what it would check is so, and fails without rows


def log_choose(n: Tensor, k: Tensor) -> Tensor:
    """The logarithm of a binomial coefficient; -inf where that is 0."""
    n, k = wide(n), wide(k)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


class Queries:
    """Rows by query, in each by descending score; equal scores of a query are a tie. Relevant is what has a gain above 0."""

    def __init__(self, indexes: Tensor, preds: Tensor, target: Tensor) -> None:
        key, order = descending(indexes, preds)
        self.gain = at(target, order)  # (N,)
        self.query, self.size = runs(key >> 32)  # (N,), (Q,)
        self.tie, self.tie_size = runs(key)  # (N,), (T,)
        self.start, self.tie_start = before(self.size), before(self.tie_size)
        rows = torch.arange(1, key.shape[0] + 1, device=key.device)
        self.position = rows.sub_(at(self.start, self.query))  # in its query, from 1
        self.tie_query = at(self.query, self.tie_start)
        self.above = torch.nn.functional.pad((self.gain > 0).cumsum(0), (1, 0))  # (N + 1,): relevant rows before each

    @derived
    def relevant(self) -> Tensor:
        """Of each query."""
        return at(self.above, self.start + self.size) - at(self.above, self.start)

    @derived
    def tie_relevant(self) -> Tensor:
        """Of each tie."""
        return at(self.above, self.tie_start + self.tie_size) - at(self.above, self.tie_start)

    @derived
    def relevant_before(self) -> Tensor:
        """In the query, before each tie."""
        return at(self.above, self.tie_start) - at(at(self.above, self.start), self.tie_query)

    @derived
    def rows_before(self) -> Tensor:
        """In the query, before each tie."""
        return self.tie_start - at(self.start, self.tie_query)

    @derived
    def place(self) -> Tensor:
        """Of each row in its tie, from 1."""
        return self.position - at(self.rows_before, self.tie)

    @derived
    def mean_gain(self) -> Tensor:
        """What is expected at the place of each row: the mean of its tie."""
        return at(totals(wide(self.gain), self.tie_size) / self.tie_size, self.tie)

    @derived
    def ideal_gain(self) -> Tensor:
        """The gains of each query from the largest."""
        return wide(at(self.gain, descending(self.query, self.gain)[1]))

    def cut(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """The tie in which the first ``k`` rows of each query end, and how many of it are among them. k: (Q,) or (K, Q)."""
        end = self.start + torch.minimum(k, self.size)
        tie = at(self.tie, end - 1)
        return tie, end - at(self.tie_start, tie)

    def hits(self, k: Tensor) -> Tensor:
        """How many relevant ones are expected among the first ``k`` rows of each query. k: (Q,) or (K, Q)."""
        tie, taken = self.cut(k)
        return at(self.relevant_before, tie) + wide(at(self.tie_relevant, tie)) * taken / at(self.tie_size, tie)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the rows of each query."""
        return totals(values, self.size)


# --- the statistic ------------------------------------------------------------------------------------------------------------


class RetrievalMetric(Metric):
    r"""Base of what is scored for each query and aggregated over queries; ties count by expectation over their orders.

    ``update(preds, target, indexes)``: scores, floats; how relevant each document is to its query: numbers that are not negative,
    of which all above 0 are relevant; and the integers that say which query. All of one shape, in any order and any cut: documents
    of a query may come in several batches, on several processes. All are kept. ``compute()``: a scalar in [0, 1], without a unit;
    NaN where there is no query.

    Args:
        empty_target_action: the score of a query without a relevant document: "neg" 0, "pos" 1, "skip" leaves the query out,
            "error" raises at ``compute``.
        ignore_index: a value in target that leaves the document out.
        aggregation: over queries: "mean", "median" (of an even number, the mean of the two in the middle), "min", "max", or a
            function called as ``aggregation(values, dim=0)``.

    Raises:
        TypeError: preds that are no floats, indexes that are no integers. ValueError: shapes that differ, NaN, a target that is
        negative or infinite.
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    missing: ClassVar[str] = "relevant"  # without which a query has no score

    def __init__(
        self,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        check.choice(self, "empty_target_action", empty_target_action, ACTIONS)
        if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
            raise TypeError(check.message(self, f"ignore_index is {ignore_index!r}", "an integer or None is needed"))
        if not callable(aggregation):
            check.choice(self, "aggregation", aggregation, AGGREGATIONS)
        self.empty_target_action, self.ignore_index, self.aggregation = empty_target_action, ignore_index, aggregation
        for name in ("indexes", "preds", "target"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.add_state("faults", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def measured_by(self) -> Hashable:
        return (self.ignore_index,)

    def measure(self, preds: Tensor, target: Tensor, indexes: Tensor) -> State:
        """The documents, and how many have a score or a target that is none."""
        check.pair(self, preds, target)
        check.same_shape(self, preds=preds, indexes=indexes)
        check.floating(self, preds=preds)
        check.integers(self, indexes=indexes)
        documents = {"indexes": signed(indexes), "preds": preds, "target": signed(target)}
        rows: State = {name: values.reshape(-1) for name, values in documents.items()}
        kept = self._kept(rows["target"])
        faults = [rows["preds"].isnan(), ~is_gain(rows["target"])]
        return {**rows, "faults": torch.stack([(bad & kept).sum() for bad in faults])}

    def _kept(self, target: Tensor) -> Tensor:
        return torch.ones_like(target, dtype=torch.bool) if self.ignore_index is None else target != self.ignore_index

    def verify(self, state: State) -> None:
        scores, targets = (int(faults) for faults in state["faults"])
        if scores:
            check.fail(self, f"preds has {scores} NaN", "numbers are needed", "Look at the model's output.")
        if targets:
            fix = "To leave such documents out, pass ignore_index."
            check.fail(self, f"target has {targets} values that are negative, infinite or NaN", "0 or more is needed", fix)

    def derive(self, indexes: Tensor, preds: Tensor, target: Tensor, faults: Tensor) -> dict[str, Queries]:  # noqa: ARG002  # faults: verified
        if self.ignore_index is not None:
            kept = self._kept(target)
            indexes, preds, target = indexes[kept], preds[kept], target[kept]
        return {"queries": Queries(indexes, preds, target)}

    def score(self, queries: Queries) -> Tensor:
        """Of each query ``(Q,)``, or of each query at each k, ``(K, Q)``; whatever it likes for one that is empty."""
        raise NotImplementedError(check.message(self, "score is not defined", "a retrieval metric defines it"))

    def scores(self, queries: Queries, found: Tensor) -> Tensor:
        """The scores with those of empty queries as :attr:`empty_target_action` says; the last dimension is of queries."""
        few = queries.relevant if self.missing == "relevant" else queries.size - queries.relevant
        empty = few == 0
        if self.empty_target_action == "error" and empty.any():
            came = f"{int(empty.sum())} of {empty.shape[0]} queries have no {self.missing} document"
            check.fail(
                self, came, "empty_target_action is 'error'", "Pass 'neg', 'pos' or 'skip' to score them 0, 1 or not at all."
            )
        if self.empty_target_action == "skip":
            return found[..., ~empty]
        return found.masked_fill(empty, 1.0 if self.empty_target_action == "pos" else 0.0)

    def aggregated(self, scores: Tensor) -> Tensor:
        """Over the last dimension; NaN over nothing."""
        values = scores.movedim(-1, 0)
        if not values.shape[0]:
            return values.new_full(values.shape[1:], torch.nan)
        if isinstance(self.aggregation, str):
            return READINGS[self.aggregation](values)
        return torch.as_tensor(self.aggregation(values, dim=0))

    def value(self, queries: Queries) -> Any:
        return self.aggregated(self.scores(queries, self.score(queries)))


def is_gain(target: Tensor) -> Tensor:
    """Whether each is 0 or more, and finite."""
    return (target >= 0) & (target < torch.inf) if target.is_floating_point() else target >= 0


class TopKMetric(RetrievalMetric):
    """Base of what is read of the first k documents of each query.

    Args:
        top_k: how many documents count; None: all of a query.
    """

    def __init__(
        self,
        empty_target_action: str = "neg",
        ignore_index: int | None = None,
        top_k: int | None = None,
        aggregation: Aggregation = "mean",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(empty_target_action, ignore_index, aggregation, **kwargs)
        if top_k is not None:
            check.whole(self, "top_k", top_k, 1)
        self.top_k = top_k

    def k(self, queries: Queries) -> Tensor:
        """Of each query."""
        return queries.size if self.top_k is None else torch.full_like(queries.size, self.top_k)

    def counts(self, queries: Queries, values: Tensor) -> Tensor:
        """Values of rows, and 0 for those after the first k."""
        return values if self.top_k is None else values.masked_fill(queries.position > self.top_k, 0.0)
