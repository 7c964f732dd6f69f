"""SIGTERM and Ctrl-C wait until a step is whole: then the run saves and ends, on all of its processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException
from torch.utils.data import get_worker_info

NOTICE = b"\nCtrl-C: the run ends after this step. Press it again to end at once.\n"
TERMINATED = 128 + signal.SIGTERM  # the exit status that shells give it
AT_ONCE = 0.5  # seconds: what a process gets from its group and from its parent is one signal
DEFAULTS = ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler))


class Signals:
    """Which signals came. A second one of a kind does not wait. Handlers that a program has set itself stay.

    ``due``: the run is to end now. Among several processes all must know before any acts: :meth:`share`.
    """

    def __init__(self) -> None:
        self._begin(shared=False, among=False, speaks=True)

    def _begin(self, shared: bool, among: bool, speaks: bool) -> None:
        self.due = self.terminated = self.interrupted = False
        self._shared, self._among, self._speaks, self._process = shared, among, speaks, os.getpid()
        self._received: dict[int, float] = {}  # when each kind came to this process
        self._of_children: Any = None  # the handler of SIGCHLD, while it is out of work

    @property
    def came(self) -> bool:
        return self.terminated or self.interrupted

    @contextmanager
    def heeded(self, shared: bool, among: bool = False, speaks: bool = True) -> Iterator[None]:
        """Inside, signals are noted; only the main thread can do so.

        ``shared``: the run ends when all of its processes know. ``among``: it has several. ``speaks``: this one says what came.
        """
        self._begin(shared, among, speaks)
        try:
            with self._handled(self._note):
                yield
        finally:
            if self._of_children is not None:
                signal.signal(signal.SIGCHLD, self._of_children)

    @contextmanager
    def passed_on(self) -> Iterator[None]:
        """Inside, the run is that of processes started there: they get the signals too, and this one ends as they do."""
        self._begin(shared=False, among=True, speaks=False)
        self._others = set(multiprocessing.active_children())
        try:
            with self._handled(self._pass_on):
                yield
        except ProcessExitedException as ended:
            if ended.signal_name is None:
                raise SystemExit(ended.exit_code) from None
            raise

    def leave_parent(self) -> None:
        """In a process that was forked inside of :meth:`passed_on`: signals do what they do in a new one."""
        for number, default in DEFAULTS:
            if signal.getsignal(number) == self._pass_on:
                signal.signal(number, default)

    @contextmanager
    def _handled(self, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number, default in DEFAULTS:
                if signal.getsignal(number) is default:
                    before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for kind, earlier in before.items():
                signal.signal(kind, earlier)

    def _note(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._in_child(number)
            return
        again = number in self._received
        if self._is_copy(number):
            return
        if number == signal.SIGINT:
            if again:
                raise KeyboardInterrupt
            self.interrupted = True
            if self._speaks:
                os.write(2, NOTICE)  # a handler must not print, where printing may be what it interrupts
        else:
            if again:
                raise SystemExit(TERMINATED)
            self.terminated = True
            self._of_children = signal.signal(signal.SIGCHLD, self._ignore)
        self.due = not self._shared

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if not self._is_copy(number):
            for process in set(multiprocessing.active_children()) - self._others:
                with suppress(ProcessLookupError):
                    os.kill(process.pid or 0, number)

    def _is_copy(self, number: int) -> bool:
        """Among several processes one signal may come twice: from the group of all and from the process that started this one."""
        now, before = time.monotonic(), self._received.get(number)
        if self._among and before is not None and now - before < AT_ONCE:
            return True
        self._received[number] = now
        return False

    def _in_child(self, number: int) -> None:
        """A process that the run has forked: a loader's worker serves the step that ends, another ends by itself."""
        if number == signal.SIGINT:
            if get_worker_info() is None:
                raise KeyboardInterrupt
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _ignore(self, number: int, _: FrameType | None) -> None:
        """The signal has ended the workers of loaders, too, which torch makes an error wherever the run is: the step needs none."""

    def share(self, terminated: bool, interrupted: bool) -> None:
        """What any rank has received is everybody's."""
        self.terminated, self.interrupted = terminated, interrupted
        self.due = self.came
