"""What each wrapper returns: against the metric itself on the data that count, and in the forms of torchmetrics."""

from __future__ import annotations

import itertools
import math
import pickle
import warnings

import pytest
import torch
import torchmetrics
from torchmetrics import classification as tc
from torchmetrics import wrappers as tw

import epochal
from epochal import classification as ec
from epochal import wrappers as ew
from epochal.testing import difference
from tests.errors.grammar import refused

SCORES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]]), torch.tensor([0, 1, 2, 1])


def same(got, expected):
    text = difference(got, expected)
    assert text is None, text


# --- each class --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [None, ["a", "b", "c"]])
@pytest.mark.parametrize("prefix", [None, "p-", ""])
@pytest.mark.parametrize("postfix", [None, "-q"])
def test_names_of_classes(labels, prefix, postfix):
    ours = ew.ClasswiseWrapper(ec.MulticlassAccuracy(3, average=None), labels, prefix, postfix)
    theirs = tw.ClasswiseWrapper(tc.MulticlassAccuracy(3, average=None), labels, prefix, postfix)
    expected = theirs(*SCORES)
    assert list(ours(*SCORES)) == list(expected)
    same(ours.compute(), expected)


def test_classes_and_labels_agree():
    refused(lambda: ew.ClasswiseWrapper(3), TypeError, "ClasswiseWrapper", ("metric is 3",))
    accuracy = ec.MulticlassAccuracy(3, average=None)
    for labels in ("abc", [1, 2, 3]):
        refused(lambda labels=labels: ew.ClasswiseWrapper(accuracy, labels), TypeError, "ClasswiseWrapper", ("a list of strings",))
    refused(lambda: ew.ClasswiseWrapper(accuracy, ["a", "a", "b"]), ValueError, "ClasswiseWrapper", ("a name of its own",))
    few = ew.ClasswiseWrapper(accuracy, ["a", "b"])
    for verb in (few, few.of):
        refused(lambda verb=verb: verb(*SCORES), ValueError, "ClasswiseWrapper", ("labels has 2 names", "3 rows"))
    assert few.update_count == 0, "a forward whose result fails has not happened"
    single = ew.ClasswiseWrapper(ec.MulticlassAccuracy(3))
    refused(lambda: single(*SCORES), ValueError, "ClasswiseWrapper", ("a single number", "average=None"))


# --- extremes ----------------------------------------------------------------------------------------------------------------


def test_extremes_are_of_the_value_after_each_update():
    metric, plain, seen = ew.MinMaxMetric(epochal.MeanMetric()), epochal.MeanMetric(), []
    for x in (2.0, 6.0, -7.0, 1.0):
        same(metric(x), {"raw": torch.tensor(x), "max": torch.tensor(x), "min": torch.tensor(x)})
        plain.update(x)
        seen.append(plain.compute())
        same(metric.compute(), {"raw": seen[-1], "max": max(seen), "min": min(seen)})
    alone = ew.MinMaxMetric(epochal.MeanMetric())
    for x in (2.0, 6.0, -7.0, 1.0):
        alone.update(x)
    same(alone.compute(), metric.compute())
    alone.reset()
    alone.update(3.0)
    same(alone.compute(), dict.fromkeys(("raw", "max", "min"), torch.tensor(3.0)))


def test_extremes_as_torchmetrics_has_them_where_it_computes_after_each_update():
    ours, theirs = ew.MinMaxMetric(ec.BinaryAccuracy()), tw.MinMaxMetric(tc.BinaryAccuracy())
    preds = torch.tensor([0.1, 0.9, 0.8, 0.4])
    for target in ([0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1]):
        ours.update(preds, torch.tensor(target))
        theirs.update(preds, torch.tensor(target))
        same(ours.compute(), theirs.compute())


