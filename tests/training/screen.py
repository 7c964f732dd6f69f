"""A terminal of a chosen width, of which a test can read what stands on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
import time

TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")


class Screen:
    """What a program writes while this is ``sys.stdout``, drawn: the cursor's moves and erasures are followed."""

    def __init__(self, monkeypatch, width=100):
        self.width, self.written = width, ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        for name, value in {"COLUMNS": width, "LINES": 40, "TERM": "xterm"}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.delenv("NO_COLOR", raising=False)
        self._slave = open(slave, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  # until close
        monkeypatch.setattr(sys, "stdout", self._slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 1 << 16):
                self.written += data.decode(errors="replace")

    def until(self, pattern):
        """The lines as soon as one of them shows this."""
        end = time.monotonic() + 5
        while time.monotonic() < end and not any(re.search(pattern, line) for line in self.lines()):
            time.sleep(0.002)
        return self.lines()

    def close(self):
        """All that was written."""
        self._slave.close()
        self._reader.join(5)
        os.close(self._master)
        return self.lines()

    def lines(self):
        """What stands on the screen now."""
        rows, y, x = [""], 0, 0
        for token in TOKEN.finditer(self.written):
            text, (count, verb) = token.group(), token.groups()
            if text == "\r":
                x = 0
            elif text == "\n":
                y += 1
                rows += [""] * (y + 1 - len(rows))
            elif verb == "A":
                y = max(0, y - int(count or 1))
            elif verb == "K":
                rows[y] = rows[y][:x] if count in ("", "0") else ""
            elif verb is None and text != "\x1b":
                rows[y] = rows[y][:x].ljust(x) + text + rows[y][x + len(text) :]
                x += len(text)
                assert x <= self.width, f"a line is longer than the terminal: {rows[y]!r}"
        return [row.rstrip() for row in rows if row.strip()]
