"""plot_value: what it draws, by what matplotlib holds afterwards."""

from __future__ import annotations

import sys

import pytest
import torch

from epochal.plot import plot_value

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _agg():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def test_a_scalar_is_a_point():
    figure, ax = plot_value(torch.tensor(0.5), name="F1")
    assert ax.lines[0].get_ydata() == [0.5]
    assert ax.get_title() == "F1"
    assert figure is ax.figure


def test_a_vector_is_bars():
    _, ax = plot_value(torch.tensor([0.5, 0.25]))
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.25]


def test_a_matrix_is_a_labelled_heat_map():
    _, given = pyplot.subplots()
    _, ax = plot_value(torch.tensor([[1, 2], [3, 4]]), ax=given)
    assert ax is given
    assert ax.images[0].get_array().tolist() == [[1, 2], [3, 4]]
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("value", [torch.zeros(2, 2, 2), (torch.zeros(2), torch.zeros(2))])
def test_other_shapes_are_refused(value):
    with pytest.raises(ValueError, match="scalar"):
        plot_value(value)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match=r"epochal\[plot\]"):
        plot_value(torch.tensor(1.0))