def test_extremes_of_several_values_and_of_nan():
    metric = ew.MinMaxMetric(ew.ClasswiseWrapper(ec.MulticlassRecall(3, average=None), [*"abc"], "is_"))
    metric.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    metric.update(torch.tensor([2]), torch.tensor([2]))
    value = metric.compute()
    same([value["min"]["is_c"], value["max"]["is_c"], value["raw"]["is_a"]], [torch.tensor(x) for x in (0.0, 1.0, 0.5)])
    empty = ew.MinMaxMetric(epochal.MeanMetric())
    empty.update(torch.zeros(0))
    empty.update(1.0)
    same(empty.compute(), dict.fromkeys(("raw", "max", "min"), torch.tensor(1.0)))


def test_extremes_merge_with_the_value_of_all_data():
    a, b = (ew.MinMaxMetric(epochal.MeanMetric()) for _ in range(2))
    for metric, values in ((a, (0.0, 10.0)), (b, (7.0, 9.0))):  # 0, 5; 7, 8
        for value in values:
            metric.update(value)
    a.merge_state(b)
    same(a.compute(), {"raw": torch.tensor(6.5), "max": torch.tensor(8.0), "min": torch.tensor(0.0)})
    assert a.update_count == 4
    refused(lambda: a.merge_state(epochal.MeanMetric()), ValueError, "MinMaxMetric", ("MeanMetric",))


# --- running -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "running"), [("MeanMetric", "RunningMean"), ("SumMetric", "RunningSum")])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_running_is_the_running_aggregation(base, running, window):
    ours, expected = ew.Running(getattr(epochal, base)(), window), getattr(epochal, running)(window)
    theirs = tw.Running(getattr(torchmetrics.aggregation, base)(), window)
    for index in range(7):
        x = torch.arange(index + 1.0) ** 2
        same(ours(x), expected(x))
        same(ours.compute(), expected.compute())
        same(ours.compute(), theirs(x) * 0 + theirs.compute())
    other, like = ours.clone(), expected.clone()
    for x in (3.0, 4.0):
        other.update(x)
        like.update(x)
    ours.merge_state(other)
    expected.merge_state(like)
    same(ours.compute(), expected.compute())


BASES = {
    "table": lambda: ec.MulticlassConfusionMatrix(3),
    "formula": lambda: ec.MulticlassAccuracy(3) * 2 + ec.MulticlassRecall(3),
    "classwise": lambda: ew.ClasswiseWrapper(ec.MulticlassF1Score(3, average=None)),
    "extremes": lambda: ew.MinMaxMetric(ec.MulticlassAccuracy(3)),
}


@pytest.mark.parametrize("base", BASES)
def test_running_is_the_metric_of_the_latest_updates(base):
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(n, 3, generator=generator), torch.randint(3, (n,), generator=generator)) for n in (4, 1, 6, 2, 5)]
    running = ew.Running(BASES[base](), window=3)
    for index, batch in enumerate(batches):
        same(running(*batch), BASES[base]().of(*batch))
        latest = BASES[base]()
        for recent in batches[max(0, index - 2) : index + 1]:
            latest.update(*recent)
        if base == "extremes":  # those of each update's own value: the metric inside begins with each
            same(running.compute()["raw"], latest.compute()["raw"])
        else:
            same(running.compute(), latest.compute())
        assert running.base_metric.update_count == 0
    assert len(running.metric_state[next(iter(running.metric_state))]) == 3
    same(pickle.loads(pickle.dumps(running)).compute(), running.compute())


def test_running_keeps_faults_and_double():
    running = ew.Running(epochal.MeanSquaredError(), window=2)
    running.update(torch.tensor([1.0], dtype=torch.float64), torch.tensor([1 / 3], dtype=torch.float64))
    assert running.compute().dtype == torch.float64
    assert running.compute().item() == pytest.approx(4 / 9, rel=1e-15)
    refused(lambda: ew.Running(3), TypeError, "Running", ("base_metric is 3",))
    refused(lambda: ew.Running(epochal.MetricCollection([epochal.MeanMetric()])), TypeError, "Running", ("a MetricCollection",))


# --- outputs -----------------------------------------------------------------------------------------------------------------

NAN = torch.nan
PREDS, TARGET = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, NAN]]), torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])


