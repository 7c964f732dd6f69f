"""A folder of this machine whose files are sent to a remote address as they grow."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from epochal.training import storage


class Mirror:
    """Sends whole files, since object stores cannot append. Who writes begins another file when one :meth:`is_large`, so that
    what a row costs does not grow with the run."""

    LARGE = 1 << 18  # bytes

    def __init__(self, address: str) -> None:
        self.address = address
        self.folder = tempfile.mkdtemp(prefix="epochal-")
        self.close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)  # at the latest when the program ends
        self._sent: dict[Path, int] = {}  # bytes of each file

    def _grown(self) -> dict[Path, int]:
        sizes = {path: path.stat().st_size for path in Path(self.folder).rglob("*") if path.is_file()}
        return {path: size for path, size in sizes.items() if size != self._sent.get(path)}

    def is_large(self) -> bool:
        """Whether a file that grows is one that nobody wants to send many times."""
        return any(size >= self.LARGE for size in self._grown().values())

    def push(self) -> None:
        """Send what has grown."""
        for path, size in self._grown().items():
            with open(path, "rb") as file:
                parts = path.relative_to(self.folder).parts
                storage.put("/".join([self.address, *parts]), lambda out: shutil.copyfileobj(file, out))
            self._sent[path] = size
