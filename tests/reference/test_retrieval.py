"""Retrieval against trec_eval, scikit-learn, and the mean over all orders of tied documents; over batches of any cut."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import pytrec_eval
import torch
from sklearn import metrics as sk
from torch import Tensor

import epochal
from epochal import functional as ef
from epochal import retrieval as er
from epochal.compare import difference
from epochal.retrieval import queries
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut, source

# --- by definition, of relevances in a known order ---------------------------------------------------------------------------


def precision(r, k, adaptive=False):
    return (r[:k] > 0).sum() / (min(k, len(r)) if adaptive else k)


def average_precision(r, k):
    found = (r > 0).astype(float)
    return sum(found[i] * found[: i + 1].mean() for i in range(min(k, len(r)))) / found.sum()


def reciprocal_rank(r, k):
    places = np.flatnonzero(r[:k] > 0)
    return 1 / (places[0] + 1) if len(places) else 0.0


def dcg(r, k):
    return sum(gain / math.log2(i + 2) for i, gain in enumerate(r[:k]))


def auroc(r, k, max_fpr=None):
    found = r[:k] > 0
    return sk.roc_auc_score(found, -np.arange(len(found)), max_fpr=max_fpr) if 0 < found.sum() < len(found) else 0.0


class Score(NamedTuple):
    cls: type[Any]
    function: Callable[..., Any]
    ordered: Callable[..., Any]  # (relevances from the first to the last, k, **arguments)


TABLE = {
    "precision": Score(er.RetrievalPrecision, ef.retrieval_precision, precision),
    "recall": Score(er.RetrievalRecall, ef.retrieval_recall, lambda r, k: (r[:k] > 0).sum() / (r > 0).sum()),
    "fall-out": Score(er.RetrievalFallOut, ef.retrieval_fall_out, lambda r, k: (r[:k] == 0).sum() / (r == 0).sum()),
    "hit rate": Score(er.RetrievalHitRate, ef.retrieval_hit_rate, lambda r, k: float((r[:k] > 0).any())),
    "map": Score(er.RetrievalMAP, ef.retrieval_average_precision, average_precision),
    "mrr": Score(er.RetrievalMRR, ef.retrieval_reciprocal_rank, reciprocal_rank),
    "ndcg": Score(er.RetrievalNormalizedDCG, ef.retrieval_normalized_dcg, lambda r, k: dcg(r, k) / dcg(np.sort(r)[::-1], k)),
    "auroc": Score(er.RetrievalAUROC, ef.retrieval_auroc, auroc),
    "r-precision": Score(
        er.RetrievalRPrecision, ef.retrieval_r_precision, lambda r, k: (r[: (r > 0).sum()] > 0).sum() / (r > 0).sum()
    ),
}
ARGUMENTS = [(name, {}) for name in TABLE] + [
    ("precision", {"adaptive": True}),
    ("auroc", {"max_fpr": 0.3}),
    ("auroc", {"max_fpr": 0.7}),
]
each_score = pytest.mark.parametrize(("name", "arguments"), ARGUMENTS, ids=str)


def passed(name: str, k: int | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as ours are called."""
    ours = {{"adaptive": "adaptive_k"}.get(key, key): value for key, value in arguments.items()}
    return ours if name == "r-precision" else {"top_k": k, **ours}


def orders(preds: np.ndarray) -> list[list[int]]:
    """All orders of documents by descending score."""
    ties = [np.flatnonzero(preds == value) for value in np.unique(preds)[::-1]]
    return [list(itertools.chain(*order)) for order in itertools.product(*(list(itertools.permutations(tie)) for tie in ties))]


def expected(name: str, preds: Tensor, target: Tensor, k: int | None, arguments: dict[str, Any]) -> float:
    relevance = target.double().numpy()
    k = len(relevance) if k is None else k
    return float(np.mean([TABLE[name].ordered(relevance[order], k, **arguments) for order in orders(preds.numpy())]))


