"""Curves and their areas against scikit-learn: exact, binned, in every task, average and precision, ties and infinities included.

An oracle sees each class against the others, as numpy float64: ranked raw, or several classes' logits by ``log_softmax``. A binned
statistic is that of the scores rounded down to a threshold, so scikit-learn on those is its oracle, too.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, logit
from sklearn import metrics as sk
from torch import Tensor

import epochal
from epochal import check
from epochal import classification as ec
from epochal import functional as ef
from tests.reference.test_real_data import predicted

CUTS = (7, 7, 8, 31)  # batches of 7, 0, 1, 23 and the rest
CLASSES = 4
THRESHOLDS = (7, [0.1, 0.35, 0.6, 0.9])


# --- data ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    name: str
    task: str
    preds: Tensor
    target: Tensor
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.task}-{self.name}"

    @property
    def size(self) -> dict[str, int]:
        return {"multiclass": {"num_classes": CLASSES}, "multilabel": {"num_labels": CLASSES}}.get(self.task, {})

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start, end in itertools.pairwise([0, *CUTS, len(self.target)]):
            yield self.preds[start:end], self.target[start:end]

    def are_logits(self) -> bool:
        if self.arguments.get("logits") is not None:
            return self.arguments["logits"]
        kept = self.preds.movedim(1, -1)[self.kept] if self.task == "multiclass" else self.preds[self.kept]
        return bool(((kept < 0) | (kept > 1)).any())

    @property
    def kept(self) -> Tensor:
        return self.target.long() != self.arguments.get("ignore_index", 2**40)

    def columns(self, thresholds: Any = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(target, score) of each class; with thresholds, scores are the numbers of those that they reach."""
        scores, target, kept = self.preds.double(), self.target, self.kept
        if self.task == "multiclass":
            scores = scores.movedim(1, -1).reshape(-1, CLASSES).numpy()
            scores = log_softmax(scores, 1) if self.are_logits() else scores
            flat, kept = target.reshape(-1).numpy(), kept.reshape(-1).numpy()
            found = [((flat == c)[kept].astype(int), scores[kept, c]) for c in range(CLASSES)]
        else:
            parts = [part.unsqueeze(-1) if self.task == "binary" else part.movedim(1, -1) for part in (scores, target, kept)]
            s, t, k = (part.reshape(-1, part.shape[-1]).numpy() for part in parts)
            found = [(t[k[:, c], c].astype(int), s[k[:, c], c]) for c in range(s.shape[1])]
        if thresholds is None:
            return found
        edges = np.array(sorted(edges_of(thresholds)))
        if self.are_logits():
            with np.errstate(divide="ignore"):
                edges = np.log(edges) if self.task == "multiclass" else logit(edges)
        if not (self.are_logits() and self.task == "multiclass"):  # in the precision of the score
            edges = torch.tensor(edges).to(self.preds.dtype).double().numpy()
        return [(t, np.searchsorted(edges, s, side="right")) for t, s in found]


def edges_of(thresholds: Any) -> list[float]:
    if isinstance(thresholds, int):
        return [i / (thresholds - 1) for i in range(thresholds)]
    return thresholds


