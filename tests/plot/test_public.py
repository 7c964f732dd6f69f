"""Every public metric draws its value, and several of them, into a figure."""

from __future__ import annotations

import inspect

import pytest

from epochal.metric import Metric
from tests.laws.examples import EXAMPLES

Figure = pytest.importorskip("matplotlib.figure").Figure


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_metric_has_a_picture(name):
    example = EXAMPLES[name][0]
    metric = example.make()
    for batch in example.batches():
        metric.update(*batch)
    figure = Figure()
    where = "axes" if "axes" in inspect.signature(metric.plot).parameters else "ax"  # of several tasks
    metric.plot(**{where: figure})
    first = figure.axes[0]
    assert first.has_data()
    title = figure.get_suptitle() or first.get_title()
    assert title
    if type(metric).plot is Metric.plot:
        assert title.replace("\n", " ") == (metric.plot_title or type(metric).__name__)
        steps, _ = metric.plot([metric.compute()] * 2, Figure())
        assert steps.axes[0].get_xlabel() == "Step"
