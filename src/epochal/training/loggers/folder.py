"""A logger whose runs have folders: ``save_dir/name/version_N``, on any address that fsspec knows."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from epochal import check
from epochal.training import storage
from epochal.training.loggers.logger import Logger


class FolderLogger(Logger):
    """Numbers its runs, and writes their hyperparameters into ``hparams.yaml``.

    A remote address that does not answer loses nothing while the run goes on: what is to be written waits for it.
    """

    REST = 9.0  # times as long as an attempt took that failed: a dead address costs a tenth of the time

    def __init__(self, save_dir: str | os.PathLike[str], name: str | None, version: int | str | None, prefix: str) -> None:
        self._save_dir, self._name, self._version, self._prefix = os.fspath(save_dir), name or "", version, prefix
        self.is_local = storage.is_local(self.root_dir)
        self._hparams: dict[str, Any] = {}
        self._table = ""  # of hyperparameters, that is not written yet
        self._next_attempt = 0.0  # while the address does not answer

    @property
    def name(self) -> str:
        return self._name

    @property
    def save_dir(self) -> str:
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """Where the versions are; ``~`` and ``$NAMES`` are filled in."""
        root = os.path.expandvars(os.path.expanduser(self._save_dir))
        return self._join(root, self._name) if self._name else root

    @property
    def version(self) -> int | str:
        """The number of the run: one more than the highest there is; the time of day where nobody can tell."""
        if self._version is None:
            try:
                self._version = self._next_version()
            except storage.Unreachable:  # which the first row will say
                self._version = time.strftime("%Y-%m-%d_%H-%M-%S")
        return self._version

    def follow(self, version: int | str | None) -> None:
        self._version = version

    @property
    def log_dir(self) -> str:
        return self._join(self.root_dir, self.version if isinstance(self.version, str) else f"version_{self.version}")

    @staticmethod
    def _join(*parts: str) -> str:
        return "/".join(part.rstrip("/") for part in parts)

    def _next_version(self) -> int:
        numbers = [name.removeprefix("version_") for name in storage.names(self.root_dir) if name.startswith("version_")]
        return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1

    def _prefixed(self, key: str) -> str:
        return f"{self._prefix}-{key}" if self._prefix else key

    def _floats(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        found: dict[str, float] = {}
        try:
            for key, value in metrics.items():
                found[key] = float(value)
        except (TypeError, ValueError, RuntimeError):
            came = f"the value of {key!r} is a {type(value).__name__}"
            fix = "logger.experiment takes other things, where there is a way."
            raise TypeError(check.message(self, came, "a number or a tensor of one is needed", fix)) from None
        return found

    def log_hyperparams(self, params: Any = None, *_: Any, **__: Any) -> None:
        """Into ``hparams.yaml``, one key a line, beside those of earlier calls."""
        self._hparams.update(as_dict(params))
        self._table = storage.as_table(dict(sorted(self._hparams.items())))
        self._attempt(lambda: None)

    def _attempt(self, write: Callable[[], None], last: bool = False) -> None:
        """Write hyperparameters and the rest. The first failure of a remote address is raised; later ones are the same."""
        begun = time.monotonic()
        if begun < self._next_attempt and not last:
            return
        failed_before, self._next_attempt = self._next_attempt > 0, 0.0
        try:
            if self._table:
                storage.write_text(self._table, self._join(self.log_dir, "hparams.yaml"))
                self._table = ""
            write()
        except storage.Unreachable:
            now = time.monotonic()
            self._next_attempt = now + self.REST * (now - begun)
            if not failed_before:
                raise


def as_dict(params: Any) -> dict[str, Any]:
    """Hyperparameters by their names: of a mapping, a dataclass or a namespace."""
    if params is None:
        return {}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.asdict(params)
    return {str(key): value for key, value in (params if isinstance(params, Mapping) else vars(params)).items()}
