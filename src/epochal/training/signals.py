"""SIGTERM and Ctrl-C wait until a step is whole: then the run saves and ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NOTICE = b"\nCtrl-C: the run ends after this step. Press it again to end at once.\n"
TERMINATED = 128 + signal.SIGTERM  # the exit status that shells give it


class Signals:
    """Which signals came. A second one of a kind does not wait. Handlers that a program has set itself stay.

    ``due``: the run is to end now. Among several processes all must know before any acts: :meth:`share`.
    """

    def __init__(self) -> None:
        self.due = self.terminated = self.interrupted = self._shared = False

    @property
    def came(self) -> bool:
        return self.terminated or self.interrupted

    @contextmanager
    def heeded(self, shared: bool) -> Iterator[None]:
        """Inside, signals are noted; only the main thread can do so."""
        self.due = self.terminated = self.interrupted = False
        self._shared = shared
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
                if signal.getsignal(number) is default:
                    before[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            os.write(2, NOTICE)  # a handler must not print, where printing may be what it interrupts
        else:
            if self.terminated:
                raise SystemExit(TERMINATED)
            self.terminated = True
        self.due = not self._shared

    def share(self, terminated: bool, interrupted: bool) -> None:
        """What any rank has received is everybody's."""
        self.terminated, self.interrupted = terminated, interrupted
        self.due = self.came
