"""Cramér's V against scipy, and against Bergsma's formula written out."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from epochal import functional as ef
from epochal import nominal as en
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut


def drawn(size, rows, columns, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(rows, (size,), generator=g)
    return x, torch.where(torch.rand(size, generator=g) < 0.4, x % columns, torch.randint(columns, (size,), generator=g))


DATA = {"square": drawn(60, 4, 4), "two by two": drawn(60, 2, 2), "wide": drawn(200, 3, 7), "the same": (drawn(60, 4, 4)[0],) * 2}


def table(x, y):
    return scipy.stats.contingency.crosstab(x.numpy(), y.numpy()).count


def bergsma(x, y):
    counts = table(x, y)
    n, (r, k) = counts.sum(), counts.shape
    phi2 = scipy.stats.chi2_contingency(counts, correction=False)[0] / n
    phi2 = max(0, phi2 - (r - 1) * (k - 1) / (n - 1))
    r, k = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return math.sqrt(phi2 / (min(r, k) - 1))


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("data", DATA)
def test_equals_the_oracle(data, corrected):
    x, y = DATA[data]
    expected = bergsma(x, y) if corrected else scipy.stats.contingency.association(table(x, y), "cramer")
    for found in (
        ef.cramers_v(x, y, corrected),
        ef.cramers_v(x.float() - 7.5, y, corrected),  # any numbers are categories of a function
        computed(en.CramersV(8, corrected), cut(x, y)),
        computed(en.CramersV(8, corrected), cut(x.float(), y)),
        computed(en.CramersV(8, corrected), cut(*(torch.nn.functional.one_hot(z, 8) for z in (x, y)))),
    ):
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_matrix():
    columns = torch.stack([*drawn(60, 4, 3), drawn(60, 2, 2)[1]], 1)
    found = ef.cramers_v_matrix(columns)
    assert found.equal(found.T)
    assert found.diagonal().tolist() == [1, 1, 1]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert found[i, j] == ef.cramers_v(columns[:, i], columns[:, j])


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_nan(strategy):
    x, y = (z.float() for z in DATA["square"])
    x[3], y[5] = math.nan, math.nan
    if strategy == "drop":
        kept = ~(x.isnan() | y.isnan())
        plain = x[kept], y[kept]
    else:
        plain = x.nan_to_num(2.0), y.nan_to_num(2.0)
    expected = bergsma(*(z.long() for z in plain))
    assert ef.cramers_v(x, y, True, strategy, 2.0).item() == pytest.approx(expected, rel=1e-6)
    assert computed(en.CramersV(4, True, strategy, 2.0), cut(x, y)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_scores_with_nan_are_no_category(strategy):
    x, y = DATA["square"]
    scores, other = (torch.nn.functional.one_hot(z, 4).float() for z in (x, y))
    scores[3, 0] = math.nan
    x = x.float()
    x[3] = math.nan
    expected = ef.cramers_v(x, y.float(), True, strategy, 2.0)
    assert ef.cramers_v(scores, other, True, strategy, 2.0) == expected
    assert en.CramersV(4, True, strategy, 2.0)(scores, other) == expected


def test_one_category_and_no_data():
    one, x = torch.zeros(9), torch.arange(9.0) % 3
    for pair in ((one, x), (x, one), (one, one), (x[:0], x[:0])):
        assert ef.cramers_v(*pair).isnan()
        assert en.CramersV(3)(*pair).isnan()


def test_bad_categories():
    for preds in (torch.tensor([0, 1, 4]), torch.tensor([0, -1, 1]), torch.tensor([0.0, 0.5, 1.0])):
        metric = en.CramersV(4)
        with pytest.raises(ValueError, match=r"CramersV: 1 pairs have a value that is no category, but 0 .. 3 are needed"):
            metric.update(preds, preds.new_zeros(3))
        assert metric.update_count == 0
    for shape in ((3, 0), (3, 2, 2)):
        for cramers_v in (ef.cramers_v, en.CramersV(4)):
            with pytest.raises(ValueError, match=r"but \(N,\) or \(N, num_classes\) is needed"):
                cramers_v(torch.zeros(shape), torch.zeros(shape))
    with pytest.raises(TypeError, match="nan_replace_value is None, but a number is needed"):
        ef.cramers_v(torch.zeros(3), torch.zeros(3), nan_replace_value=None)
    assert ef.cramers_v(*DATA["square"], nan_strategy="drop", nan_replace_value=None).isfinite()
