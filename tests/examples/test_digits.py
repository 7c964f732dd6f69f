"""The demo, as a user runs it: on one process and on two."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^(val_\w+) +(-?[\d.]+) +(-?[\d.]+)$", re.MULTILINE)


def run(out: Path, devices: int) -> dict[str, tuple[str, str]]:
    command = [sys.executable, str(ROOT / "examples/digits.py"), "--epochs", "2", "--devices", str(devices), "--out", str(out)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {name: (ours, theirs) for name, ours, theirs in LINE.findall(done.stdout)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    outs = {devices: tmp_path_factory.mktemp(f"digits{devices}") for devices in (1, 2)}
    return {devices: (run(out, devices), out) for devices, out in outs.items()}


@pytest.mark.parametrize("devices", [1, 2])
def test_prints_the_numbers_of_scikit_learn(tables, devices):
    table, _ = tables[devices]
    assert set(table) == {"val_accuracy", "val_precision", "val_recall", "val_f1", "val_kappa", "val_mcc"}
    for ours, theirs in table.values():
        assert ours == theirs
    assert 0.5 < float(table["val_accuracy"][0]) <= 1


def test_two_processes_print_what_one_prints(tables):
    assert tables[1][0] == tables[2][0]


@pytest.mark.parametrize("devices", [1, 2])
def test_writes_the_log_and_the_picture(tables, devices):
    _, out = tables[devices]
    lines = (out / "lightning_logs/version_0/metrics.csv").read_text().splitlines()
    assert lines[0].split(",") == sorted(lines[0].split(","))
    assert "val_f1" in lines[0]
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (out / "lightning_logs").iterdir()) == ["version_0"]