@pytest.mark.parametrize("arguments", [{}, {"remove_nans": False}, {"squeeze_outputs": False}])
def test_outputs_as_torchmetrics_has_them(arguments):
    ours = ew.MultioutputWrapper(epochal.MeanSquaredError(), 2, **arguments)
    theirs = tw.MultioutputWrapper(torchmetrics.MeanSquaredError(), 2, **arguments)
    for target in (TARGET, TARGET + 1):
        same(ours(PREDS, target), theirs(PREDS, target))
    same(ours.compute(), theirs.compute())


def test_outputs_in_any_dimension_with_nan_by_sample():
    rows = ew.MultioutputWrapper(epochal.MeanSquaredError(), 2, output_dim=0)
    same(rows(PREDS.T, TARGET.T), torch.tensor([5 / 3, 2.5]))
    deep = torch.zeros(4, 2, 3)
    deep[1, 0, 2] = NAN  # sample 1 of output 0
    deep[3] = 1
    middle = ew.MultioutputWrapper(epochal.MeanSquaredError(), 2, output_dim=1)
    same(middle(deep, torch.zeros_like(deep)), torch.tensor([1 / 3, 1 / 4]))
    same(middle(preds=deep, target=torch.zeros_like(deep)), torch.tensor([1 / 3, 1 / 4]))
    kept = ew.MultioutputWrapper(epochal.CatMetric(), 2, output_dim=1, squeeze_outputs=False)
    assert kept(torch.ones(4, 2, 3)).shape == (2, 4, 1, 3)


def test_outputs_of_any_form():
    table = ew.MultioutputWrapper(ec.BinaryConfusionMatrix(), 2)
    labels = torch.tensor([[0, 1], [1, 1], [1, 0]])
    same(table(labels, labels), torch.tensor([[[1, 0], [0, 2]], [[1, 0], [0, 2]]]))
    rows = ew.MultioutputWrapper(epochal.CatMetric(), 2)
    same(rows(torch.tensor([[1.0, NAN], [2.0, 3.0]])), [torch.tensor([1.0, 2.0]), torch.tensor([3.0])])
    several = ew.MultioutputWrapper(epochal.MetricCollection([epochal.SumMetric(), epochal.MaxMetric()]), 2)
    same(several(TARGET), {"SumMetric": torch.tensor([6.0, 6.0]), "MaxMetric": torch.tensor([3.0, 3.0])})
    weighted = ew.MultioutputWrapper(epochal.MeanMetric(), 2)
    same(weighted(TARGET, 2.0), torch.tensor([2.0, 2.0]))
    refused(
        lambda: weighted.update(torch.ones(3, 3)), ValueError, "MultioutputWrapper", ("shape (3, 3)", "2 outputs in dimension -1")
    )
    refused(lambda: weighted.update(TARGET, torch.ones(3)), ValueError, "MultioutputWrapper", ("argument 2 has shape (3,)",))
    refused(lambda: weighted.update(2.0), TypeError, "MultioutputWrapper", ("argument 1 is a float",))
    assert weighted.update_count == 1


# --- tasks -------------------------------------------------------------------------------------------------------------------


def tasks(room, prefix=None, postfix=None):
    library = epochal if room is ew else torchmetrics
    regression = library.MetricCollection([library.MeanSquaredError()], prefix="x_")
    binary = ec.BinaryAccuracy() if room is ew else tc.BinaryAccuracy()
    return room.MultitaskWrapper({"Reg": regression, "Cls": binary}, prefix, postfix)


GIVEN = (
    {"Cls": torch.tensor([0, 1, 1]), "Reg": torch.tensor([1.0, 2.0, 3.0]), "more": 1},
    {"Cls": torch.tensor([0, 1, 0]), "Reg": torch.tensor([1.0, 2.0, 5.0])},
)


