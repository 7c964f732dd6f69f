"""Clustering against scikit-learn, over batches of any cut."""

from __future__ import annotations

import pytest
import torch
from sklearn import metrics as sk

from epochal import clustering as ec
from epochal import functional as ef
from epochal.collection import MetricCollection
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut


def drawn(size, clusters, others, seed=0):
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(others, (size,), generator=g)
    preds = torch.where(torch.rand(size, generator=g) < 0.5, target % clusters, torch.randint(clusters, (size,), generator=g))
    return preds, target


SAME = drawn(60, 5, 4)[1]
DATA = {
    "similar": drawn(60, 5, 4),
    "many clusters": drawn(400, 90, 60),
    "any labels": tuple(x * 10**12 - 7 for x in drawn(60, 5, 4)),
    "int8": tuple(x.to(torch.int8) for x in drawn(60, 5, 4)),
    "bool": tuple(x.bool() for x in drawn(60, 2, 2)),
    "the same": (SAME, SAME),
    "renamed": (3 - SAME, SAME),
    "one cluster": (torch.zeros(60, dtype=torch.long), SAME),
    "one class": (SAME, torch.zeros(60, dtype=torch.long)),
    "both one": (torch.ones(60, dtype=torch.long), torch.zeros(60, dtype=torch.long)),
    "all apart": (torch.arange(60), torch.arange(60).flip(0)),
    "two apart": (torch.tensor([2, 1]), torch.tensor([0, 1])),
    "apart, and two together": (torch.tensor([6, 1, 3]), torch.tensor([1, 0, 0])),
    "apart and one": (torch.arange(60), torch.zeros(60, dtype=torch.long)),
    "large": drawn(20_000, 10, 10),
    "one sample": (torch.tensor([3]), torch.tensor([1])),
    "nothing": (torch.zeros(0, dtype=torch.long),) * 2,
}
AVERAGES = ("min", "geometric", "arithmetic", "max")
NORMALIZED = [
    (ec.NormalizedMutualInfoScore, ef.normalized_mutual_info_score, sk.normalized_mutual_info_score),
    (ec.AdjustedMutualInfoScore, ef.adjusted_mutual_info_score, sk.adjusted_mutual_info_score),
]
TABLE = [
    (ec.MutualInfoScore, ef.mutual_info_score, sk.mutual_info_score, {}),
    *[(*normalized, {"average_method": how}) for how in AVERAGES for normalized in NORMALIZED],
    (ec.RandScore, ef.rand_score, sk.rand_score, {}),
    (ec.AdjustedRandScore, ef.adjusted_rand_score, sk.adjusted_rand_score, {}),
    (ec.FowlkesMallowsIndex, ef.fowlkes_mallows_index, sk.fowlkes_mallows_score, {}),
    (ec.HomogeneityScore, ef.homogeneity_score, sk.homogeneity_score, {}),
    (ec.CompletenessScore, ef.completeness_score, sk.completeness_score, {}),
    (ec.VMeasureScore, ef.v_measure_score, sk.v_measure_score, {}),
    (ec.VMeasureScore, ef.v_measure_score, sk.v_measure_score, {"beta": 2.0}),
]
NOTHING = {"MutualInfoScore": 0.0, "FowlkesMallowsIndex": 0.0}  # where scikit-learn refuses no data, or warns; else 1


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("cls", "function", "oracle", "arguments"), TABLE, ids=lambda x: getattr(x, "__name__", str(x)))
def test_equals_the_oracle(cls, function, oracle, arguments, data):
    preds, target = DATA[data]
    if data == "nothing":
        expected = NOTHING.get(cls.__name__, 1.0)
    else:
        expected = oracle(target.numpy(), preds.numpy(), **arguments)
    for found in (computed(cls(**arguments).set_dtype(torch.float64), cut(preds, target)), function(preds, target, **arguments)):
        assert found.item() == pytest.approx(expected, rel=1e-9 if found.dtype == torch.float64 else 1e-6, abs=1e-7)


def test_a_collection_counts_the_table_once(monkeypatch):
    counted = []
    original = ec.contingency.contingency
    monkeypatch.setattr(ec.contingency, "contingency", lambda *labels: counted.append(1) or original(*labels))
    metrics = MetricCollection([cls() for cls in {row[0] for row in TABLE}])
    metrics.update(*DATA["similar"])
    values = metrics.compute()
    assert len(values) == 9
    assert len(counted) == 1


def test_bad_labels():
    with pytest.raises(TypeError, match=r"RandScore: preds has dtype torch.float32, but integer or bool labels are needed"):
        ec.RandScore().update(torch.rand(3), torch.arange(3))
    with pytest.raises(ValueError, match=r"RandScore: preds has shape \(3, 1\), but \(N,\) is needed"):
        ef.rand_score(torch.zeros(3, 1).long(), torch.zeros(3, 1).long())
