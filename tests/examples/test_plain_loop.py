"""The loop without a Trainer, as a user runs it: on one process, and on two by torchrun."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/plain_loop.py"
LINE = re.compile(r"^(val_\w+) +(-?[\d.]+) +(-?[\d.]+)$", re.MULTILINE)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    found = []
    for launcher in ([], TORCHRUN):
        out = tmp_path_factory.mktemp("plain")
        command = [sys.executable, *launcher, str(SCRIPT), "--epochs", "2", "--out", str(out)]
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found.append(({name: (ours, theirs) for name, ours, theirs in LINE.findall(done.stdout)}, out))
    return found


def test_prints_the_numbers_of_scikit_learn(tables):
    for table, _ in tables:
        assert set(table) == {"val_accuracy", "val_f1", "val_mcc", "val_loss", "val_f1_best"}
        for ours, theirs in table.values():
            assert ours == theirs
        assert 0.5 < float(table["val_f1"][0]) <= 1


def test_two_processes_print_what_one_prints(tables):
    assert tables[0][0] == tables[1][0]


def test_each_run_writes_one_log(tables):
    for _, out in tables:
        (log,) = out.glob("lightning_logs/*/metrics.csv")
        header, *rows = log.read_text().splitlines()
        assert {"hidden", "loss_step", "loss_epoch", "f1", "val_f1_best"} <= set(header.split(","))
        assert len(rows) == 4 + 2 * 2  # every ten of 42 steps; of each epoch the evaluation and the training
