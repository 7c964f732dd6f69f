"""Pictures, by what matplotlib holds afterwards: labels, data, texts, legends; never pixels."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import epochal
from epochal.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassStatScores,
    MultilabelConfusionMatrix,
)
from epochal.metric import Metric
from epochal.plot import curve, plot_value

pyplot = pytest.importorskip("matplotlib.pyplot")
Figure = pytest.importorskip("matplotlib.figure").Figure

LABELS, PREDS = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([0, 1, 2, 1, 1, 0])


@pytest.fixture(autouse=True)
def agg():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def updated(metric):
    metric.update(PREDS, LABELS)
    return metric


def lines(ax) -> dict[str, list[float]]:
    """The data by label, without the bounds."""
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines if line.get_linestyle() != "--"}


def heights(ax) -> list[float]:
    return [bar.get_height() for bar in ax.patches]


def texts(items) -> list[str]:
    return [item.get_text() for item in items]


def ticks(axis) -> list[str]:
    return texts(axis.get_ticklabels())


def legend(ax) -> list[str]:
    return texts(ax.get_legend().get_texts())


# --- values --------------------------------------------------------------------------------------------------------------


def test_a_number_is_a_point_with_its_value():
    metric = updated(MulticlassAccuracy(3))
    figure, ax = metric.plot()
    assert list(lines(ax).values()) == [[metric.compute().item()]]
    assert f"{metric.compute().item():.4g}" in texts(ax.texts)
    assert ax.get_title() == "MulticlassAccuracy"
    assert figure is ax.figure
    assert ax.get_legend() is None
    assert ax.get_ylabel() == "higher is better"


def test_a_given_value_is_drawn_and_no_other():
    metric = updated(MulticlassAccuracy(3))
    assert list(lines(metric.plot(torch.tensor(0.25))[1]).values()) == [[0.25]]
    assert list(lines(metric.plot(0.5)[1]).values()) == [[0.5]]


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(0.5, dtype=torch.float16),
        torch.tensor(0.5, dtype=torch.bfloat16),
        torch.tensor(0.5, requires_grad=True),
        np.float32(0.5),
    ],
)
def test_every_kind_of_number(value):
    assert list(lines(plot_value(value)[1]).values()) == [[0.5]]


def test_a_value_for_each_class_is_bars():
    metric = updated(MulticlassF1Score(3, average="none"))
    _, ax = metric.plot()
    assert heights(ax) == pytest.approx(metric.compute().tolist())
    assert ticks(ax.xaxis) == ["0", "1", "2"]
    assert ax.get_xlabel() == "Class"


def test_the_names_of_classes_come_with_the_call_or_with_the_metric():
    metric = updated(MulticlassF1Score(3, average="none"))
    names = ["ant", "bee", "cat"]
    assert ticks(metric.plot(labels=names)[1].xaxis) == names
    metric.plot_labels = names
    assert ticks(metric.plot()[1].xaxis) == names
    assert legend(metric.plot([metric.compute()])[1]) == names
    with pytest.raises(ValueError, match="MulticlassF1Score: labels has 2 names, but there are 3 entries"):
        metric.plot(labels=names[:2])


def test_many_values_are_a_line_without_a_tick_for_each():
    _, ax = epochal.CatMetric().plot(torch.arange(500.0))
    assert list(lines(ax).values()) == [list(range(500))]
    assert not ax.patches
    assert len(ax.get_xticks()) < 20


def test_the_counts_have_their_names():
    _, ax = updated(MulticlassStatScores(3, average="micro")).plot()
    assert ticks(ax.xaxis) == ["tp", "fp", "tn", "fn", "support"]
    _, ax = updated(MulticlassStatScores(3, average=None)).plot()
    assert ticks(ax.xaxis) == ["tp", "fp", "tn", "fn", "support"]
    assert ax.get_ylabel() == "Class"


def test_a_dictionary_is_named_bars():
    _, ax = plot_value({"a": torch.tensor(1.0), "b": {"c": 2, "d": torch.tensor([3.0, 4.0])}})
    assert heights(ax) == [1, 2, 3, 4]
    assert ticks(ax.xaxis) == ["a", "b c", "b d Index 0", "b d Index 1"]


def test_parts_of_a_tuple_have_their_names():
    class Pair(NamedTuple):
        slope: Tensor
        offset: Tensor

    assert ticks(plot_value(Pair(torch.tensor(1.0), torch.tensor(2.0)))[1].xaxis) == ["slope", "offset"]
    assert ticks(plot_value((torch.tensor(1.0), torch.tensor(2.0)))[1].xaxis) == ["[0]", "[1]"]


def test_vectors_of_one_length_stand_side_by_side():
    _, ax = plot_value({"precision": torch.tensor([0.1, 0.2]), "recall": torch.tensor([0.3, 0.4])})
    assert heights(ax) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert legend(ax) == ["precision", "recall"]
    assert ticks(ax.xaxis) == ["0", "1"]


def test_a_mean_and_its_std_are_an_error_bar():
    value = {"mean": torch.tensor(0.5), "std": torch.tensor(0.125), "raw": torch.tensor([0.25, 0.75])}
    _, ax = plot_value(value)
    assert [0.5] in lines(ax).values()
    assert lines(ax)["raw"] == [0.25, 0.75]
    (bar,) = ax.collections
    assert bar.get_segments()[0][:, 1].tolist() == [0.375, 0.625]
    _, ax = plot_value([value, value])
    assert [0.5, 0.5] in lines(ax).values()
    assert len(ax.collections[0].get_segments()) == 2


def test_formulas_have_their_metrics_in_the_title():
    formula = updated(2 * MulticlassPrecision(3) + 1)
    _, ax = formula.plot()
    assert list(lines(ax).values()) == [[formula.compute().item()]]
    assert ax.get_title() == "add(mul(2, MulticlassPrecision), 1)"


def test_wrappers_look_like_the_metric_in_them():
    wrapped = epochal.wrappers.ClasswiseWrapper(MulticlassAccuracy(3, average=None), labels=["a", "b", "c"])
    wrapped.update(PREDS, LABELS)
    _, ax = wrapped.plot()
    assert ticks(ax.xaxis) == list(wrapped.compute())
    assert heights(ax) == pytest.approx([v.item() for v in wrapped.compute().values()])
    assert "optimal value" in texts(ax.texts)


def test_wrappers_that_change_the_input_draw_as_the_metric_does():
    wrapped = epochal.wrappers.MetricInputTransformer(MulticlassConfusionMatrix(3))
    wrapped.update(PREDS, LABELS)
    _, ax = wrapped.plot(labels=["ant", "bee", "cat"])
    assert ticks(ax.yaxis) == ["ant", "bee", "cat"]
    assert ax.get_ylabel() == "True"


def test_a_bootstrap_has_error_bars_and_the_looks_of_its_metric():
    metric = epochal.wrappers.BootStrapper(MulticlassAccuracy(3, average=None), num_bootstraps=5)
    metric.update(PREDS, LABELS)
    _, ax = metric.plot()
    assert ax.collections
    assert ax.get_title() == "BootStrapper(MulticlassAccuracy)"
    assert ax.get_xlabel() == "Class"


@pytest.mark.parametrize("metric", [MulticlassAccuracy(3), epochal.MetricCollection({"a": MulticlassAccuracy(3)})])
def test_a_tracker_is_its_steps(metric):
    tracker = epochal.wrappers.MetricTracker(metric)
    for preds in (PREDS, LABELS):
        tracker.increment()
        tracker.update(preds, LABELS)
    of_all = tracker.compute_all()
    numbers = of_all.tolist() if isinstance(of_all, Tensor) else of_all["a"].tolist()
    for _, ax in (tracker.plot(), tracker.plot(of_all)):
        assert list(lines(ax).values()) == [numbers]
        assert ax.get_xlabel() == "Step"


def test_a_picture_for_each_task():
    tasks = {"a": MulticlassConfusionMatrix(3), "b": epochal.MetricCollection([MulticlassAccuracy(3)])}
    metric = epochal.wrappers.MultitaskWrapper(tasks, prefix="val_")
    metric.update({"a": PREDS, "b": PREDS}, {"a": LABELS, "b": LABELS})
    for drawn in (metric.plot(), metric.plot(metric.compute(), axes=Figure())):
        (_, matrix), [(_, accuracy)] = drawn
        assert matrix.images[0].get_array().tolist() == metric.compute()["val_a"].tolist()
        assert (matrix.get_title(), accuracy.get_title()) == ("val_a", "MulticlassAccuracy")
    apart = epochal.wrappers.MultitaskWrapper({"a": MulticlassAccuracy(3)})
    ((_, ax),) = apart.plot([{"a": torch.tensor(0.5)}, {"a": torch.tensor(0.25)}])
    assert list(lines(ax).values()) == [[0.5, 0.25]]


# --- steps ---------------------------------------------------------------------------------------------------------------


def test_a_list_is_steps():
    metric = MulticlassAccuracy(3)
    _, ax = metric.plot([torch.tensor(0.5), torch.tensor(0.25), 1.0])
    assert list(lines(ax).values()) == [[0.5, 0.25, 1.0]]
    assert ax.get_xlabel() == "Step"
    assert ax.get_legend() is None


def test_steps_of_vectors_are_a_line_for_each_entry():
    _, ax = MulticlassAccuracy(3, average=None).plot([torch.tensor([0.5, 0.25]), torch.tensor([0.75, 0.5])])
    assert lines(ax) == {"Class 0": [0.5, 0.75], "Class 1": [0.25, 0.5]}
    assert legend(ax) == ["Class 0", "Class 1"]


def test_what_a_step_lacks_is_a_gap():
    _, ax = plot_value([{"a": 1.0}, {"a": 2.0, "b": 3.0}])
    assert lines(ax)["a"] == [1, 2]
    assert np.isnan(lines(ax)["b"][0])
    assert lines(ax)["b"][1] == 3


# --- bounds --------------------------------------------------------------------------------------------------------------


def bounds(ax) -> list[float]:
    return [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]


def test_bounds_are_dashed_and_the_optimum_is_named():
    _, ax = MulticlassAccuracy(3).plot(0.5)
    assert bounds(ax) == [0, 1]
    (optimum,) = [text for text in ax.texts if text.get_text() == "optimal value"]
    assert optimum.xy[1] == 1
    _, ax = epochal.MeanSquaredError().plot(0.5)
    assert bounds(ax) == [0]
    assert ax.get_ylabel() == "lower is better"
    (optimum,) = [text for text in ax.texts if text.get_text() == "optimal value"]
    assert optimum.xy[1] == 0
    assert bounds(epochal.SumMetric().plot(0.5)[1]) == []


def test_there_is_room_for_the_name_of_the_optimum():
    _, ax = MulticlassAccuracy(3).plot([0.2, 0.94])
    assert ax.get_ylim()[1] >= 1.05


def test_bounds_of_a_class_written_for_torchmetrics():
    class Mine(Metric):
        plot_lower_bound, plot_upper_bound, plot_legend_name = -2.0, 2.0, "Part"

        def compute(self):
            return torch.tensor([0.5, 1.0])

        def plot(self, val=None, ax=None):
            return self._plot(val, ax)

    _, ax = Mine().plot(torch.tensor([0.5, 1.0]))
    assert bounds(ax) == [-2, 2]
    assert ax.get_xlabel() == "Part"


# --- matrices ------------------------------------------------------------------------------------------------------------


def test_a_confusion_matrix_has_its_counts_and_labels():
    metric = updated(MulticlassConfusionMatrix(3))
    _, ax = metric.plot(None, None, True, ["ant", "bee", "cat"], "Greens")
    assert ax.images[0].get_array().tolist() == metric.compute().tolist()
    assert ax.images[0].get_cmap().name == "Greens"
    assert texts(ax.texts) == [str(count) for count in metric.compute().flatten().tolist()]
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == ["ant", "bee", "cat"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("Predicted", "True", "MulticlassConfusionMatrix")
    assert not metric.plot(add_text=False)[1].texts
    with pytest.raises(ValueError, match="labels has 2 names"):
        metric.plot(labels=["ant", "bee"])


def test_numbers_are_light_on_dark_cells_and_dark_on_light_ones():
    _, ax = MulticlassConfusionMatrix(2).plot(torch.tensor([[1.0, torch.nan], [0.5, 0.0]]))
    assert texts(ax.texts) == ["1.00", "nan", "0.50", "0.00"]
    assert [text.get_color() for text in ax.texts][::3] == ["w", "k"]
    assert ax.texts[1].get_color() == "k"


def test_numbers_for_which_there_is_no_room_give_way_to_a_scale():
    metric = MulticlassConfusionMatrix(100)
    figure, ax = metric.plot(torch.full((100, 100), 12345))
    assert not ax.texts
    assert len(figure.axes) == 2
    assert max(figure.get_size_inches()) < 20


def test_a_matrix_for_each_label():
    metric = MultilabelConfusionMatrix(3)
    metric.update(torch.tensor([[1, 0, 1], [0, 0, 1]]), torch.tensor([[1, 1, 0], [0, 1, 1]]))
    figure, axes = metric.plot()
    assert [ax.images[0].get_array().tolist() for ax in axes] == metric.compute().tolist()
    assert [ax.get_title() for ax in axes] == ["Label 0", "Label 1", "Label 2"]
    assert figure.get_suptitle() == "MultilabelConfusionMatrix"
    assert len(figure.axes) == 3
    assert [ax.get_title() for ax in metric.plot(labels=["x", "y", "z"])[1]] == ["x", "y", "z"]
    _, mine = pyplot.subplots(1, 3)
    assert list(metric.plot(ax=mine)[1]) == list(mine)
    with pytest.raises(ValueError, match="ax has 1 axes, but there are 3 pictures"):
        metric.plot(ax=mine[0])


# --- curves --------------------------------------------------------------------------------------------------------------


class Curve(Metric):
    plot_legend_name = "Class"
    plot = curve(x=("Recall", 1), y=("Precision", 0))

    def compute(self):
        return FALLING, RISING, RISING


RISING, FALLING = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.5, 0.0])


@pytest.mark.filterwarnings("ignore:.*before update")
def test_a_curve_is_a_line():
    _, ax = Curve().plot()
    (line,) = ax.lines
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == (RISING.tolist(), FALLING.tolist())
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("Recall", "Precision", "Curve")
    assert ax.get_legend() is None
    assert legend(Curve().plot(score=True)[1]) == ["AUC=0.500"]
    assert legend(Curve().plot((FALLING, RISING, RISING), torch.tensor(0.75))[1]) == ["AUC=0.750"]


def test_curves_of_several_classes():
    square, lengths = FALLING**2, [RISING, RISING[:2]]
    _, ax = Curve().plot((torch.stack([FALLING, square]), torch.stack([RISING, RISING]), RISING), score=True)
    assert lines(ax) == {"Class 0 AUC=0.500": FALLING.tolist(), "Class 1 AUC=0.375": square.tolist()}
    assert legend(ax) == list(lines(ax))
    _, ax = Curve().plot((lengths, lengths, lengths), labels=["ant", "bee"])
    assert lines(ax) == {"ant": [0, 0.5, 1], "bee": [0, 0.5]}
    assert len({tuple(line.get_color()) for line in Curve().plot(([RISING] * 30,) * 3)[1].lines}) == 30
    with pytest.raises(ValueError, match="score has 1 values, but there are 2 curves"):
        Curve().plot((lengths, lengths, lengths), score=torch.tensor(1.0))
    with pytest.raises(ValueError, match="Curve: curve is a Tensor"):
        Curve().plot(RISING)


def test_an_area_counts_whichever_way_the_curve_runs():
    assert legend(Curve().plot((FALLING.flip(0), RISING.flip(0), RISING), True)[1]) == ["AUC=0.500"]


# --- collections ---------------------------------------------------------------------------------------------------------


def several():
    return updated(epochal.MetricCollection({"f1": MulticlassF1Score(3), "matrix": MulticlassConfusionMatrix(3)}, prefix="val_"))


def test_a_collection_is_a_picture_of_each_member():
    (first, f1), (second, matrix) = several().plot()
    assert (f1.get_title(), matrix.get_title()) == ("val_f1", "val_matrix")
    assert matrix.images[0].get_array().tolist() == several().compute()["val_matrix"].tolist()
    assert (matrix.get_xlabel(), bounds(f1)) == ("Predicted", [0, 1])
    assert first is not second


def test_a_collection_in_axes_or_in_parts_of_a_figure():
    metrics, (_, axes) = several(), pyplot.subplots(1, 2)
    assert [ax for _, ax in metrics.plot(ax=axes)] == list(axes)
    figure = Figure()
    assert [drawn for drawn, _ in metrics.plot(ax=figure)] == [figure, figure]
    assert [ax.get_title() for ax in figure.axes] == ["val_f1", "val_matrix"]
    with pytest.raises(ValueError, match="MetricCollection: ax has 1 axes, but there are 2 pictures"):
        metrics.plot(ax=axes[0])


def test_a_collections_given_values_and_steps():
    metrics = epochal.MetricCollection([MulticlassAccuracy(3), MulticlassF1Score(3)])
    steps = [metrics(PREDS, LABELS), metrics(LABELS, LABELS)]
    (_, ax), (_, other) = metrics.plot(steps[:1][0])
    assert list(lines(ax).values()) == [[steps[0]["MulticlassAccuracy"].item()]]
    (_, ax), (_, other) = metrics.plot(steps)
    assert list(lines(ax).values()) == [[step["MulticlassAccuracy"].item() for step in steps]]
    assert other.get_title() == "MulticlassF1Score"
    assert len(metrics.plot({"MulticlassF1Score": torch.tensor(0.5)})) == 1


def test_a_collection_together():
    metrics = updated(epochal.MetricCollection([MulticlassAccuracy(3), MulticlassF1Score(3)], prefix="val_"))
    figure, ax = metrics.plot(together=True)
    assert figure is ax.figure
    assert ticks(ax.xaxis) == ["val_MulticlassAccuracy", "val_MulticlassF1Score"]
    assert heights(ax) == pytest.approx([value.item() for value in metrics.compute().values()])
    assert bounds(ax) == [0, 1]
    _, ax = metrics.plot([metrics.compute()] * 2, together=True)
    assert legend(ax) == ["val_MulticlassAccuracy", "val_MulticlassF1Score"]
    metrics.add_metrics(epochal.MeanSquaredError())
    assert bounds(metrics.plot({"a": 0.5}, together=True)[1]) == [0]
    with pytest.raises(ValueError, match=r"result 'val_matrix' has a picture of its own, but together=True. Pass together=False"):
        several().plot(together=True)


def test_results_that_are_dictionaries_stay_with_their_member():
    wrapped = epochal.wrappers.ClasswiseWrapper(MulticlassAccuracy(3, average=None))
    metrics = updated(epochal.MetricCollection({"each": wrapped, "f1": MulticlassF1Score(3)}))
    for drawn in (metrics.plot(), metrics.plot(metrics.compute()), metrics.plot([metrics.compute()])):
        assert {ax.get_title() for _, ax in drawn} == {"each", "f1"}
    assert len(heights(metrics.plot(metrics.compute())[1][1])) == 3 or len(heights(metrics.plot()[0][1])) == 3


# --- edges ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(torch.nan),
        torch.tensor([torch.nan, 1.0]),
        torch.full((2, 2), torch.nan),
        torch.empty(0),
        torch.empty(0, 0),
        torch.tensor([torch.inf, 1.0]),
        torch.tensor(True),
        [],
        {},
        [torch.tensor(torch.nan)] * 3,
    ],
    ids=str,
)
def test_nothing_and_no_number_are_drawn_without_a_warning(value):
    figure, _ = MulticlassAccuracy(3).plot(value)
    figure.canvas.draw()


@pytest.mark.parametrize("value", [torch.zeros(2, 2, 2, 2), torch.tensor(1j), "text", {"a": None}, [torch.zeros(2, 2)]], ids=str)
def test_what_has_no_picture_is_refused(value):
    with pytest.raises(ValueError, match=r"MulticlassAccuracy: .*(scalar|vector)"):
        MulticlassAccuracy(3).plot(value)


def test_axes_that_came_are_drawn_into():
    _, mine = pyplot.subplots()
    assert MulticlassAccuracy(3).plot(0.5, mine)[1] is mine
    MulticlassF1Score(3).plot([0.5, 0.25], ax=mine)
    assert [0.5, 0.25] in lines(mine).values()


def test_as_compute_before_any_data():
    with pytest.warns(UserWarning, match="compute was called before update"):
        MulticlassAccuracy(3).plot()


def test_a_figure_of_ones_own_leaves_pyplot_out():
    """What a logger does each epoch: no figure stays open, no backend is chosen."""
    code = """
    import sys, torch, epochal
    from epochal.classification import *
    from matplotlib.figure import Figure
    metrics = epochal.MetricCollection([MulticlassAccuracy(3), MulticlassConfusionMatrix(3)])
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
    metrics.plot(ax=Figure())
    MulticlassF1Score(3).plot([torch.rand(12)], ax=Figure())
    print("matplotlib.pyplot" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match=r"epochal\[plot\]"):
        plot_value(torch.tensor(1.0))
