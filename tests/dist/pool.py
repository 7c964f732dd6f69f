"""A pool of processes on gloo, started once per test session: ``pool.run(function, *args)`` runs a function on every rank.

Functions and results travel by pickle, so a function is one of a module. A rank that raises leaves the others in an unknown
collective: the pool is then started anew, and the exception is raised here with the rank's traceback.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

TIMEOUT = 60.0  # seconds that a job may take; collectives give up before
COLLECTIVE = timedelta(seconds=30)


class RankError(AssertionError):
    """What the ranks raised; ``errors`` has one entry per rank."""

    def __init__(self, errors: list[str | None]) -> None:
        super().__init__("\n".join(f"rank {rank}: {error}" for rank, error in enumerate(errors) if error))
        self.errors = errors


class Pool:
    """``size`` processes that wait for jobs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []

    def start(self) -> None:
        context = multiprocessing.get_context("forkserver")  # torch is imported once, and no thread of ours is forked
        context.set_forkserver_preload(["torch", "torch.distributed", "epochal.metric"])
        store = Path(tempfile.mkdtemp()) / "store"
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(rank, self.size, str(store), theirs), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.pipes.append(ours)

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """``function(rank, size, *args)`` on every rank; the results in the order of ranks."""
        if not self.processes:
            self.start()
        job = pickle.dumps((sys.path, function, args))
        try:
            for pipe in self.pipes:
                pipe.send_bytes(job)
            answers = self._answers(time.monotonic() + TIMEOUT)
        except BaseException:
            self.stop()
            raise
        errors = [text for text, _ in answers]
        if any(errors):
            self.stop()
            raise RankError(errors)
        return [result for _, result in answers]

    def _answers(self, deadline: float) -> list[tuple[str | None, Any]]:
        answers = []
        for rank, pipe in enumerate(self.pipes):
            try:
                if not pipe.poll(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"rank {rank} of {self.size} did not answer within {TIMEOUT} s")
                answers.append(pickle.loads(pipe.recv_bytes()))
            except EOFError:
                self.processes[rank].join(timeout=5)
                answers.append((f"the process ended with code {self.processes[rank].exitcode}", None))
        return answers

    def stop(self) -> None:
        """End the processes, also those that hang."""
        for pipe in self.pipes:
            pipe.close()  # an idle worker ends by itself
        for process in self.processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.kill()
                process.join()
        self.processes, self.pipes = [], []


def _work(rank: int, size: int, store: str, pipe: Connection) -> None:
    import warnings

    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=COLLECTIVE)
    while True:
        try:
            paths, function, args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            break
        sys.path[:] = paths
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                answer = (None, function(rank, size, *args))
            pipe.send_bytes(pickle.dumps(answer))
        except Exception:
            pipe.send_bytes(pickle.dumps((traceback.format_exc(), None)))
    dist.destroy_process_group()