@pytest.mark.parametrize(("prefix", "postfix"), list(itertools.product([None, "a_"], [None, "_b"])))
def test_tasks_as_torchmetrics_has_them(prefix, postfix):
    ours, theirs = tasks(ew, prefix, postfix), tasks(tw, prefix, postfix)
    same(ours(*GIVEN), theirs(*GIVEN))
    same(ours.compute(), theirs.compute())
    for flatten in (True, False):
        assert list(ours.keys(flatten)) == list(theirs.keys(flatten))
        assert [key for key, _ in ours.items(flatten)] == list(theirs.keys(flatten))
        assert len(list(ours.values(flatten))) == len(list(theirs.values(flatten)))
    for arguments in ({"prefix": "new_"}, {"postfix": "_new"}):  # the other stays, where torchmetrics drops it
        named = {"prefix": prefix, "postfix": postfix, **arguments}
        same(ours.clone(**arguments).compute(), theirs.clone(**named).compute())
    assert ours.task_metrics["Cls"].update_count == 1


def test_tasks_that_are_missing_or_misnamed():
    metric = tasks(ew)
    refused(lambda: metric({"Cls": 1}, GIVEN[1]), ValueError, "MultitaskWrapper", ("task_preds has ['Cls']", "['Reg']"))
    refused(lambda: metric.update(GIVEN[0], 3), TypeError, "MultitaskWrapper", ("task_targets is a int",))
    bad = ({**GIVEN[0], "Cls": torch.ones(2, dtype=torch.long)}, GIVEN[1])  # the last of them
    refused(lambda: metric.update(*bad), ValueError, "BinaryAccuracy")
    assert metric.task_metrics["Reg"]["MeanSquaredError"].update_count == 0
    for given in ([1], {"a": 1}, {}, {"a.b": epochal.MeanMetric()}, {"keys": epochal.MeanMetric()}):
        with pytest.raises((TypeError, ValueError), match=r"MultitaskWrapper: .+, but .+"):
            ew.MultitaskWrapper(given)
    refused(lambda: tasks(ew, prefix=3), TypeError, "MultitaskWrapper", ("prefix is 3",))


# --- steps -------------------------------------------------------------------------------------------------------------------


def test_the_best_step():
    ours, theirs = ew.MetricTracker(ec.BinaryAccuracy()), tw.MetricTracker(tc.BinaryAccuracy())
    for target in ([0, 0, 1], [0, 1, 1], [1, 1, 1]):
        for tracker in (ours, theirs):
            tracker.increment()
            tracker.update(torch.tensor([0, 1, 1]), torch.tensor(target))
    same(ours.compute_all(), theirs.compute_all())
    assert ours.best_metric(return_step=True) == theirs.best_metric(return_step=True) == (1.0, 1)
    assert ours.best_metric() == 1.0
    assert (ours.n_steps, ours.maximize) == (3, True)
    same(ours.compute(), theirs.compute())
    ours.reset()
    with pytest.warns(UserWarning, match="compute was called before update"):
        assert ours.compute_all().tolist() == [pytest.approx(2 / 3), 1.0, 0.0]
    ours.reset_all()
    assert [step.update_count for step in ours.steps] == [0, 0, 0]


def test_steps_of_a_collection():
    class Up(epochal.MaxMetric):
        higher_is_better = True

    tracker = ew.MetricTracker(epochal.MetricCollection({"a": Up(), "b": epochal.MeanSquaredError()}))
    assert tracker.maximize == [True, False]
    assert ew.MetricTracker(epochal.MetricCollection([Up()]), maximize=False).maximize is False
    tracker = ew.MetricTracker(epochal.MetricCollection([Up(), epochal.MinMetric()], prefix="v_"), maximize=[True, False])
    for x in (1.0, 3.0, -2.0):
        tracker.increment()
        same(tracker(x), {"v_Up": torch.tensor(x), "v_MinMetric": torch.tensor(x)})
    same(tracker.compute_all(), {"v_Up": torch.tensor([1.0, 3, -2]), "v_MinMetric": torch.tensor([1.0, 3, -2])})
    assert tracker.best_metric(return_step=True) == ({"v_Up": 3.0, "v_MinMetric": -2.0}, {"v_Up": 1, "v_MinMetric": 2})


