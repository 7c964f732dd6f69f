"""Bad data, for every public metric by discovery: which error, in which words, and that nothing of it enters the state.

The examples of tests/laws say how a metric is built and what good data are; here they are made bad. A fault of shapes, dtypes or
arguments is found at once, always. A fault of values (labels out of range, NaN) is found at once where a look at values is free,
else (``check.deferred``) at ``compute``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import epochal
from epochal import check
from epochal.aggregation import SumMetric
from epochal.compare import tensors
from tests.errors.grammar import content, grammatical, refused, same
from tests.laws.examples import EXAMPLES, Example
from tests.laws.test_laws import PUBLIC

AGGREGATIONS = ("SumMetric", "MeanMetric", "MaxMetric", "MinMetric", "CatMetric", "RunningMean", "RunningSum")
IN_ALL_FORMS = ("StatScores", "ExactMatch")
HUGE = 2**62  # times an even number of classes it is 0 in int64
NOT_A_LABEL = torch.tensor(math.nan).long()  # what float labels with NaN become


@dataclass(frozen=True)
class Bad:
    """Arguments of ``update`` that must be refused."""

    name: str
    args: tuple[Any, ...]
    error: type[Exception]
    words: tuple[str, ...] = ()
    of_values: bool = False


def examples() -> list[Example]:
    """Of each class (F1 is F1Score) two; all of a few, since metrics of labels read all forms of data the same way."""
    found = []
    for name, cls in PUBLIC.items():
        if cls.__name__ == name:
            found += EXAMPLES.get(name, ()) if name.endswith(IN_ALL_FORMS) else EXAMPLES.get(name, [])[:2]
    return found


def classifies(example: Example) -> bool:
    return type(example.make()).__module__.startswith("epochal.classification")


def spoiled(tensor: Tensor, value: Any) -> Tensor:
    """With one value in the middle."""
    twin = tensor.clone()
    twin.view(-1)[twin.numel() // 2] = value
    return twin


# --- what is bad, by the kind of metric ----------------------------------------------------------------------------------------


def calls(batch: tuple[Any, ...]) -> Iterator[Bad]:
    """For every metric: too many arguments, and what is no number."""
    yield Bad("too many", (*batch, *batch, 1), TypeError, ("update was called with", "takes"))
    yield Bad("text", ("abc", *batch[1:]), TypeError, ("is a str",))
    yield Bad("nothing", (None, *batch[1:]), TypeError, ("is a NoneType",))


def pairs(batch: tuple[Any, ...]) -> Iterator[Bad]:
    """For every metric of predictions and targets."""
    preds, target = batch
    yield Bad("no target", (preds,), TypeError, ("update was called with (Tensor)", "target"))
    yield Bad("list preds", (preds.tolist(), target), TypeError, ("preds is a list", "torch.as_tensor(preds)"))
    yield Bad("list target", (preds, target.tolist()), TypeError, ("target is a list", "torch.as_tensor(target)"))
    yield Bad("array", (preds, target.numpy()), TypeError, ("target is a ndarray",))
    yield Bad("complex preds", (preds.to(torch.complex64), target), TypeError, ("preds has dtype torch.complex64",))
    yield Bad("complex target", (preds, target.to(torch.complex64)), TypeError, ("target has dtype torch.complex64",))
    yield Bad("fewer preds", (preds[:-1], target), ValueError, (check.shape(preds[:-1]), check.shape(target)))
    yield Bad("fewer targets", (preds, target[:-1]), ValueError, (check.shape(preds), check.shape(target[:-1])))
    yield Bad("one dimension more", (preds, target.unsqueeze(-1)), ValueError, (check.shape(target.unsqueeze(-1)),))
    yield Bad("a number", (preds, target.reshape(-1)[0]), ValueError, (check.shape(preds), "()"))


def tasks(batch: tuple[dict[str, Tensor], dict[str, Tensor]]) -> Iterator[Bad]:
    """For dictionaries with an entry for each task, of which the last is refused last."""
    preds, target = batch
    last = list(preds)[-1]
    yield Bad("tensors", tuple(preds.values()), TypeError, ("is a Tensor", "a dictionary with an entry for each task"))
    for which, given in enumerate(batch):
        fewer = {name: value for name, value in given.items() if name != last}
        args = (fewer, target) if which == 0 else (preds, fewer)
        yield Bad("a task is missing", args, ValueError, (f"['{last}'] are needed, too",))
    yield Bad("a bad task", ({**preds, last: None}, target), TypeError, ("is a NoneType",))


def texts(batch: tuple[list[Any], list[Any]]) -> Iterator[Bad]:
    """For metrics of strings."""
    preds, target = batch
    yield Bad("too many", (*batch, *batch, 1), TypeError, ("update was called with", "takes"))
    yield Bad("no target", (preds,), TypeError, ("update was called with (list)", "target"))
    yield Bad("nothing", (None, target), TypeError, ("preds is a NoneType", "a string"))
    yield Bad("no strings", (preds, torch.ones(len(target))), TypeError, ("target is a Tensor", "a string"))
    yield Bad("a number", ([*preds[:-1], 3], target), TypeError, (f"preds[{len(preds) - 1}] is a int", "a string"))
    yield Bad("tokens", ([text.split() for text in preds], target), TypeError, ("preds[0] is a list", "a string"))
    yield Bad("bytes", (preds, [b"text" for _ in target]), TypeError, ("target[0] is a bytes", "a string"))
    yield Bad("fewer preds", (preds[:-1], target), ValueError, (f"preds has {len(preds) - 1} text", f"target has {len(target)}"))
    yield Bad("fewer targets", (preds, target[:-1]), ValueError, (f"preds has {len(preds)} text", f"target has {len(target) - 1}"))


def images(metric: Any, batch: tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]) -> Iterator[Bad]:
    """For lists with a dictionary for each image, of which the fullest is made bad."""
    preds, target = batch
    matches = isinstance(metric, epochal.detection.MeanAveragePrecision)
    yield Bad("too many", (*batch, 1), TypeError, ("update was called with", "takes"))
    yield Bad("one image", (preds[0], target[0]), TypeError, ("preds is a dict", "[preds]"))
    yield Bad("nothing", (preds, None), TypeError, ("target is a NoneType",))
    yield Bad("fewer images", (preds, target[1:]), ValueError, (f"preds has {len(preds)} images", f"{len(target) - 1}"))
    yield Bad("no image", (preds, [*target[1:], 3]), TypeError, (f"target[{len(target) - 1}] is a int",))
    for which, name in enumerate(("preds", "target")):
        full = max(range(len(preds)), key=lambda i: len(preds[i]["labels"]) * len(target[i]["labels"]))
        image = batch[which][full]

        def spoilt(wrong: dict[str, Any], which: int = which, full: int = full) -> tuple[Any, ...]:
            lists = [list(given) for given in batch]
            lists[which][full] = wrong
            return tuple(lists)

        for key, value in image.items():
            if key in ("iscrowd", "area") or (key == "scores" and not matches):
                continue
            where = f"{name}[{full}]"
            fewer = {k: v for k, v in image.items() if k != key}
            yield Bad(f"{name} without {key}", spoilt(fewer), ValueError, (where, repr(key)))
            yield Bad(f"{name} of fewer {key}", spoilt({**image, key: value[1:]}), ValueError, (where, key))
            yield Bad(f"{name} of a list of {key}", spoilt({**image, key: value.tolist()}), TypeError, (where, "is a list"))
            yield Bad(f"{name} with one {key}", spoilt({**image, key: value[0]}), ValueError, (name, key))
        yield Bad(f"{name}: labels", spoilt({**image, "labels": image["labels"] + 0.5}), TypeError, (f"labels of {name}",))
        if matches:  # of means, NaN is NaN
            nan = spoiled(image["boxes"], math.nan)
            yield Bad(f"{name}: NaN", spoilt({**image, "boxes": nan}), ValueError, (f"boxes of {name}", "1 NaN"))
        yield Bad(f"{name}: sides", spoilt({**image, "boxes": image["boxes"][:, :3]}), ValueError, ("boxes", ", 4)"))


def classification(metric: Any, batch: tuple[Tensor, Tensor]) -> Iterator[Bad]:
    preds, target = batch
    task = metric.task
    classes = getattr(task, "num_classes", None)  # 0: not known
    several = preds.ndim > target.ndim
    yield Bad("float target", (preds, target.float()), TypeError, ("target has dtype torch.float32", "target.long()"))
    if preds.is_floating_point():
        yield Bad("NaN", (spoiled(preds, math.nan), target), ValueError, ("preds has 1 NaN",), of_values=True)
        yield Bad("all NaN", (preds * math.nan, target), ValueError, (f"preds has {preds.numel()} NaN",), of_values=True)
    elif classes or type(metric).task_name in ("binary", "multilabel"):
        yield Bad("preds too high", (spoiled(preds, 99), target), ValueError, ("preds has the values 99",), of_values=True)
    if not preds.is_floating_point():
        yield Bad("preds below 0", (spoiled(preds, -1), target), ValueError, ("preds has the values -1",), of_values=True)
    known = several or classes != 0
    for value in (99, HUGE) if known and not (classes is None and not preds.is_floating_point()) else ():
        words = (f"target has the values {value}", f"ignore_index={value}")
        yield Bad(f"target {value}", (preds, spoiled(target, value)), ValueError, words, of_values=True)
    for value in (-100, int(NOT_A_LABEL)):
        words = (f"target has the values {value}", f"ignore_index={value}")
        yield Bad(f"target {value}", (preds, spoiled(target, value)), ValueError, words, of_values=True)
    if several:
        yield Bad("integer scores", (preds.long(), target), ValueError, ("torch.int64", check.shape(preds)))
        onehot = torch.nn.functional.one_hot(target.clamp(0), preds.shape[1]).movedim(-1, 1)
        if isinstance(classes, int):
            yield Bad("one-hot target", (preds, onehot), ValueError, (check.shape(preds), "scores (N, C, ...)"))
    if several and classes:
        words = (f"preds has {classes - 1} classes", f"num_classes is {classes}", f"num_classes={classes - 1}")
        yield Bad("too few classes", (preds[:, 1:], target), ValueError, words)
    if classes is not None and not several:
        yield Bad("labels as floats", (preds.float(), target), ValueError, ("torch.float32",))
    if hasattr(task, "num_labels"):
        words = (check.shape(preds[:, 1:]), f"num_labels is {task.num_labels}")
        yield Bad("too few labels", (preds[:, 1:], target[:, 1:]), ValueError, words)


def retrieval(batch: tuple[Tensor, Tensor, Tensor]) -> Iterator[Bad]:
    preds, target, indexes = batch
    for bad in pairs((preds, target)):
        if bad.name != "no target":
            yield replace(bad, args=(*bad.args, indexes))
    yield Bad("no indexes", (preds, target), TypeError, ("update was called with (Tensor, Tensor)", "indexes"))
    yield Bad("None for indexes", (preds, target, None), TypeError, ("indexes is a NoneType",))
    yield Bad("float indexes", (preds, target, indexes.float()), TypeError, ("indexes has dtype torch.float32", "indexes.long()"))
    yield Bad("fewer indexes", (preds, target, indexes[1:]), ValueError, (check.shape(preds), check.shape(indexes[1:])))
    yield Bad("preds and target exchanged", (target, preds, indexes), TypeError, ("preds has dtype torch.int64",))
    yield Bad("NaN", (spoiled(preds, math.nan), target, indexes), ValueError, ("preds has 1 NaN",), of_values=True)
    for value in (-100, math.inf, math.nan):
        worse = spoiled(target if value == -100 else target.float(), value)
        yield Bad(f"target {value}", (preds, worse, indexes), ValueError, ("target has 1 values", "ignore_index"), of_values=True)


def faults(example: Example) -> Iterator[Bad]:
    metric, batch = example.make(), example.batches()[2]
    if all(isinstance(given, dict) for given in batch):
        yield from tasks(batch)
    if all(isinstance(given, list) and isinstance(batch[0][0], str) for given in batch):
        yield from texts(batch)
    if type(metric).__module__.startswith("epochal.detection"):
        yield from images(metric, batch)
    if not all(isinstance(given, Tensor | float | bool) for given in batch):
        return
    yield from calls(batch)
    names = list(inspect.signature(metric.measure).parameters)
    if names == ["preds", "target"] or example.variant == "formula":
        yield from pairs(batch)
    if names == ["preds", "target", "indexes"]:
        yield from retrieval(batch)
    if type(metric).__module__.startswith("epochal.classification"):
        yield from classification(metric, batch)
    if (getattr(metric, "num_outputs", 1) or 1) > 1:
        words = f"num_outputs is {metric.num_outputs}" if metric.measured_by() else f"{metric.num_outputs} outputs in dimension"
        yield Bad("outputs", tuple(given[:, 1:] for given in batch), ValueError, (words,))


EXAMPLES_HERE = examples()
CASES = {str(example): list(faults(example)) for example in EXAMPLES_HERE}
each_example = pytest.mark.parametrize("example", EXAMPLES_HERE, ids=str)
each_of_values = pytest.mark.parametrize("example", [e for e in EXAMPLES_HERE if any(b.of_values for b in CASES[str(e)])], ids=str)


def raiser(example: Example) -> str:
    """The class that errors name: of a formula, a metric in it."""
    metric = example.make()
    inner = [type(leaf).__name__ for leaf in metric.modules() if not isinstance(leaf, epochal.CompositionalMetric)]
    return f"({'|'.join(inner)})" if example.build else type(metric).__name__


def for_each(law: Callable[[Bad], None], cases: Iterable[Bad]) -> None:
    """One report of all bad data with which a law does not hold."""
    broken = []
    for bad in cases:
        try:
            law(bad)
        except (Exception, pytest.fail.Exception) as error:
            broken.append(f"{bad.name}: {type(error).__name__}: {error}")
    assert not broken, "\n".join(broken)


def test_every_metric_is_given_bad_data():
    """The discovery works: each metric that has an example is refused something, those of labels also bad values."""
    assert all(CASES.values())
    spoilt = {e.cls for e in EXAMPLES_HERE if any(bad.of_values for bad in CASES[str(e)])}
    of_labels = {e.cls for e in EXAMPLES_HERE if classifies(e)}
    assert of_labels == {e.cls for e in EXAMPLES_HERE if e.cls in spoilt and not e.cls.startswith("Retrieval")}
    assert len(of_labels) > 40


@each_example
def test_refused_and_nothing_of_it_stays(example):
    name, good = raiser(example), example.batches()

    def law(bad: Bad) -> None:
        metric, control = example.make(), example.make()
        for batch in good[:2]:
            metric.update(*batch)
            control.update(*batch)
        before = content(metric)
        for verb in (metric.update, metric, metric.of):
            refused(functools.partial(verb, *bad.args), bad.error, name, bad.words)
            assert same(content(metric), before), verb
        metric.update(*good[3])
        control.update(*good[3])
        assert same(metric.compute(), control.compute())

    for_each(law, CASES[str(example)])


@pytest.mark.parametrize("example", [e for e in EXAMPLES_HERE if e.function], ids=str)
def test_a_function_says_the_same(example):
    function = functools.partial(getattr(epochal.functional, example.function), **example.arguments)
    cases = [bad for bad in CASES[str(example)] if "called" not in str(bad.words)]  # Python itself counts its arguments
    for_each(lambda bad: refused(lambda: function(*bad.args), bad.error, raiser(example), bad.words), cases)


@each_of_values
def test_deferred_faults_of_values_are_found_at_compute(example):
    name, good = raiser(example), example.batches()

    def law(bad: Bad) -> None:
        metric, other = example.make(), example.make()
        with check.deferred():
            for args in (good[0], bad.args, good[1]):
                metric.update(*args)
            assert metric.update_count == 3
            refused(metric.compute, ValueError, name)
        refused(metric.compute, ValueError, name)
        other.update(*good[0])
        before = content(other)
        refused(lambda: other.merge_state(metric), ValueError, name)
        assert same(content(other), before)
        metric.reset()
        metric.update(*good[0])
        assert same(metric.compute(), other.compute())

    for_each(law, [bad for bad in CASES[str(example)] if bad.of_values])


@each_example
def test_deferred_faults_of_form_are_found_at_once(example):
    name = raiser(example)

    def law(bad: Bad) -> None:
        metric = example.make()
        with check.deferred():
            refused(lambda: metric.update(*bad.args), bad.error, name, bad.words)
        assert metric.update_count == 0

    for_each(law, [bad for bad in CASES[str(example)] if not bad.of_values])


# --- NaN among the numbers ---------------------------------------------------------------------------------------------------


def with_nan(batch: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The arguments with NaN in one of them."""
    for index, given in enumerate(batch):
        nan = spoiled(given, math.nan) if isinstance(given, Tensor) and given.is_floating_point() else math.nan
        if isinstance(given, Tensor | float) and not (isinstance(given, Tensor) and not given.is_floating_point()):
            yield (*batch[:index], nan, *batch[index + 1 :])