def tied(*sizes: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Queries with a relevant document and another, and few scores."""
    g, found = source(seed), []
    for size in sizes:
        target = torch.randint(3, (size,), generator=g)
        target[0], target[-1] = 0, 2
        found.append((torch.randint(3, (size,), generator=g).double() / 2, target))
    return found


@pytest.mark.parametrize("k", [None, 1, 2, 3, 4, 9])
@each_score
def test_ties_are_the_mean_over_all_orders(name, arguments, k):
    many = [*tied(2, 3, 5, 6, 7), (torch.zeros(5, dtype=torch.float64), torch.tensor([0, 1, 0, 2, 0]))]
    means = [expected(name, *query, k, arguments) for query in many]
    given = passed(name, k, arguments)
    found = [TABLE[name].function(*query, **given).item() for query in many]
    assert found == pytest.approx(means, abs=1e-12)
    preds, target = (torch.cat(part) for part in zip(*many, strict=True))
    indexes = torch.cat([torch.full_like(query[1], 1000 - 7 * i) for i, query in enumerate(many)])
    order = torch.randperm(len(preds), generator=source())
    batches = list(cut(preds[order], target[order], indexes[order]))
    assert computed(TABLE[name].cls(**given), batches).item() == pytest.approx(np.mean(means), abs=1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("max_k", [None, 3, 9])
def test_curves_are_precision_and_recall_at_each_k(max_k, adaptive):
    many = tied(2, 5, 6)
    precisions, recalls, k = ef.retrieval_precision_recall_curve(*many[1], max_k, adaptive)
    assert k.tolist() == list(range(1, (max_k or 5) + 1))
    assert precisions.tolist() == pytest.approx([expected("precision", *many[1], i, {"adaptive": adaptive}) for i in k.tolist()])
    assert recalls.tolist() == pytest.approx([expected("recall", *many[1], i, {}) for i in k.tolist()])
    preds, target = (torch.cat(part) for part in zip(*many, strict=True))
    indexes = torch.arange(3).repeat_interleave(torch.tensor([2, 5, 6]))
    for reading in ("mean", "max", "median"):
        got = er.RetrievalPrecisionRecallCurve(max_k, adaptive, aggregation=reading).of(preds, target, indexes)
        single = [er.RetrievalPrecision(top_k=i, adaptive_k=adaptive, aggregation=reading) for i in got[2].tolist()]
        assert got[2].tolist() == list(range(1, (max_k or 6) + 1))
        assert got[0].tolist() == pytest.approx([metric.of(preds, target, indexes).item() for metric in single])
        single = [er.RetrievalRecall(top_k=i, aggregation=reading) for i in got[2].tolist()]
        assert got[1].tolist() == pytest.approx([metric.of(preds, target, indexes).item() for metric in single])


@pytest.mark.parametrize("least", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_recall_at_fixed_precision(least):
    preds, target, indexes = torch.rand(60, generator=source()), torch.randint(2, (60,), generator=source(1)), torch.arange(60) % 4
    curve = er.RetrievalPrecisionRecallCurve(max_k=20).of(preds, target, indexes)
    points = [(r.item(), k.item()) for p, r, k in zip(*curve, strict=True) if p >= least]
    best = max(points, default=(0.0, 20))
    recall, k = computed(er.RetrievalRecallAtFixedPrecision(least, max_k=20), cut(preds, target, indexes))
    assert (recall.item(), k.item()) == pytest.approx(best if best[0] else (0.0, 20))


# --- peers -------------------------------------------------------------------------------------------------------------------

ROWS = 400


def graded(ties: bool, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = source(seed)
    preds = torch.randn(ROWS, generator=g, dtype=torch.float64)
    return (
        (preds * 2).round() if ties else preds,
        torch.randint(4, (ROWS,), generator=g),
        torch.randint(9, (ROWS,), generator=g) - 4,
    )


def by_query(preds: Tensor, target: Tensor, indexes: Tensor) -> list[tuple[Any, Any]]:
    return [(preds[indexes == i].numpy(), target[indexes == i].numpy()) for i in indexes.unique()]


@pytest.mark.parametrize("k", [None, 1, 5, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_ndcg_is_scikit_learns(ties, k):
    data = graded(ties)
    scores = [sk.ndcg_score([target], [preds], k=k) for preds, target in by_query(*data)]
    assert computed(er.RetrievalNormalizedDCG(top_k=k), cut(*data)).item() == pytest.approx(np.mean(scores), rel=1e-12)


@pytest.mark.parametrize("max_fpr", [None, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_scikit_learns(ties, max_fpr):
    """Of part of a curve, where no tie is cut: there a line through the tie is not the mean over its orders."""
    if ties and max_fpr not in (None, 1.0):
        return
    data = graded(ties)
    scores = [sk.roc_auc_score(target > 0, preds, max_fpr=max_fpr) for preds, target in by_query(*data)]
    assert computed(er.RetrievalAUROC(max_fpr=max_fpr), cut(*data)).item() == pytest.approx(np.mean(scores), rel=1e-12)


TREC = {  # a measure of trec_eval, and whether it takes a k
    "P": (er.RetrievalPrecision, True),
    "recall": (er.RetrievalRecall, True),
    "success": (er.RetrievalHitRate, True),
    "map_cut": (er.RetrievalMAP, True),
    "ndcg_cut": (er.RetrievalNormalizedDCG, True),
    "ndcg": (er.RetrievalNormalizedDCG, False),
    "map": (er.RetrievalMAP, False),
    "recip_rank": (er.RetrievalMRR, False),
    "Rprec": (er.RetrievalRPrecision, False),
}
READ = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}


@pytest.mark.parametrize("name", TREC)
def test_is_trec_evals(name):
    """Of random documents without ties, of 1 to 80 for a query."""
    preds, target, indexes = graded(False)
    indexes[:60], indexes[60] = 1, 99
    run: dict[str, dict[str, float]] = {}
    judged: dict[str, dict[str, int]] = {}
    for i, (score, gain, query) in enumerate(zip(preds.tolist(), target.tolist(), indexes.tolist(), strict=True)):
        run.setdefault(str(query), {})[f"d{i}"] = score
        judged.setdefault(str(query), {})[f"d{i}"] = gain
    cls, takes_k = TREC[name]
    for k in (1, 5, 30) if takes_k else (None,):
        measure = f"{name}.{k}" if k else name
        found = pytrec_eval.RelevanceEvaluator(judged, {measure}).evaluate(run)
        scores = [query[measure.replace(".", "_")] for query in found.values()]
        for reading, of in READ.items():
            metric = cls(aggregation=reading, **({"top_k": k} if k else {}))
            assert computed(metric, cut(preds, target, indexes)).item() == pytest.approx(of(scores), abs=1e-12)


def documents() -> dict[str, dict[str, Any]]:
    """What trec_eval's own run retrieved of three topics, with all that was judged relevant: a document that was not retrieved is
    below all others."""
    folder = Path(os.environ.get("EPOCHAL_TEST_DATA", "nowhere")) / "trec"
    if not folder.is_dir():
        pytest.skip("EPOCHAL_TEST_DATA names no folder with trec")
    judged: dict[str, dict[str, int]] = {}
    for topic, _, name, relevance in map(str.split, (folder / "qrels.test").read_text().splitlines()):
        judged.setdefault(topic, {})[name] = int(relevance)
    run: dict[str, dict[str, float]] = {}
    for topic, _, name, _, score, _ in map(str.split, (folder / "results.test").read_text().splitlines()):
        run.setdefault(topic, {})[name] = float(score)
    answers: dict[str, dict[str, float]] = {}
    for path in ("out.test", "out.test.aq"):
        for measure, topic, value in map(str.split, (folder / path).read_text().splitlines()):
            if measure not in ("runid", "relstring"):
                answers.setdefault(topic, {})[measure] = float(value)
    return {"judged": judged, "run": run, "answers": answers}


def rows_of(judged: dict[str, int], run: dict[str, float]) -> tuple[Tensor, Tensor]:
    """trec_eval orders ties by name, the last one first, and knows scores as float32; a document of a query that was not retrieved
    is after all that were."""
    names = sorted(run, key=lambda name: (np.float32(run[name]), name), reverse=True)
    names += [name for name in judged if name not in run]
    return -torch.arange(len(names), dtype=torch.float64), torch.tensor([max(0, judged.get(name, 0)) for name in names])


def test_trec_evals_own_answers():
    """Its example: 500 documents for each of three topics. The numbers that it printed have four digits."""
    data = documents()
    topics = sorted(data["run"])
    assert len(topics) == 3
    rows = {topic: rows_of(data["judged"][topic], data["run"][topic]) for topic in topics}
    indexes = torch.cat([torch.full_like(rows[topic][1], int(topic)) for topic in topics])
    preds, target = (torch.cat(part) for part in zip(*(rows[topic] for topic in topics), strict=True))
    measures = {f"P_{k}": er.RetrievalPrecision(top_k=k) for k in (5, 10, 20, 100, 500)}
    measures |= {f"recall_{k}": er.RetrievalRecall(top_k=k) for k in (5, 10, 20, 100, 500)}
    measures |= {"Rprec": er.RetrievalRPrecision(), "recip_rank": er.RetrievalMRR(top_k=500), "map": er.RetrievalMAP(top_k=500)}
    for name, metric in measures.items():
        for topic in (t for t in topics if name in data["answers"].get(t, {})):
            found = metric.of(*rows[topic], torch.zeros(len(rows[topic][0]), dtype=torch.long)).item()
            assert found == pytest.approx(data["answers"][topic][name], abs=5.1e-5), (name, topic)
        if name in data["answers"]["all"]:
            found = computed(metric, cut(preds, target, indexes)).item()
            assert found == pytest.approx(data["answers"]["all"][name], abs=5.1e-5), name


def test_ties_of_a_real_run_lie_between_their_best_and_worst_order():
    data, differ = documents(), set()
    for topic, run in data["run"].items():
        scores = {name: round(score) for name, score in run.items()}
        target = torch.tensor([max(0, data["judged"][topic].get(name, 0)) for name in scores])
        preds = torch.tensor(list(scores.values()), dtype=torch.float64)
        for name, score in TABLE.items():
            given = passed(name, None if name == "auroc" else 20, {})  # of a part, a mean may exceed both
            low, mean, high = (score.function(preds + sign * 1e-6 * (target > 0), target, **given).item() for sign in (-1, 0, 1))
            assert min(low, high) - 1e-12 <= mean <= max(low, high) + 1e-12
            if low != high:
                differ.add(name)
    assert differ == set(TABLE)


# --- queries without a score, and what is left out -----------------------------------------------------------------------------

EMPTY = (torch.tensor([0.9, 0.8, 0.3, 0.7, 0.2]), torch.tensor([1, 0, 1, 0, 0]), torch.tensor([5, 5, 5, 2, 2]))


@pytest.mark.parametrize("name", TABLE)
def test_queries_that_are_empty(name):
    cls, function, _ = TABLE[name]
    preds, target, indexes = EMPTY
    if name == "fall-out":
        target = 1 - target
    full = cls().of(preds[:3], target[:3], indexes[:3]).item()
    for action, score in (("neg", full / 2), ("pos", (full + 1) / 2), ("skip", full)):
        assert cls(empty_target_action=action).of(preds, target, indexes).item() == pytest.approx(score, rel=1e-6)
    assert function(preds[3:], target[3:]) == 0
    assert cls(empty_target_action="skip").of(preds[3:], target[3:], indexes[3:]).isnan()
    assert cls().of(preds[:0], target[:0], indexes[:0]).isnan()
    metric = cls(empty_target_action="error")
    metric.update(preds, target, indexes)
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}: 1 of 2 queries have no {cls.missing} document, but empty_target_action"
    ):
        metric.compute()


def test_curves_of_queries_that_are_empty():
    cls, (preds, target, indexes) = er.RetrievalPrecisionRecallCurve, EMPTY
    precision, recall, _ = cls(empty_target_action="skip").of(preds, target, indexes)
    for action, value in (("neg", 0), ("pos", 1)):
        found = cls(empty_target_action=action).of(preds, target, indexes)
        assert torch.allclose(found[0], (precision + value) / 2)
        assert torch.allclose(found[1], (recall + value) / 2)
    nothing = cls(max_k=2, empty_target_action="skip").of(preds[3:], target[3:], indexes[3:])
    assert nothing[0].isnan().tolist() == nothing[1].isnan().tolist() == [True, True]
    assert [part.shape for part in cls().of(preds[:0], target[:0], indexes[:0])] == [(0,)] * 3
    fixed = er.RetrievalRecallAtFixedPrecision
    assert fixed().of(preds[:0], target[:0], indexes[:0])[0].isnan()
    assert fixed(empty_target_action="skip").of(preds[3:], target[3:], indexes[3:])[0].isnan()
    assert [part.item() for part in fixed(min_precision=0.9).of(preds[3:], target[3:], indexes[3:])] == [0, 2]
    with pytest.raises(ValueError, match="queries have no relevant document"):
        cls(empty_target_action="error").of(preds, target, indexes)


@pytest.mark.parametrize("name", TABLE)
def test_ignored_documents_are_not_there(name):
    preds, target, indexes = graded(True)
    target[::3] = -100
    preds[::6] = math.nan  # of ignored ones
    indexes[indexes == 2] = 77
    target[indexes == 77] = -100  # a query that is ignored altogether
    kept = target != -100
    metric = TABLE[name].cls
    found = computed(metric(ignore_index=-100), cut(preds, target, indexes))
    assert found.equal(computed(metric(), [(preds[kept], target[kept], indexes[kept])]))


def test_aggregation_by_a_function():
    preds, target, indexes = graded(True)

    def harmonic(values: Tensor, dim: int) -> Tensor:
        return 1 / (1 / values).mean(dim)

    scores = [er.RetrievalMAP().of(preds[indexes == i], target[indexes == i], indexes[indexes == i]) for i in indexes.unique()]
    found = er.RetrievalMAP(aggregation=harmonic).of(preds, target, indexes)
    assert found.item() == pytest.approx(harmonic(torch.stack(scores), 0).item(), rel=1e-12)
    precision, _, _ = er.RetrievalPrecisionRecallCurve(3, aggregation=torch.amax).of(preds, target, indexes)
    assert precision.equal(er.RetrievalPrecisionRecallCurve(3, aggregation="max").of(preds, target, indexes)[0])


# --- how numbers come -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_dtypes_and_ranges(name):
    """Any dtype, indexes and gains anywhere in int64, scores that differ in the last bit of float64: the same order."""
    preds, target, indexes = graded(True)
    metric = TABLE[name].cls()
    plain = metric.of(preds, target, indexes).item()
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert metric.of(preds.to(dtype), target, indexes).item() == pytest.approx(plain, rel=1e-6)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.float16, torch.float32, torch.float64):
        assert metric.of(preds, target.to(dtype), indexes).item() == plain
    assert metric.of(preds, target > 0, indexes).item() == metric.of(preds, (target > 0).long(), indexes).item()
    far = torch.where(indexes > 0, indexes + 2**62, indexes - 2**62)
    for moved in (far, indexes.to(torch.int8), -indexes, indexes * 2**40):
        assert metric.of(preds, target, moved).item() == pytest.approx(plain, rel=1e-12)
    close = 1 + preds.double() * 2**-50
    assert metric.of(close, target, indexes).item() == plain
    scaled = metric.of(preds, target * 2**40, indexes).item(), metric.of(preds, target * 1e-30, indexes).item()
    assert scaled == pytest.approx((plain, plain), rel=1e-12)
    lowest = preds == preds.min()
    assert metric.of(preds.masked_fill(lowest, -torch.inf), target, indexes).item() == plain


def test_a_tie_of_many():
    """Binomial coefficients beyond any float."""
    preds, target = torch.zeros(100_000, dtype=torch.float64), torch.zeros(100_000, dtype=torch.long)
    target[::1000] = 1
    found = 1 - math.prod(1 - 100 / (100_000 - i) for i in range(1000))
    assert ef.retrieval_hit_rate(preds, target, 1000).item() == pytest.approx(found, rel=1e-8)
    assert ef.retrieval_auroc(preds, target, 1000).item() == pytest.approx(found / 2, rel=1e-8)
    assert ef.retrieval_auroc(preds, target).item() == pytest.approx(0.5, rel=1e-12)
    assert ef.retrieval_precision(preds, target, 10).item() == pytest.approx(1e-3, rel=1e-12)


def test_a_collection_sorts_once(monkeypatch):
    made, init = [], queries.Queries.__init__

    def counted(self, *rows):
        made.append(self)
        init(self, *rows)

    monkeypatch.setattr(queries.Queries, "__init__", counted)
    classes = [getattr(er, name) for name in er.__all__]
    together = epochal.MetricCollection([cls() for cls in classes])
    together.update(*graded(True))
    values = together.compute()
    assert len(made) == 1
    for cls in classes:
        assert difference(values[cls.__name__], computed(cls(), [graded(True)]), rtol=0, atol=0) is None
