"""Signals to a run of several processes, as clusters, terminals and people send them: each ends its step, one saves."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import epochal.training as pl
from epochal.training import storage
from epochal.training.signals import NOTICE, TERMINATED
from tests.training.toys import Model, loader, trainer

ROOT = Path(__file__).parents[2]
TERM, INT = signal.SIGTERM, signal.SIGINT


def runs(pid):
    """Whether a process is there, and no zombie that waits for its parent."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until(condition, seconds=150.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


CASES = [
    ("ddp", TERM, "one", 0),  # somebody who reads the list of processes
    ("ddp", TERM, "all", 2),  # a cluster, which ends the workers of loaders, too
    ("ddp_fork", INT, "all", 2),  # Ctrl-C in a notebook
    ("ddp_fork", TERM, "parent", 0),
    ("auto", TERM, "all", 2),
]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("strategy", "number", "to", "workers"), CASES)
def test_a_signal_saves_once_and_ends_all_processes(strategy, number, to, workers, tmp_path):
    size = 1 if strategy == "auto" else 2
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.signalled", str(tmp_path), strategy, str(workers)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(lambda: len(list(tmp_path.glob("*.pid"))) == size or process.poll() is not None)
            ranks = [int(path.read_text()) for path in sorted(tmp_path.glob("*.pid"))]
            assert len(ranks) == size
            if to == "all":
                os.killpg(process.pid, number)
            else:
                os.kill(ranks[1] if to == "one" else process.pid, number)
            out, err = process.communicate(timeout=150)
            until(lambda: not any(map(runs, ranks)))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (TERMINATED if number == TERM else 1), err
    assert "Traceback" not in err
    assert err.count(NOTICE.decode().strip()) == (number == INT)
    assert ("Interrupted in epoch 1." in out) == (number == INT)
    saved = storage.read(tmp_path / "c" / "last.ckpt")
    assert sorted(saved["ranks"]) == list(range(size))
    assert [path.name for path in (tmp_path / "c").glob("last*")] == ["last.ckpt"]
    (path,) = tmp_path.rglob("metrics.csv")
    with open(path) as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["loss"]]
    assert steps == list(range(saved["global_step"]))  # each that was begun, and no more
    assert len(steps) >= 10


def test_a_process_that_a_hook_has_forked_ends_by_a_signal():
    """The run's handlers are not the child's."""
    import multiprocessing

    class Forks(Model):
        def on_train_start(self):
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
            child.start()
            time.sleep(0.1)
            child.terminate()
            child.join(timeout=20)
            self.code = child.exitcode

    module, run = Forks(), trainer()
    run.fit(module, loader(8, 8))
    assert module.code == -TERM
    assert not run.received_sigterm


def test_a_signal_in_an_evaluation_ends_it_after_the_batch():
    seen = []

    class Watches(pl.Callback):
        def on_exception(self, trainer, pl_module, exception):
            seen.append(exception)

    class Signalled(Model):
        batches = 0

        def validation_step(self, batch, batch_idx):
            self.batches += 1
            if batch_idx == 2:
                os.kill(os.getpid(), TERM)
                time.sleep(0.01)

    module, run = Signalled(), trainer(callbacks=Watches())
    with pytest.raises(SystemExit) as ended:
        run.validate(module, loader(), verbose=False)
    assert (ended.value.code, module.batches, len(seen)) == (TERMINATED, 3, 1)
    assert signal.getsignal(TERM) is signal.SIG_DFL
