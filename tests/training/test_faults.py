"""Runs killed at random moments (``kill -9``) and started again end as one that was left alone, with logs that read.

``EPOCHAL_FAULTS=50`` asks for so many kills; by default there are a few.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch

from epochal.training import storage
from tests.training import faulty

KILLS = int(os.environ.get("EPOCHAL_FAULTS", "4"))
CONTEXT = multiprocessing.get_context("forkserver")  # torch is imported once


def child(folder, version, kill_after):
    import sys

    sys.argv = ["faulty", folder, str(version), str(kill_after)]
    faulty.main()


def started(folder, version, kill_after=0.0):
    process = CONTEXT.Process(target=child, args=(str(folder), version, kill_after))
    process.start()
    process.join(timeout=120)
    return process.exitcode


def test_killed_runs_end_as_one_that_was_left_alone(tmp_path):
    CONTEXT.set_forkserver_preload(["tests.training.faulty"])
    assert started(tmp_path / "whole", 0) == 0
    whole = torch.load(tmp_path / "whole" / "ended.pt", weights_only=True)
    rows = {step: row for step, row in whole["rows"] if "val_acc" in row}
    draw, kills, runs, version, places = random.Random(5), 0, 0, 0, []
    while kills < KILLS:
        folder, ended = tmp_path / f"run{runs}", False
        runs += 1
        while not ended:
            code = started(folder, version, kill_after=whole["took"] * draw.uniform(0.01, 0.7) if kills < KILLS else 0.0)
            version += 1
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            ended = code == 0
            steps = [storage.read(path)["global_step"] for path in Path(folder).rglob("*.ckpt")]  # which are whole
            places.append(max(steps, default=0))
        found = torch.load(folder / "ended.pt", weights_only=True)
        for name, weight in whole["weights"].items():
            assert torch.equal(weight, found["weights"][name]), name
        for step, row in found["rows"]:
            if "val_acc" in row:
                assert row == pytest.approx(rows[step], rel=1e-6)
        read_logs(folder, rows)
    assert len(set(places)) > KILLS / 3, "the kills came before the first checkpoint, or after the end"


def read_logs(folder, rows):
    """Each file parses, each of its epoch values is that of the whole run, and all together have all epochs."""
    seen = set()
    for path in Path(folder).rglob("metrics.csv"):
        with open(path) as file:
            for row in csv.DictReader(file):
                assert None not in row, path
                if row.get("val_acc"):
                    step = int(row["step"])
                    assert float(row["val_acc"]) == pytest.approx(rows[step]["val_acc"], rel=1e-6)
                    seen.add(step)
    assert seen == set(rows)