def test_steps_of_other_forms():
    tracker = ew.MetricTracker(ew.MinMaxMetric(epochal.MeanMetric()), maximize=True)
    for values in ((1.0,), (4.0, 0.0)):
        tracker.increment()
        for value in values:
            tracker.update(value)
    assert tracker.best_metric(return_step=True) == ({"raw": 2.0, "max": 4.0, "min": 2.0}, {"raw": 1, "max": 1, "min": 1})
    matrix = ew.MetricTracker(ec.MulticlassConfusionMatrix(2), maximize=True)
    matrix.increment()
    matrix.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert matrix.compute_all().shape == (1, 2, 2)
    with pytest.warns(UserWarning, match="is no number in any step"):
        assert matrix.best_metric(return_step=True) == (None, None)
    gaps = ew.MetricTracker(epochal.MeanMetric(), maximize=False)
    for values in ([], [2.0], [1.0]):
        gaps.increment()
        gaps.update(torch.tensor(values))
    assert gaps.best_metric(return_step=True) == (1.0, 2)
    assert math.isnan(gaps.compute_all()[0])


def test_what_a_tracker_needs_to_know():
    for verb in ("update", "compute", "compute_all", "best_metric"):
        refused(getattr(ew.MetricTracker(ec.BinaryAccuracy()), verb), ValueError, "MetricTracker", ("Call increment() first",))
    refused(
        lambda: ew.MetricTracker(epochal.MeanMetric()), ValueError, "MetricTracker", ("MeanMetric does not say", "maximize=True")
    )
    refused(lambda: ew.MetricTracker(3), TypeError, "MetricTracker", ("metric is 3",))
    several = epochal.MetricCollection([epochal.MeanMetric(), epochal.SumMetric()])
    refused(lambda: ew.MetricTracker(several, [True]), ValueError, "MetricTracker", ("1 entries", "2 members"))
    for bad in ("max", [True, 1]):
        refused(lambda bad=bad: ew.MetricTracker(several, bad), TypeError, "MetricTracker", ("maximize is",))
    refused(lambda: ew.MetricTracker(epochal.MeanMetric(), [True]), TypeError, "MetricTracker", ("a bool is needed",))


def test_steps_go_through_a_checkpoint_and_merge():
    def tracked(*steps):
        tracker = ew.MetricTracker(epochal.SumMetric(), maximize=True)
        for values in steps:
            tracker.increment()
            tracker.update(torch.tensor(values))
        tracker.persistent(True)
        return tracker

    loaded = ew.MetricTracker(epochal.SumMetric(), maximize=True)
    loaded.persistent(True)
    loaded.load_state_dict(tracked([1.0], [2.0, 3.0]).state_dict())
    assert loaded.compute_all().tolist() == [1.0, 5.0]
    loaded.merge_state(tracked([10.0], [20.0]))
    assert loaded.compute_all().tolist() == [11.0, 25.0]
    refused(lambda: loaded.merge_state(tracked([1.0])), ValueError, "MetricTracker", ("of 1 steps", "of 2 steps"))


# --- changed inputs ----------------------------------------------------------------------------------------------------------


def double(x):
    return 2 * x


def test_inputs_pass_through_functions_by_place_or_by_name():
    preds, target = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])
    expected = epochal.MeanSquaredError().of(2 * preds, target)
    ours = ew.LambdaInputTransformer(epochal.MeanSquaredError(), double)
    same(ours(preds, target), tw.LambdaInputTransformer(torchmetrics.MeanSquaredError(), double)(preds, target))
    for metric in (ours, ew.LambdaInputTransformer(ew.MetricInputTransformer(epochal.MeanSquaredError()), double)):
        same(metric(preds, target=target), expected)
        same(metric(target=target, preds=preds), expected)
    same(ew.LambdaInputTransformer(epochal.SumMetric(), double)(value=preds), torch.tensor(6.0))
    both = epochal.MetricCollection([epochal.MeanSquaredError(), ec.BinaryAccuracy()])
    same(
        ew.LambdaInputTransformer(both, None, double)(preds=preds / 2, target=(target / 2).long())["BinaryAccuracy"],
        torch.tensor(0.5),
    )
    for bad in ({"transform_pred": 3}, {"transform_target": "x"}):
        name = next(iter(bad))
        refused(lambda bad=bad: ew.LambdaInputTransformer(epochal.SumMetric(), **bad), TypeError, "LambdaInputTransformer", (name,))
    refused(lambda: ew.MetricInputTransformer(3), TypeError, "MetricInputTransformer", ("wrapped_metric is 3",))