def several() -> Iterator[Data]:
    for task in ("binary", "multiclass", "multilabel"):

        def data(name: str, change: Callable[..., Any], positions: tuple[int, ...] = (), task: str = task, **more: Any) -> Data:
            g = torch.Generator().manual_seed(sum(name.encode()))
            shape = (60, *positions) if task == "binary" else (60, CLASSES, *positions)
            preds = 2 * torch.randn(shape, generator=g, dtype=torch.float64)
            if task == "multiclass":
                target = torch.randint(CLASSES, (60, *positions), generator=g)
                preds = preds + torch.nn.functional.one_hot(target, CLASSES).movedim(-1, 1)
            else:
                target = (torch.rand(shape, generator=g) < 0.4).long()
                preds = preds + 2 * target
            preds, target = change(preds.float(), target)
            return Data(name, task, preds, target, more)

        def probable(p: Tensor, task: str = task) -> Tensor:
            return p.softmax(1) if task == "multiclass" else p.sigmoid()

        yield data("logits", lambda p, t: (p, t))
        yield data("probabilities", lambda p, t: (probable(p), t))
        yield data("ties", lambda p, t: ((4 * probable(p)).round() / 4, t))
        yield data("ties of logits", lambda p, t: (p.round(), t))
        yield data("large logits", lambda p, t: (p * 60, t))
        yield data("all tied", lambda p, t: (p * 0 + 0.5, t))
        yield data("signed zeros", lambda p, t: ((p.round().clamp(-1, 1) * torch.where(p > 1, -0.0, 0.0)), t))
        yield data("positions", lambda p, t: (p, t), (3, 2))
        yield data("logits within 0 and 1", lambda p, t: (probable(p), t), logits=True)
        yield data("scores as they are", lambda p, t: (p, t), logits=False)
        yield data("ignored", lambda p, t: (p, t.masked_fill(torch.rand(t.shape, generator=source()) < 0.3, -1)), ignore_index=-1)
        yield data("ignored 1", lambda p, t: (probable(p), t), ignore_index=1)
        if task != "multiclass":
            yield data("infinities", lambda p, t: (torch.where(p.abs() > 3, p.sign() * math.inf, p), t))
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            yield data(f"{dtype}", lambda p, t, d=dtype: (p.to(d), t))
            yield data(f"{dtype} probabilities", lambda p, t, d=dtype: (probable(p).to(d), t))
        for dtype in (torch.uint8, torch.int32, torch.bool):
            yield data(f"{dtype} target", lambda p, t, d=dtype: (p, (t.clamp(max=1) if d == torch.bool else t).to(d)))


def source() -> torch.Generator:
    return torch.Generator().manual_seed(1)


DATA = list(several())
each_data = pytest.mark.parametrize("data", DATA, ids=str)

# --- oracles ---------------------------------------------------------------------------------------------------------------------


def auroc(t: np.ndarray, s: np.ndarray, **more: Any) -> float:
    return sk.roc_auc_score(t, s, **more) if 0 < t.sum() < len(t) else math.nan


def average_precision(t: np.ndarray, s: np.ndarray) -> float:
    return sk.average_precision_score(t, s) if t.sum() else math.nan


def finite(s: np.ndarray) -> np.ndarray:
    """scikit-learn refuses infinite scores: the same order without them."""
    return np.clip(s, -1e30, 1e30)


AREAS = {"AUROC": (ef.auroc, auroc), "AveragePrecision": (ef.average_precision, average_precision)}


def averaged(each: list[float], weights: list[int], average: str) -> Any:
    if average == "none":
        return np.array(each)
    known = ~np.isnan(each)
    weights = np.where(known, weights if average == "weighted" else 1, 0)
    return float(np.nan_to_num(each) @ weights / weights.sum()) if weights.sum() else math.nan


def close(found: Tensor, expected: Any, double: bool) -> bool:
    tolerance = 1e-12 if double else 1e-6
    return (
        found.dtype == (torch.float64 if double else torch.float32)
        and found.shape == np.shape(expected)
        and np.allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    )


