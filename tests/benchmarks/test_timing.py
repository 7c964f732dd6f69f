"""The benchmarks say what they measured: ratios, limits, and an exit code that a missed one changes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning")

from benchmarks.timing import Row, compare

from benchmarks import __main__ as command
from benchmarks import aggregation, collection, csv_rows, metrics, timing, training


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 1.0, 4.0, required=4.0), True),
        (Row("a", 1.0, 3.9, required=4.0), False),
        (Row("a", 0.0, 1.0, required=4.0), True),
        (Row("a", 4, 70, limit=4), True),
        (Row("a", 5, 70, limit=4), False),
        (Row("a", 5, 70, required=2.0, limit=4), False),
        (Row("a", 4, 5, required=2.0, limit=4), False),
        (Row("a", 5, 5), True),
    ],
)
def test_a_row_is_met_where_ratio_and_limit_are(row, met):
    assert row.met is met
    assert str(row).endswith("MISSED") is not met


def test_units():
    assert "12.5" in str(Row("a", 12.5e-6, 25e-6, required=1.0))
    assert "2.00  1 times" in str(Row("a", 12.5e-6, 25e-6, required=1.0))
    assert "2        69 calls" in str(Row("a", 2, 69, limit=4, unit="calls"))
    assert "0.250     3.000 steps" in str(Row("a", 0.25, 3.0, limit=0.5, unit="steps"))


def test_functions_are_called_in_turns(monkeypatch):
    brief(monkeypatch)
    called = []
    best = compare([lambda: called.append(0), lambda: called.append(1)])
    assert called == [0, 1] * timing.WARM + ([0] * timing.CALLS + [1] * timing.CALLS) * timing.TURNS
    assert all(0 < seconds < float("inf") for seconds in best)


def brief(monkeypatch):
    for name, value in (("WARM", 1), ("CALLS", 2), ("TURNS", 2), ("SECONDS", 0.0)):
        monkeypatch.setattr(timing, name, value)


@pytest.mark.parametrize("module", [aggregation, collection, metrics], ids=lambda module: module.__name__)
def test_every_row_can_be_measured(monkeypatch, module):
    brief(monkeypatch)
    rows = list(module.rows())
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.ours > 0 and row.peer > 0 and row.needed for row in rows)


def test_required_of_the_single_metrics():
    required = {(name, variant): forward for name, variant, _, forward in metrics.METRICS}
    assert required["MulticlassF1Score", ""] == 4.0
    assert required["MeanSquaredError", ""] == 3.0


@pytest.mark.filterwarnings("ignore")
def test_training_is_measured_in_bare_steps(monkeypatch):
    for name, value in (("STEPS", 7), ("WINDOW", 3), ("ROUNDS", 1), ("SECONDS", 0.0)):
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(training, "WAYS", {name: training.WAYS[name] for name in ("", "one", "ten", "CSV", "rich")})
    rows = training.rows()
    assert all(row.unit == "steps" for row in rows)
    assert [(row.limit, row.required) for row in rows] == [(0.5, None), (0.3, None), (None, 5.0), (None, 5.0)]


@pytest.mark.filterwarnings("ignore")
def test_rows_of_a_csv_file_are_measured(monkeypatch):
    for name, value in (("ROWS", 200), ("PEER_ROWS", 200), ("BLOCKS", 20)):
        monkeypatch.setattr(csv_rows, name, value)
    growth, cost = csv_rows.rows()
    assert (growth.limit, cost.required) == (1.25, 2.0)
    assert growth.ours > 0
    assert growth.peer > 0
    assert csv_rows.growth([1.0] * 10 + [3.0] * 10) == 3.0


def test_the_least_window_of_steps(monkeypatch):
    monkeypatch.setattr(training, "WINDOW", 2)
    assert training.least([0.0, 1.0, 10.0, 11.0, 14.0, 20.0, 21.0]) == pytest.approx(2.0)


class Fake:
    def __init__(self, *rows):
        self.made = rows

    def rows(self):
        return self.made


@pytest.mark.parametrize(("ours", "code"), [(1.0, 0), (3.0, 1)])
def test_a_missed_row_fails_the_command(monkeypatch, capsys, ours, code):
    fakes = {"benchmarks.sync": Fake(Row("first", 1.0, 9.0, required=2.0), Row("second", ours, 4.0, required=2.0))}
    monkeypatch.setattr(command.importlib, "import_module", fakes.__getitem__)
    assert command.main(["sync"]) == code
    printed = capsys.readouterr().out
    assert ("sync: second" in printed) is bool(code)
    assert "sync: first" not in printed


def test_an_unknown_name_is_refused():
    with pytest.raises(SystemExit, match=r"there is no speed, but one of aggregation, .*training is needed"):
        command.main(["speed"])


def test_all_modules_run_without_names():
    files = {path.stem for path in Path(command.__file__).parent.glob("*.py")}
    assert command.modules([]) == sorted(files - {"__init__", "__main__", "timing"})


def test_what_takes_long_is_called_less(monkeypatch):
    brief(monkeypatch)
    monkeypatch.setattr(timing, "SLOW", 0.0)
    called = []
    compare([lambda: called.append(0)])
    assert called == [0] * (1 + timing.LEAST)