@pytest.mark.parametrize(("threshold", "target"), [(0.5, [0.4, 0.5, 0.6]), (0, [-1, 0, 2])])
def test_binary_targets(threshold, target):
    preds, target = torch.zeros(3), torch.tensor(target)
    ours = ew.BinaryTargetTransformer(epochal.MeanSquaredError(), threshold)
    theirs = tw.BinaryTargetTransformer(torchmetrics.MeanSquaredError(), threshold)
    same(ours(preds, target), theirs(preds, target))
    refused(
        lambda: ew.BinaryTargetTransformer(epochal.SumMetric(), "a"), TypeError, "BinaryTargetTransformer", ("threshold is 'a'",)
    )
    refused(lambda: ours.update(preds, [1, 0, 0]), TypeError, "BinaryTargetTransformer", ("target is a list",))


# --- together ----------------------------------------------------------------------------------------------------------------


def test_formulas_of_wrappers():
    outputs = 1 - ew.MultioutputWrapper(epochal.MeanSquaredError(), 2) / 2
    value = outputs(PREDS.nan_to_num(), TARGET)
    same(value, 1 - ((PREDS.nan_to_num() - TARGET) ** 2).mean(0) / 2)
    same(outputs.compute(), value)
    low = ew.MinMaxMetric(epochal.MeanMetric())["min"]
    low.update(1.0)
    low.update(3.0)
    same(low.compute(), torch.tensor(1.0))


def test_wrappers_in_a_collection_with_keywords():
    members = {
        "classes": ew.ClasswiseWrapper(ec.MulticlassRecall(3, average=None), prefix="recall_"),
        "running": ew.Running(ec.MulticlassAccuracy(3), window=2),
    }
    collection = epochal.MetricCollection(members, prefix="v_")
    assert set(collection(SCORES[0], target=SCORES[1])) == {"v_recall_0", "v_recall_1", "v_recall_2", "v_running"}
    weighted = epochal.MetricCollection(
        {
            "mean": epochal.MeanMetric(),
            "sum": ew.LambdaInputTransformer(epochal.SumMetric(), double),
            "low": ew.Running(epochal.MinMetric()),
        }
    )
    same(weighted(torch.tensor([1.0, 3.0]), weight=torch.tensor([1.0, 0.0]))["sum"], torch.tensor(8.0))
    refused(lambda: weighted.update(torch.ones(2), wieght=1.0), TypeError, "MetricCollection", ("Did you mean 'weight'?",))
    inner = epochal.MetricCollection(
        [epochal.MetricCollection({"x": ew.MinMaxMetric(weighted["mean"].clone())}), epochal.SumMetric()]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(inner(2.0)) == {"raw", "max", "min", "SumMetric"}


def test_options_reach_the_metrics_inside():
    inner = epochal.MeanMetric()
    wrapper = ew.MinMaxMetric(inner, sync_on_compute=False)
    assert (wrapper.sync_on_compute, inner.sync_on_compute, inner.compute_with_cache) == (False, False, True)
    refused(lambda: ew.MinMaxMetric(inner, sync_on_comptue=False), TypeError, "MinMaxMetric", ("Did you mean 'sync_on_compute'?",))


def test_what_is_copied_keeps_its_data_to_itself():
    mean = epochal.MeanMetric()
    mean.update(5.0)
    ew.Running(mean).update(1.0)
    tracker = ew.MetricTracker(mean, maximize=True)
    tracker.increment()
    tracker.update(1.0)
    same([mean.compute(), tracker.compute()], [torch.tensor(5.0), torch.tensor(1.0)])
    assert set(ew.MetricTracker(mean, maximize=True).keywords()) == {"value", "weight"}