def computed(metric: Any, batches: Any) -> Any:
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def ways(name: str, function: Any, data: Data, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    arguments = {**data.size, **data.arguments, **arguments}
    yield "class", computed(getattr(ec, f"{data.task.title()}{name}")(**arguments), data.batches())
    with check.deferred():  # torch sorts, as on an accelerator
        yield "family", computed(getattr(epochal, name)(task=data.task, **arguments), [(data.preds, data.target)])
    if "logits" not in arguments:
        yield "function", function(data.preds, data.target, task=data.task, **arguments)


# --- areas -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thresholds", [None, *THRESHOLDS], ids=["exact", "number", "list"])
@pytest.mark.parametrize("name", AREAS)
@each_data
def test_areas(name, data, thresholds):
    function, oracle = AREAS[name]
    columns = [(t, finite(s)) for t, s in data.columns(thresholds)]
    each, weights = [oracle(*column) for column in columns], [int(t.sum()) for t, _ in columns]
    expected: dict[str, Any] = {"none": each[0]} if data.task == "binary" else {}
    if data.task != "binary":
        expected = {average: averaged(each, weights, average) for average in ("none", "macro", "weighted")}
        expected["micro"] = oracle(*(np.concatenate(part) for part in zip(*columns, strict=True)))
    for average, value in expected.items():
        arguments = {"thresholds": thresholds, **({} if data.task == "binary" else {"average": average})}
        for way, found in ways(name, function, data, arguments):
            assert close(found, value, data.preds.dtype == torch.float64), f"{way}, {average}: {found}, {value} is needed"


@pytest.mark.parametrize("most", [0.05, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("data", [d for d in DATA if d.task == "binary"], ids=str)
def test_partial_area(data, most):
    for thresholds in (None, *THRESHOLDS):
        ((target, scores),) = data.columns(thresholds)
        expected = auroc(target, finite(scores), max_fpr=most)
        for way, found in ways("AUROC", ef.auroc, data, {"thresholds": thresholds, "max_fpr": most}):
            assert close(found, expected, data.preds.dtype == torch.float64), f"{way}: {found}, {expected} is needed"


# --- curves ----------------------------------------------------------------------------------------------------------------------


def as_probabilities(scores: np.ndarray, data: Data) -> np.ndarray:
    if not data.are_logits():
        return scores
    return np.exp(scores) if data.task == "multiclass" else expit(scores)


def curve_of(name: str, t: np.ndarray, s: np.ndarray, data: Data) -> tuple[np.ndarray, ...]:
    """scikit-learn's, whose rates are NaN, or 1, where there are no samples for them; the thresholds on our scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "ROC":
            fpr, tpr, thresholds = sk.roc_curve(t, finite(s), drop_intermediate=False)
            return fpr, tpr, np.concatenate([[np.inf], as_probabilities(np.clip(thresholds[1:], -np.inf, np.inf), data)])
        precision, recall, thresholds = sk.precision_recall_curve(t, finite(s))
        if not t.sum():
            recall[:-1] = np.nan
        return precision, recall, as_probabilities(thresholds, data)


CURVES = {"PrecisionRecallCurve": ef.precision_recall_curve, "ROC": ef.roc}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("data", [d for d in DATA if d.name != "infinities"], ids=str)
def test_exact_curves(name, data):
    columns = data.columns()
    expected = [curve_of(name, *column, data) for column in columns]
    double = data.preds.dtype == torch.float64
    for way, found in ways(name, CURVES[name], data, {}):
        curves = [found] if data.task == "binary" else list(zip(*found, strict=True))
        for curve, parts in zip(curves, expected, strict=True):
            for got, part in zip(curve, parts, strict=True):
                assert close(got, part, double), f"{way}: {got}, {part} is needed"
    if data.task != "binary":
        pooled = curve_of(name, *(np.concatenate(part) for part in zip(*columns, strict=True)), data)
        for way, found in ways(name, CURVES[name], data, {"average": "micro"}):
            assert all(close(*pair, double) for pair in zip(found, pooled, strict=True)), way


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=["number", "list"])
@pytest.mark.parametrize("name", CURVES)
@each_data
def test_binned_curves(name, data, thresholds):
    """At each threshold, the rates of the decisions that scores at least as large are positive."""
    edges = sorted(edges_of(thresholds))
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = []
        for target, reached in data.columns(thresholds):
            above = np.arange(1, len(edges) + 1)[:, None] <= reached
            tp, fp, positives = (above & (target == 1)).sum(1), (above & (target == 0)).sum(1), target.sum()
            rates.append((tp / (tp + fp), tp / positives, fp / (len(target) - positives)))
    precision, recall, fpr = (np.stack(part) for part in zip(*rates, strict=True))
    end = np.ones((len(precision), 1))
    expected = (fpr[:, ::-1], recall[:, ::-1], edges[::-1])
    if name != "ROC":
        expected = (np.concatenate([precision, end], 1), np.concatenate([recall, 0 * end], 1), edges)
    if data.task == "binary":
        expected = (expected[0][0], expected[1][0], expected[2])
    for way, found in ways(name, CURVES[name], data, {"thresholds": thresholds}):
        for got, part in zip(found, expected, strict=True):
            assert close(got, part, data.preds.dtype == torch.float64), f"{way}: {got}, {part} is needed"


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("data", [d for d in DATA if d.task != "binary"], ids=str)
def test_the_area_of_a_mean_curve_is_the_mean_of_the_areas(data, average):
    arguments = {**data.size, **data.arguments, "average": average}
    member = data.task.title()
    batch = data.preds.double(), data.target
    for thresholds in (None, 11):
        fpr, tpr, at = getattr(ec, f"{member}ROC")(thresholds=thresholds, **arguments).of(*batch)
        precision, recall, _ = getattr(ec, f"{member}PrecisionRecallCurve")(thresholds=thresholds, **arguments).of(*batch)
        assert fpr.shape == tpr.shape == at.shape
        if thresholds is None or data.arguments.get("logits", True):  # else the curve may end before recall 1
            found = ((recall[:-1] - recall[1:]) * precision[:-1]).sum()
            expected = getattr(ec, f"{member}AveragePrecision")(thresholds=thresholds, **arguments).of(*batch)
            assert torch.allclose(found, expected, equal_nan=True)
        if thresholds is None:  # binned, a curve may end before (0, 0)
            expected = getattr(ec, f"{member}AUROC")(**arguments).of(*batch)
            assert torch.allclose(torch.trapezoid(tpr, fpr), expected, equal_nan=True)


# --- real data -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["scores", "logits"])
def test_tumours(kind):
    got = predicted("breast_cancer")
    preds = got.scores[:, 1] if kind == "scores" else got.logits
    batches = list(zip(preds.split(50), got.target.split(50), strict=True))
    for metric, expected in (
        (ec.BinaryAUROC(), sk.roc_auc_score(got.target, preds)),
        (ec.BinaryAUROC(max_fpr=0.1), sk.roc_auc_score(got.target, preds, max_fpr=0.1)),
        (ec.BinaryAveragePrecision(), sk.average_precision_score(got.target, preds)),
    ):
        assert 0.5 < expected < 1
        assert computed(metric, batches) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_digits(average):
    got = predicted("digits")
    expected = sk.roc_auc_score(got.target, got.scores, multi_class="ovr", average=average)
    for preds in (got.scores, got.logits):  # a logistic regression: its probabilities are the softmax of its logits
        found = computed(ec.MulticlassAUROC(10, average=average), zip(preds.split(100), got.target.split(100), strict=True))
        assert found == pytest.approx(expected, rel=1e-9)


# --- edges -----------------------------------------------------------------------------------------------------------------------

NOTHING = {
    "binary": (torch.zeros(0), torch.zeros(0, dtype=torch.long), {}),
    "multiclass": (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), {"num_classes": 3}),
    "multilabel": (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), {"num_labels": 3}),
}


@pytest.mark.parametrize("thresholds", [None, 4])
@pytest.mark.parametrize("task", NOTHING)
def test_no_data(task, thresholds):
    """Areas are NaN, curves NaN but for their end; so too where all is ignored, and where a metric never saw a batch."""
    empty, no_target, size = NOTHING[task]
    ignored = torch.ones(5, *empty.shape[1:]), torch.full((5, *no_target.shape[1:]), -1)
    arguments = {**size, "thresholds": thresholds, "ignore_index": -1}
    for name in AREAS:
        metric = getattr(ec, f"{task.title()}{name}")(**arguments)
        for batch in ((empty, no_target), ignored):
            values = [metric.of(*batch), AREAS[name][0](*batch, task=task, **arguments)]
            assert all(value.isnan() for value in values)
        with pytest.warns(UserWarning, match="before update"):
            assert metric.compute().isnan()
    for batch in ((empty, no_target), ignored):
        precision, recall, found = ef.precision_recall_curve(*batch, task=task, **arguments)
        fpr, tpr, at = ef.roc(*batch, task=task, **arguments)
        one = precision if task == "binary" else precision[0]
        assert one[-1] == 1
        assert (recall if task == "binary" else recall[0])[-1] == 0
        first = (fpr, tpr) if task == "binary" else (fpr[0], tpr[0])
        assert all(part.isnan().all() and len(part) == (thresholds or 1) for part in first)
        assert len(one) == (thresholds or 0) + 1
        assert (at if task == "binary" or thresholds else at[0])[0] == (1 if thresholds else math.inf)
        assert thresholds or all(not len(part) for part in ([found] if task == "binary" else found))


@pytest.mark.parametrize("thresholds", [None, 5])
@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class(label, thresholds):
    preds, target = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.full((4,), label)
    more = {"thresholds": thresholds}
    assert ef.binary_auroc(preds, target, **more).isnan()
    assert ef.binary_auroc(preds, target, max_fpr=0.5, **more).isnan()
    fpr, tpr, _ = ef.binary_roc(preds, target, **more)
    precision, recall, _ = ef.binary_precision_recall_curve(preds, target, **more)
    found = ef.binary_average_precision(preds, target, **more)
    if label:
        assert found == 1
        assert fpr.isnan().all()
        assert tpr[-1] == 1
        assert recall[0] == 1
    else:
        assert found.isnan()
        assert tpr.isnan().all()
        assert fpr[-1] == 1
        assert recall[:-1].isnan().all()
        assert precision[0] == 0


def test_averages_leave_out_classes_without_a_value():
    preds, target = torch.eye(4)[[0, 1, 2, 1]], torch.tensor([0, 1, 1, 2])  # class 3 does not occur
    each = ef.multiclass_auroc(preds, target, 4, average="none")
    assert each[3].isnan()
    assert ef.multiclass_auroc(preds, target, 4) == each[:3].mean()
    assert ef.multiclass_auroc(preds, target, 4, average="weighted") == pytest.approx(
        float(each[:3] @ torch.tensor([0.25, 0.5, 0.25]))
    )
    for name in CURVES:
        curve = getattr(ec, f"Multiclass{name}")(4, average="macro").of(preds, target)
        assert not any(part.isnan().any() for part in curve)


def test_large_logits_keep_their_order():
    """A sigmoid in float32 is 1 from 17 on, in float64 from 37 on."""
    preds, target = torch.tensor([40.0, 50.0, 60.0, 70.0]), torch.tensor([0, 1, 0, 1])
    assert ef.binary_auroc(preds, target) == 0.75 == sk.roc_auc_score(target, preds)
    assert ef.binary_auroc(-preds, target) == 0.25
    assert ef.multilabel_auroc(preds[:, None].expand(4, 2), target[:, None].expand(4, 2), 2) == 0.75


def test_logits_of_several_classes_are_ranked_by_log_softmax():
    """Raw logits of two rows do not compare, and a softmax in float32 is 0 where its logarithm still tells them apart."""
    preds = torch.tensor([[0.0, 200.0, 0.0], [10.0, 220.0, 0.0], [5.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    target = torch.tensor([0, 1, 0, 2])
    expected = sk.roc_auc_score(target == 0, log_softmax(preds.double().numpy(), 1)[:, 0])
    assert ef.multiclass_auroc(preds, target, 3, average="none")[0] == expected
    assert expected != sk.roc_auc_score(target == 0, preds[:, 0])


@pytest.mark.parametrize("thresholds", [None, 21])
def test_infinite_logits_share_all_alike(thresholds):
    """The limit of a softmax, of which torch's own is NaN."""
    inf = math.inf
    logits = torch.tensor([[inf, 1, 2], [inf, inf, 0], [-inf, -inf, -inf], [-inf, 0, 0], [-inf, 3, -inf], [0.0, 1, 2]])
    shares = torch.tensor([[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1 / 2, 1 / 2], [0, 1, 0]])
    shares = torch.cat([shares, logits[5:].softmax(1)])
    target = torch.tensor([1, 0, 2, 1, 0, 2])
    for function in (ef.multiclass_auroc, ef.multiclass_average_precision):
        found = function(logits, target, 3, average="none", thresholds=thresholds)
        assert torch.allclose(found, function(shares, target, 3, average="none", thresholds=thresholds))


@pytest.mark.parametrize("thresholds", [None, 21])
def test_logits_or_probabilities_is_decided_by_all_data(thresholds):
    """The first batch could be probabilities; the thresholds of a curve tell what it was taken for."""
    preds, target = torch.tensor([0.2, 0.4, 3.0, -2.0, 0.9]), torch.tensor([1, 0, 1, 0, 1])
    for name in CURVES:
        metric = getattr(ec, f"Binary{name}")(thresholds)
        expected = metric.of(preds, target)
        alone = metric(preds[:2], target[:2])
        if thresholds is None:
            assert alone[2][-1] == pytest.approx(0.2 if name == "ROC" else 0.4)
        metric.update(preds[2:], target[2:])
        for got, part in zip(metric.compute(), expected, strict=True):
            assert torch.equal(got.nan_to_num(), part.nan_to_num())
        as_logits = metric.__class__(thresholds, logits=True).of(preds, target)
        assert torch.equal(as_logits[0].nan_to_num(), expected[0].nan_to_num())
    for row in (preds[:, None].expand(5, 3).sigmoid().clone(), preds[:, None] * torch.tensor([1.0, 0.0, -1.0])):
        metric = ec.MulticlassAUROC(3, thresholds=thresholds)
        found = computed(metric, zip(row.split(2), target.split(2), strict=True))
        assert torch.equal(found, metric.of(row, target))


def test_normalization_none_takes_scores_as_they_are():
    preds, target = torch.tensor([-3.0, 2.0, 5.0]), torch.tensor([0, 1, 1])
    for name in (*CURVES, "AveragePrecision"):
        metric = getattr(ec, f"Binary{name}")(normalization=None)
        metric.update(preds, target)
        if name in CURVES:
            assert sorted(metric.compute()[2].tolist())[:3] == [-3, 2, 5]
    assert ec.BinaryROC([-1.0, 3.0], normalization=None).of(preds, target)[1].tolist() == [0.5, 1]
    with pytest.raises(ValueError, match="normalization is None, but logits is True"):
        ec.BinaryROC(normalization=None, logits=True)


def test_forms_of_thresholds():
    """A number, a list, a tuple and a tensor of the same, in any order, are one configuration."""
    preds, target = torch.rand(50, generator=source()), torch.randint(2, (50,), generator=source())
    forms = (5, [0.0, 0.25, 0.5, 0.75, 1.0], (1.0, 0.5, 0.25, 0.75, 0.0), torch.linspace(0, 1, 5))
    found = [ef.binary_roc(preds, target, thresholds) for thresholds in forms]
    assert all(torch.equal(*pair) for curve in found for pair in zip(curve, found[0], strict=True))
    assert found[0][2].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    for bad in (torch.rand(2, 2), torch.tensor(0.5), [[0.5], [0.6]]):
        for curve in (lambda t: ec.BinaryROC(t), lambda t: ef.binary_roc(preds, target, t)):
            with pytest.raises(TypeError, match=r"(?s)BinaryROC: thresholds is .*a list or a tensor \(T,\) of them is needed"):
                curve(bad)


@pytest.mark.parametrize("thresholds", [None, 5])
def test_the_largest_scores_are_scores(thresholds):
    """As masked logits are; their squares are no floats, of which nobody is warned."""
    most = torch.finfo(torch.float32).max
    preds, target = torch.tensor([most, -most, 1.0, -most]), torch.tensor([1, 0, 1, 0])
    assert ef.binary_auroc(preds, target, thresholds=thresholds) == 1
    assert ef.multiclass_auroc(torch.stack([-preds, preds], 1), target, 2, thresholds=thresholds) == 1
    assert ef.multiclass_accuracy(torch.stack([-preds, preds], 1), target, 2, average="micro") == 1


def test_scores_that_torch_holds_negated():
    scores = torch.view_as_complex(torch.rand(20, 2, generator=source())).conj().imag
    target = torch.randint(2, (20,), generator=source())
    assert scores.is_neg()
    assert ef.binary_auroc(scores, target) == ef.binary_auroc(scores.clone(), target)


# --- memory ----------------------------------------------------------------------------------------------------------------------


def held(metric: Any) -> int:
    """The bytes behind the states, spare rows included."""
    parts = [part for field in metric.metric_state.values() for part in (field if isinstance(field, list) else [field])]
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in parts}.values())


def test_exact_scores_hold_five_bytes_each():
    metric = ec.BinaryAUROC()
    for _ in range(3):
        metric.update(torch.rand(50_000), torch.randint(2, (50_000,)))
    sizes = sum(part.numel() * part.element_size() for name in ("scores", "target") for part in metric.metric_state[name])
    assert sizes == 5 * 150_000
    assert held(metric) <= 1.25 * sizes
    one = ec.BinaryAUROC()
    one.update(torch.rand(150_000), torch.randint(2, (150_000,)))
    assert held(one) <= 5 * 150_000 + 64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_exact_in_constant_memory(dtype):
    g = torch.Generator().manual_seed(0)
    preds, target = 3 * torch.randn(4000, generator=g), torch.randint(2, (4000,), generator=g)
    preds = (preds + target).to(dtype)
    metric, sizes = ec.BinaryAUROC(), set()
    for batch in zip(preds.split(1000), target.split(1000), strict=True):
        metric.update(*batch)
        sizes.add(held(metric))
    assert len(sizes) == 1
    assert sizes.pop() < 2**20 + 2**10
    assert metric.compute() == pytest.approx(sk.roc_auc_score(target, preds.double()))


def test_precisions_mix():
    """As autocast may have it: each batch is exact in its own."""
    g = torch.Generator().manual_seed(0)
    preds, target = torch.randn(400, 3, generator=g), torch.randint(2, (400, 3), generator=g)
    dtypes = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    batches = [(p.to(dtype), t) for p, t, dtype in zip(preds.split(100), target.split(100), dtypes, strict=True)]
    found = computed(ec.MultilabelAveragePrecision(3, average="none"), batches)
    scores = torch.cat([p.double() for p, _ in batches])
    expected = [sk.average_precision_score(target[:, c], scores[:, c]) for c in range(3)]
    assert np.allclose(found, expected, rtol=1e-12)


def test_metrics_of_scores_share_their_statistic():
    metrics = epochal.MetricCollection(
        [ec.BinaryAUROC(), ec.BinaryROC(), ec.BinaryAveragePrecision(), ec.BinaryPrecisionRecallCurve()]
    )
    metrics.update(torch.rand(50), torch.randint(2, (50,)))
    states = [metric.metric_state["scores"] for metric in metrics.values()]
    assert len({part.data_ptr() for state in states for part in state}) == 1
