"""R², mean absolute error and correlations against scikit-learn and scipy, over batches of any cut."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn import metrics as sk

from epochal import functional as ef
from epochal import regression as er
from epochal.ranks import average_ranks, dense_ranks, inversions, keys
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut, normal, raw

TIED = (normal(60)[0].round(), (normal(60)[1] / 2).round())
DATA = {
    "vector": normal(60),
    "float32": tuple(x.float() for x in normal(60)),
    "float16": tuple(x.half() for x in normal(60)),
    "bfloat16": tuple(x.bfloat16() for x in normal(60)),
    "ties": TIED,
    "int64": tuple(x.long() for x in TIED),
    "uint8": tuple(x.abs().to(torch.uint8) for x in TIED),
    "far from 0": tuple(x + 1e8 for x in normal(60)),
    "three": tuple(x[:3] for x in normal(60)),
    "perfect": (normal(60)[0],) * 2,
    "opposite": (normal(60)[0], -normal(60)[0]),
    "signed zeros": (torch.tensor([0.0, -0.0, 1.0, -1.0, 0.0]), torch.tensor([1.0, 2.0, 3.0, -4.0, -0.0])),
}


def kendall(variant, alternative="two-sided", p=False):
    def oracle(x, y):
        found = scipy.stats.kendalltau(x, y, variant=variant, alternative=alternative, method="asymptotic")
        return found.pvalue if p else found.statistic

    return oracle


def tau_a(x, y):
    """By its definition, over all pairs."""
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    return signs.sum() / (len(x) * (len(x) - 1))


def p_value(alternative):
    def p(preds, target, variant="b"):
        return ef.kendall_rank_corrcoef(preds, target, variant, True, alternative)[1]

    return p


TABLE = {
    "mae": (er.MeanAbsoluteError, ef.mean_absolute_error, {}, lambda p, t: sk.mean_absolute_error(t, p)),
    "r2": (er.R2Score, ef.r2_score, {}, lambda p, t: sk.r2_score(t, p)),
    "pearson": (er.PearsonCorrCoef, ef.pearson_corrcoef, {}, lambda p, t: scipy.stats.pearsonr(p, t).statistic),
    "spearman": (er.SpearmanCorrCoef, ef.spearman_corrcoef, {}, lambda p, t: scipy.stats.spearmanr(p, t).statistic),
    "kendall a": (er.KendallRankCorrCoef, ef.kendall_rank_corrcoef, {"variant": "a"}, tau_a),
    "kendall b": (er.KendallRankCorrCoef, ef.kendall_rank_corrcoef, {}, kendall("b")),
    "kendall c": (er.KendallRankCorrCoef, ef.kendall_rank_corrcoef, {"variant": "c"}, kendall("c")),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", TABLE)
def test_equals_the_oracle(name, data):
    cls, function, arguments, oracle = TABLE[name]
    preds, target = DATA[data]
    expected = oracle(raw(preds), raw(target))
    tolerance = 1e-7 if data == "far from 0" and name != "mae" else 1e-9  # the oracle's own digits
    double = preds.dtype == torch.float64
    for found in (computed(cls(**arguments), cut(preds, target)), function(preds, target, **arguments)):
        assert found.dtype == (torch.float64 if double else torch.float32)
        assert found.item() == pytest.approx(expected, abs=tolerance if double else 1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_outputs(name):
    cls, function, arguments, oracle = TABLE[name]
    preds, target = normal(60, 3)
    expected = [oracle(raw(p), raw(t)) for p, t in zip(preds.unbind(1), target.unbind(1), strict=True)]
    many = {**arguments, **({"multioutput": "raw_values"} if name == "r2" else {"num_outputs": 3})}
    wide = many if name in ("r2", "mae") else arguments  # the functions of correlations take the number of columns
    for found in (computed(cls(**many), cut(preds, target)), function(preds, target, **wide)):
        assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert function(preds[:, :1], target[:, :1], **arguments).shape == ()


@pytest.mark.parametrize("multioutput", ["raw_values", "uniform_average", "variance_weighted"])
def test_r2_of_outputs_that_are_constant(multioutput):
    preds, target = normal(60, 4)
    target[:, 1], target[:, 2], preds[:, 2] = 3.0, 5.0, 5.0
    for columns in (slice(0, 4), slice(1, 3)):
        expected = sk.r2_score(raw(target[:, columns]), raw(preds[:, columns]), multioutput=multioutput)
        metric = er.R2Score(multioutput=multioutput)
        assert np.allclose(computed(metric, cut(preds[:, columns], target[:, columns])).numpy(), expected, rtol=1e-12)


def test_adjusted_r2():
    preds, target = normal(30)
    plain = sk.r2_score(raw(target), raw(preds))
    assert ef.r2_score(preds, target, adjusted=4).item() == pytest.approx(1 - (1 - plain) * 29 / 25, rel=1e-12)
    assert ef.r2_score(preds[:6], target[:6], adjusted=4).isfinite()
    assert ef.r2_score(preds[:5], target[:5], adjusted=4).isnan()  # no degree of freedom is left


def test_r2_refuses_data_of_another_number_of_outputs():
    metric = er.R2Score()
    metric.update(*normal(5, 3))
    with pytest.raises(ValueError, match=r"R2Score: data of . and of . outputs meet, but one number is needed"):
        metric.update(*normal(5, 2))
    with pytest.raises(ValueError, match=r"R2Score: data of . and of . outputs meet"):
        metric.update(*normal(5))
    assert metric.update_count == 1


@pytest.mark.parametrize("name", TABLE)
def test_few_samples_constants_and_nan(name):
    cls, function, arguments, _ = TABLE[name]
    x = torch.tensor([1.0, 2.0, 3.0])
    assert function(x[:0], x[:0], **arguments).isnan()
    assert cls(**arguments).of(x[:0], x[:0]).isnan()
    for a, b in ((x, torch.tensor([1.0, math.nan, 3.0])), (torch.tensor([1.0, math.nan, 3.0]), x)):
        assert function(a, b, **arguments).isnan()
        assert computed(cls(**arguments), zip(a.split(1), b.split(1), strict=True)).isnan()
    if name == "mae":
        return
    assert function(x[:1], x[:1], **arguments).isnan()
    constant = function(x, torch.ones(3), **arguments)
    assert constant == 0 if name in ("r2", "kendall a") else constant.isnan()


@pytest.mark.parametrize("data", ["vector", "ties", "int64", "perfect", "opposite"])
@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_p_values(alternative, data):
    preds, target = DATA[data]
    for variant in ("b", "c"):
        expected = kendall(variant, alternative, p=True)(raw(preds), raw(target))
        found = p_value(alternative)(preds, target, variant).item()
        assert found == pytest.approx(expected, rel=1e-9 if preds.dtype == torch.float64 else 1e-5)


def test_several_outputs_have_a_p_value_each():
    preds, target = normal(60, 3)
    tau, p = computed(er.KendallRankCorrCoef(t_test=True, num_outputs=3), cut(preds, target))
    for i in range(3):
        assert torch.stack([tau[i], p[i]]).equal(torch.stack(ef.kendall_rank_corrcoef(preds[:, i], target[:, i], t_test=True)))


@pytest.mark.parametrize("size", [1, 2, 3, 64, 100, 257])
def test_inversions_are_those_of_all_pairs(size):
    places = torch.randperm(size, generator=torch.Generator().manual_seed(size))
    assert inversions(places) == int((places[:, None] > places).triu().sum())
    assert inversions(places.sort().values) == 0
    assert inversions(places.sort(descending=True).values) == size * (size - 1) // 2


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, math.inf, -math.inf, 3.0, 3.0]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool]
)
def test_ranks(dtype):
    x = torch.tensor(SPECIAL if dtype.is_floating_point else [3, 0, 1, 2, 0, 5, 2, 1, 3, 3]).to(dtype)
    plain = x.double().numpy()
    assert (keys(x)[:, None] < keys(x)).equal(x.double()[:, None] < x.double())
    assert average_ranks(x).tolist() == scipy.stats.rankdata(plain).tolist()
    ranks, sizes = dense_ranks(x)
    assert (ranks + 1).tolist() == scipy.stats.rankdata(plain, method="dense").tolist()
    assert sizes.tolist() == np.unique(plain, return_counts=True)[1].tolist()


@pytest.mark.parametrize("name", ["SpearmanCorrCoef", "KendallRankCorrCoef"])
def test_unsigned_integers_are_kept_so_that_they_pickle(name):
    preds, target = (torch.randint(60_000, (2, 50), generator=torch.Generator().manual_seed(1))).to(torch.uint16)
    metric = getattr(er, name)()
    metric.update(preds, target)
    assert pickle.loads(pickle.dumps(metric)).compute() == getattr(er, name)()(preds.long(), target.long())


def test_correlation_of_a_large_offset():
    """1e8 + noise, in the offset's own digits: sums of products would have lost the noise."""
    x, y = normal(2000)
    expected = np.corrcoef((raw(x) + 1e8).astype(np.longdouble) - 1e8, (raw(y) + 1e8).astype(np.longdouble) - 1e8)[0, 1]
    assert computed(er.PearsonCorrCoef(), cut(x + 1e8, y + 1e8)).item() == pytest.approx(float(expected), rel=1e-10)