def outcome(metric: Any, *batches: tuple[Any, ...]) -> str:
    """What becomes of data with NaN: "refused", "said" by a warning, "NaN" in the value, or a number as if nothing had been."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            for batch in batches:
                metric.update(*batch)
            value = metric.compute()
        except ValueError as error:
            return "refused" if "NaN" in str(error) else str(error)
    if any("NaN" in str(warning.message) for warning in said):
        return "said"
    return "NaN" if any(t.is_floating_point() and t.isnan().any() for t in tensors(value)) else f"a plausible {value}"


@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "deferred"])
@each_example
def test_nan_gives_no_plausible_number(example, deferred):
    """By discovery, for every argument of floats: first, last or alone; where values may not be looked at before compute, too."""
    good = example.batches()
    if not all(isinstance(given, Tensor | float | bool) for given in good[2]) or getattr(example.make(), "remove_nans", False):
        return  # nothing to spoil, or rows with NaN are left out because that was asked for
    broken = []
    for bad in with_nan(good[2]):
        for batches in ([bad], [bad, good[0]], [good[0], bad]):
            with check.deferred() if deferred else contextlib.nullcontext():
                became = outcome(example.make(), *batches)
            if became not in ("refused", "said", "NaN"):
                broken.append(became)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations_do_as_nan_strategy_says(name):
    expected = {"error": "refused", "warn": "said", "disable": "NaN"}
    numbers = (torch.tensor([1.0, math.nan, 3.0]),)
    for strategy, outcome_of_it in expected.items():
        assert outcome(getattr(epochal, name)(nan_strategy=strategy), numbers) == outcome_of_it
    ignored, replaced = (getattr(epochal, name)(nan_strategy=how) for how in ("ignore", 7.0))
    for metric, without in ((ignored, torch.tensor([1.0, 3.0])), (replaced, torch.tensor([1.0, 7.0, 3.0]))):
        metric.update(*numbers)
        assert same(metric.compute(), getattr(epochal, name)().of(without))


# --- ignored values, and validate_args ---------------------------------------------------------------------------------------

IGNORES_NOTHING = [e for e in EXAMPLES_HERE if classifies(e) and CASES[str(e)] and "ignore_index" not in e.arguments]
each_that_ignores_nothing = pytest.mark.parametrize("example", IGNORES_NOTHING, ids=str)


@each_that_ignores_nothing
def test_what_is_ignored_is_not_bad(example):
    """``ignore_index`` may be any number; the prediction of an ignored target may be NaN."""
    metric = PUBLIC[example.cls](**{**example.arguments, "ignore_index": -100})
    (bad,) = [bad for bad in CASES[str(example)] if bad.name == "target -100"]
    preds, target = bad.args
    metric.update(preds, target)
    value = metric.compute()
    if preds.is_floating_point():
        at = (target == -100).unsqueeze(1) if preds.ndim > target.ndim else target == -100
        metric.reset()
        metric.update(preds.masked_fill(at, math.nan), target)
        assert same(metric.compute(), value)


@each_that_ignores_nothing
def test_unchecked_values_are_left_out(example):
    """``validate_args=False``: what is bad is counted as nothing, as if it were ignored, and no error is raised."""
    for bad in CASES[str(example)]:
        if bad.name in ("target 99", "NaN") and ("Exact" not in example.cls or bad.args[0].ndim == 1):
            preds, target = bad.args
            unchecked = PUBLIC[example.cls](**example.arguments, validate_args=False)
            control = PUBLIC[example.cls](**{**example.arguments, "ignore_index": -100})
            unchecked.update(preds, target)
            nowhere = preds.isnan() if preds.is_floating_point() else torch.zeros_like(preds, dtype=torch.bool)
            nowhere = nowhere.any(1) if preds.ndim > target.ndim else nowhere
            control.update(preds, target.masked_fill(nowhere | (target == 99), -100))
            assert same(unchecked.compute(), control.compute()), bad.name


# --- aggregations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations_refuse_nan(name):
    metric = getattr(epochal, name)(nan_strategy="error")
    metric.update(torch.tensor([1.0, 2.0]))
    before, value = content(metric), metric.compute()
    for verb in (metric.update, metric, metric.of):
        refused(lambda: verb(torch.tensor([1.0, math.nan, math.nan])), ValueError, name, ("2 of the values are NaN",))
        assert same(content(metric), before)
    metric.update(torch.tensor([]))
    if not name.startswith("Running"):
        assert same(metric.compute(), value)
    with check.deferred():
        metric.update(torch.tensor([math.nan]))
    refused(metric.compute, ValueError, name, ("1 of the values are NaN",))


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations_warn_of_nan_in_the_grammar(name):
    metric = getattr(epochal, name)()
    with pytest.warns(UserWarning, match="NaN") as caught:
        metric.update(torch.tensor([1.0, math.nan]))
    grammatical(caught[0].message, name, ("1 of the values are NaN", "nan_strategy='ignore'"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(epochal, name)(nan_strategy="ignore").update(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations_take_real_numbers(name):
    metric = getattr(epochal, name)()
    for given in ({1: 2}, [1, "a"], object()):
        refused(lambda: metric.update(given), TypeError, name, (f"value is a {type(given).__name__}",))
    refused(lambda: metric.update(torch.tensor(1j)), TypeError, name, ("complex64",))
    refused(lambda: metric.update(1j), TypeError, name)
    assert metric.update_count == 0


def test_weights_that_do_not_fit():
    metric = epochal.MeanMetric()
    refused(lambda: metric.update(torch.ones(3), torch.ones(2)), ValueError, "MeanMetric", ("(2,)", "(3,)"))
    assert metric.update_count == 0


def test_an_error_in_a_formula_leaves_all_of_its_metrics():
    formula = epochal.MeanSquaredError() + SumMetric()
    refused(lambda: formula.update(torch.ones(2), torch.ones(3)), ValueError, "MeanSquaredError")
    assert all(leaf.update_count == 0 for leaf in (formula.metric_a, formula.metric_b))


# --- labels that no sane data have ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [-(2**63), 2**63 - 1, 2**62, -(2**62), 2**32, 2**31, -1])
@pytest.mark.parametrize("classes", [2, 3, 4, 7, 8, 63, 64, 65, 127, 255])
def test_extreme_labels_do_not_wrap_around(label, classes):
    """Cells are target times a number: in int64, the least label (NaN as an integer) times an even number is 0."""
    for place in ("target", "preds"):
        given = {"preds": torch.zeros(4, dtype=torch.long), "target": torch.zeros(4, dtype=torch.long)}
        given[place][2] = label
        metric = epochal.classification.MulticlassAccuracy(classes)
        refused(lambda: metric.update(**given), ValueError, "MulticlassAccuracy", (f"{place} has the values {label}",))
        with check.deferred():
            metric.update(**given)
        refused(metric.compute, ValueError, "MulticlassAccuracy")
    binary = epochal.classification.BinaryAccuracy()
    refused(lambda: binary.update(**given), ValueError, "BinaryAccuracy", (f"preds has the values {label}",))
