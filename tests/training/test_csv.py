"""CSVLogger: a file that always parses, whose rows cost the same however many there are."""

from __future__ import annotations

import csv
import io
import time

import fsspec
import numpy as np
import pytest
import torch

from epochal.training import storage
from epochal.training.loggers import CSVLogger


def read(address: str) -> list[dict[str, str]]:
    with fsspec.open(address, "r") as file:
        return list(csv.DictReader(io.StringIO(file.read())))


@pytest.mark.parametrize("remote", [False, True])
def test_rows_are_written_and_appended(tmp_path, remote):
    root = "memory://logs" if remote else str(tmp_path)
    logger = CSVLogger(root, name=f"run{remote}")
    for step in range(3):
        logger.log_metrics({"b": 0.5 * step, "a": 1.0, "epoch": 0}, step)
        logger.save()
    logger.finalize("success")
    assert read(logger.path) == [{"a": "1.0", "b": str(0.5 * step), "epoch": "0", "step": str(step)} for step in range(3)]


def test_rows_are_held_until_they_are_due(tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=3)
    for step in range(2):
        logger.log_metrics({"a": 1.0}, step)
    assert not (tmp_path / "lightning_logs").exists()
    logger.log_metrics({"a": 1.0}, 2)
    assert len(read(logger.path)) == 3


def test_rows_are_written_after_a_while(tmp_path, monkeypatch):
    logger = CSVLogger(tmp_path)
    monkeypatch.setattr(CSVLogger, "HOLD", -1.0)
    logger.log_metrics({"a": 1.0}, 0)
    assert len(read(logger.path)) == 1


def test_a_late_key_widens_the_file_once_at_save(tmp_path, monkeypatch):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    written = []
    original = CSVLogger._rewrite
    monkeypatch.setattr(CSVLogger, "_rewrite", lambda self: (original(self), written.append(len(read(self.path)))))
    logger.log_metrics({"a": 1.0}, 0)
    for step in range(1, 5):
        logger.log_metrics({"a": 1.0, f"late{step}": 2.0}, step)
        assert [row["a"] for row in read(logger.path)] == ["1.0"]  # it parses at any time
    logger.save()
    logger.save()
    assert written == [1, 5]
    rows = read(logger.path)
    assert list(rows[0]) == ["a", "late1", "late2", "late3", "late4", "step"]
    assert [row["late4"] for row in rows] == ["", "", "", "", "2.0"]
    logger.log_metrics({"a": 3.0}, 5)
    assert read(logger.path)[-1]["a"] == "3.0"


def test_versions_count_up_and_prefixes_are_joined(tmp_path):
    for expected in range(2):
        logger = CSVLogger(tmp_path, name="x", prefix="p")
        assert logger.version == expected
        logger.log_metrics({"a": 1.0}, 0)
        logger.finalize("success")
    assert list(read(str(tmp_path / "x/version_1/metrics.csv"))[0]) == ["p-a", "step"]
    assert CSVLogger(tmp_path, version="mine").log_dir.endswith("/mine")


def test_names_with_commas_are_quoted(tmp_path):
    logger = CSVLogger(tmp_path)
    logger.log_metrics({'a,"b"': 1.0}, 0)
    logger.save()
    assert read(logger.path) == [{'a,"b"': "1.0", "step": "0"}]


def test_names_with_braces_and_percent_signs_are_themselves(tmp_path):
    logger = CSVLogger(tmp_path)
    for late in ({}, {"{late}": 2.0}):  # appended, and copied into a wider file
        logger.log_metrics({"{}": 0.5, "%s": float("inf"), "}{0": 1.0, **late}, 0)
        logger.save()
    first, second = read(logger.path)
    assert first == {"{}": "0.5", "%s": "inf", "}{0": "1.0", "{late}": "", "step": "0"}
    assert second == {**first, "{late}": "2.0"}


