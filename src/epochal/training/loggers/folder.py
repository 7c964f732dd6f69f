"""A logger whose runs have folders: ``save_dir/name/version_N``, on any address that fsspec knows."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import fsspec

from epochal.training.loggers.logger import Logger


class FolderLogger(Logger):
    """Numbers its runs, and writes their hyperparameters into ``hparams.yaml``."""

    def __init__(self, save_dir: str | os.PathLike[str], name: str | None, version: int | str | None, prefix: str) -> None:
        self._save_dir, self._name, self._version, self._prefix = os.fspath(save_dir), name or "", version, prefix

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
        """The number of the run: one more than the highest there is."""
        if self._version is None:
            self._version = self._next_version()
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
        files, root = fsspec.core.url_to_fs(self.root_dir)
        if not files.isdir(root):
            return 0
        names = [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in files.ls(root, detail=True)]
        numbers = [name.removeprefix("version_") for name in names if name.startswith("version_")]
        return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1

    def _make_folder(self) -> None:
        files, path = fsspec.core.url_to_fs(self.log_dir)
        files.makedirs(path, exist_ok=True)

    def _prefixed(self, key: str) -> str:
        return f"{self._prefix}-{key}" if self._prefix else key

    def log_hyperparams(self, params: Any = None, *_: Any, **__: Any) -> None:
        """Into ``hparams.yaml``, one key a line."""
        self._make_folder()
        with fsspec.open(self._join(self.log_dir, "hparams.yaml"), "w") as file:
            file.writelines(f"{key}: {json.dumps(value, default=str)}\n" for key, value in sorted(as_dict(params).items()))


def as_dict(params: Any) -> dict[str, Any]:
    """Hyperparameters by their names: of a mapping, a dataclass or a namespace."""
    if params is None:
        return {}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.asdict(params)
    return {str(key): value for key, value in (params if isinstance(params, Mapping) else vars(params)).items()}
