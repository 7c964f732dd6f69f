"""Text metrics against jiwer, sacrebleu and rouge-score: on sentences that were made, and on real translations."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import jiwer
import pytest
import torch

from epochal import MetricCollection
from epochal import functional as ef
from epochal import text as et
from tests.laws.rows.text import texts

REAL = Path(os.environ.get("EPOCHAL_TEST_DATA", "nowhere")) / "text"


@functools.cache
def translations(count: int = 300) -> tuple[list[str], list[str]]:
    """Hypotheses of a machine and references, from the middle of a news test set."""
    if not REAL.is_dir():
        pytest.skip("EPOCHAL_TEST_DATA names no folder with text")
    lines = [(REAL / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("hypotheses", "references")]
    return lines[0][500 : 500 + count], lines[1][500 : 500 + count]


def made() -> tuple[list[str], list[str]]:
    batches = texts()()
    return [t for preds, _ in batches for t in preds], [t for _, target in batches for t in target]


DATA = {
    "made": made,
    "real": translations,
    "the same": lambda: (made()[1], made()[1]),
    "nothing right": lambda: (["x y"] * 3, ["a b c", "a", "a b"]),
    "silence": lambda: (["", "a"], ["", "a"]),
    "only silence": lambda: ([""], [""]),
    "preds empty": lambda: (["", ""], ["a b", "c"]),
    "more white space": lambda: (["  a   b ", "c  d"], ["a b", "  c e"]),
    "two ways": lambda: (["a b"], ["b a c"]),  # alignments of one distance and other hits
}


def computed(metric, preds, target, *sizes):
    """Over batches of these sizes."""
    start = 0
    for size in (*sizes, len(preds)):
        metric.update(preds[start : start + size], target[start : start + size])
        start += size
    return metric.compute()


EDITS = {
    "wer": (et.WordErrorRate, ef.word_error_rate),
    "mer": (et.MatchErrorRate, ef.match_error_rate),
    "wil": (et.WordInfoLost, ef.word_information_lost),
    "wip": (et.WordInfoPreserved, ef.word_information_preserved),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", EDITS)
def test_words_as_jiwer(name, data):
    cls, function = EDITS[name]
    preds, target = DATA[data]()
    expected = getattr(jiwer.process_words(target, preds), name)
    for found in (computed(cls(), preds, target, 0, 1), function(preds, target)):
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("data", ["made", "real", "the same", "nothing right", "silence", "preds empty"])
def test_characters_as_jiwer(data):
    preds, target = ([text.strip() for text in side] for side in DATA[data]())
    expected = jiwer.cer(target, preds)
    for found in (computed(et.CharErrorRate(), preds, target, 0, 1), ef.char_error_rate(preds, target)):
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_error_rates_of_no_target():
    """No words that could be wrong: no error is 0, any is infinite."""
    for cls in (et.WordErrorRate, et.CharErrorRate):
        assert cls().of("", "") == 0
        assert cls().of("a", "") == torch.inf
    assert et.CharErrorRate().of(" a ", "a") == 2


def costs(x: str, y: str, cost: int) -> int:
    """By its definition: the table of all prefixes."""
    row = list(range(len(y) + 1))
    for i, a in enumerate(x, 1):
        before, row = row, [i]
        for j, b in enumerate(y, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + cost * (a != b)))
    return row[-1]


@pytest.mark.parametrize("cost", [0, 1, 2, 3])
def test_edit_distance_by_definition(cost):
    preds, target = made()
    expected = [costs(x, y, cost) for x, y in zip(preds, target, strict=True)]
    readings = {"none": expected, None: expected, "sum": sum(expected), "mean": sum(expected) / len(expected)}
    for reduction, reading in readings.items():
        metric = et.EditDistance(cost, reduction)
        for found in (computed(metric, preds, target, 2, 0), ef.edit_distance(preds, target, cost, reduction)):
            assert found.tolist() == pytest.approx(reading, rel=1e-6)
    assert ef.edit_distance("", "abc").item() == 3
    assert et.EditDistance(reduction="none").of([], []).tolist() == []
    assert et.EditDistance().of([], []).isnan()


def test_a_collection_aligns_once(monkeypatch):
    metrics = MetricCollection([et.MatchErrorRate(), et.WordInfoLost(), et.WordInfoPreserved()])
    aligned = []
    original = et.edits.pairs
    monkeypatch.setattr(et.edits, "pairs", lambda *given: aligned.append(1) or original(*given))
    metrics.update(*made())
    assert len(aligned) == 1
    assert metrics.compute()["WordInfoLost"] == 1 - metrics.compute()["WordInfoPreserved"]


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rapidfuzz.distance.Levenshtein", None)
    with pytest.raises(ModuleNotFoundError, match=r"WordErrorRate: .* is not installed, but .*\. .*pip install epochal\[text\]"):
        et.WordErrorRate()