def test_an_epoch_that_a_user_logs_may_be_any_number(tmp_path):
    logger = CSVLogger(tmp_path)
    for step, epoch in enumerate([0, 0.5, 1.0, float("nan"), float("inf")]):
        logger.log_metrics({"epoch": epoch}, step)
    logger.save()
    assert [row["epoch"] for row in read(logger.path)] == ["0", "0.5", "1", "nan", "inf"]


def test_many_rows_at_once_are_as_one_by_one(tmp_path):
    rows = [({"epoch": 0.0, "a": i / 3}, i) for i in range(5)]
    rows += [({"b": np.float64(0.1), "n": 3, "yes": True, "t": torch.tensor(0.5)}, 5)]
    one, all_of_them = CSVLogger(tmp_path, "one", prefix="p"), CSVLogger(tmp_path, "all", prefix="p")
    for row, step in rows:
        one.log_metrics(row, step)
    all_of_them.log_rows(rows)
    for logger in (one, all_of_them):
        logger.save()
    assert read(one.path) == read(all_of_them.path)
    last = {"p-epoch": "", "p-a": "", "p-b": "0.1", "p-n": "3.0", "p-yes": "1.0", "p-t": "0.5", "step": "5"}
    assert read(one.path)[5] == last


@pytest.mark.parametrize("late", [False, True])
def test_a_row_costs_the_same_however_many_there_are(tmp_path, monkeypatch, late):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=10)
    appended, rewritten = [], []
    append, rewrite = storage.append, CSVLogger._rewrite
    monkeypatch.setattr(storage, "append", lambda *args: (appended.append(len(args[0])), append(*args)))
    monkeypatch.setattr(CSVLogger, "_rewrite", lambda self: (rewritten.append(1), rewrite(self)))
    costs = []
    for epoch in range(6):
        appended.clear()
        for i in range(100):
            row = {"a": 1.5, "late": 1.0} if late and (epoch, i) >= (2, 50) else {"a": 1.5}
            logger.log_metrics(row, 1000 + epoch * 100 + i)
        logger.save()
        costs.append(sum(appended))
    assert costs[5] == (100 * len('{"a": 1.5, "late": 1.0, "step": 1500}\n' + "1.5,1.0,1500\n") if late else costs[1])
    assert len(rewritten) == 1 + late
    assert len(read(logger.path)) == 600


def test_a_run_that_goes_on_in_its_folder_keeps_its_rows(tmp_path):
    first = CSVLogger(tmp_path, version=0)
    for step in range(3):
        first.log_metrics({"a": 1.0}, step)
    first.save()
    with open(tmp_path / "lightning_logs/version_0/metrics.jsonl", "a") as file:
        file.write('{"a": 1.0, "st')  # where a killed process was
    second = CSVLogger(tmp_path, version=0)
    second.log_metrics({"b": 2.0}, 3)
    second.finalize("success")
    second.log_metrics({"b": 3.0}, 4)
    second.save()
    rows = read(second.path)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["b"] for row in rows] == ["", "", "", "2.0", "3.0"]


def test_numbers_of_all_kinds_are_read_back(tmp_path):
    values = [0.1 + 0.2, -1e-300, 1e22, float("nan"), float("inf"), float("-inf"), 3.0]
    logger = CSVLogger(tmp_path)
    for _ in range(2):  # appended, and copied into a wider file
        logger.log_metrics({f"k{i}": value for i, value in enumerate(values)}, 0)
        logger.save()
        logger.log_metrics({"late": 1.0}, 1)
        logger.save()
        rows = read(logger.path)
        assert all(row[f"k{i}"] == str(value) for row in rows[::2] for i, value in enumerate(values))


def test_the_time_of_a_row_does_not_grow_with_the_file(tmp_path):
    logger = CSVLogger(tmp_path)
    blocks = []
    for block in range(30):
        begin = time.process_time()
        for i in range(500):
            logger.log_metrics({"a": 0.5, "late": 1.5} if block >= 10 else {"a": 0.5}, block * 500 + i)
        blocks.append(time.process_time() - begin)
        if block == 10:
            logger.save()
    assert min(blocks[-5:]) < 2 * min(blocks[:5])
    logger.finalize("success")
    assert len(read(logger.path)) == 15_000
