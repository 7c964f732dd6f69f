"""Files that are whole or absent, on any address that fsspec knows, and that load with ``weights_only=True``."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any

import fsspec
import torch
from fsspec.implementations.local import LocalFileSystem
from torch import Tensor

from epochal import check

ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
PART = ".part"  # the ending of a file that is being written
WHOLE_AT_ONCE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"}  # an object appears when all of it is there
WORDS = {"null", "true", "false", "yes", "no", "on", "off"}  # that YAML takes for something else than strings


class NotPlain(TypeError):
    """A value that a file read with ``weights_only=True`` cannot hold."""


class Unreachable(OSError):
    """A remote address that does not answer, or that refuses."""

    def __init__(self, came: str, fix: str) -> None:
        super().__init__(f"{came}. {fix}")
        self.came, self.fix = came, fix

    def __reduce__(self) -> Any:
        return type(self), (self.came, self.fix)


def plain(value: Any, where: str) -> Any:
    """Numbers, strings, tensors, and lists, tuples, sets and dicts of them, whatever their subclass; paths become strings."""
    if type(value) in ATOMS or isinstance(value, Tensor) or type(value) in _registered():
        return value
    if isinstance(value, Mapping):
        return {plain(key, where): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        kind = next(kind for kind in (list, tuple, set) if isinstance(value, kind))
        return kind(plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, PurePath):
        return str(value)
    for base in (int, float, str):  # enumerations, and numbers of numpy that are floats
        if isinstance(value, base):
            return base(value.value if hasattr(value, "value") else value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise NotPlain(
        check.message(
            "checkpoint",
            f"{where} is a {type(value).__name__}",
            "numbers, strings, tensors, and lists and dicts of them load with weights_only=True",
            f"Convert it, or register it: torch.serialization.add_safe_globals([{type(value).__name__}]).",
        )
    )


def _registered() -> list[Any]:
    return list(torch.serialization.get_safe_globals())


def plain_weights(weights: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """A ``state_dict`` as it is, its metadata included."""
    out = OrderedDict((name, plain(value, f"state_dict[{name!r}]")) for name, value in weights.items())
    if hasattr(weights, "_metadata"):
        out._metadata = weights._metadata  # type: ignore[attr-defined]  # noqa: SLF001  # where torch keeps the versions
    return out


def write(content: Mapping[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
    """Write all of it, or nothing: under another name first, which is given up when all is on the disk."""
    put(path, lambda file: torch.save(content, file), storage_options)


def copy(source: str, path: str) -> None:
    """A second file of the same content, whole or absent."""
    with opened(source) as original:
        put(path, lambda file: shutil.copyfileobj(original, file, 1 << 20))


def put(path: str | os.PathLike[str], fill: Callable[[Any], None], storage_options: Any = None, durable: bool = True) -> None:
    """A file of what ``fill`` writes into it, whole or absent. ``durable``: on the disk when this returns, which takes its time."""
    files, target = _place(path, storage_options)
    if isinstance(files, LocalFileSystem):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target + PART, "wb") as file:
            fill(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(target + PART, target)
        if durable:
            _sync_folder(os.path.dirname(target))
        return
    buffer = io.BytesIO()
    fill(buffer)
    with _reached(files, path, "written"):
        if _protocols(files) & WHOLE_AT_ONCE:  # which have no folders; making one would make a bucket of a misspelt name
            files.pipe_file(target, buffer.getvalue())
        else:
            files.makedirs(os.path.dirname(target), exist_ok=True)
            files.pipe_file(target + PART, buffer.getvalue())
            files.mv(target + PART, target)


@contextmanager
def _reached(files: Any, path: str | os.PathLike[str], verb: str) -> Iterator[None]:
    """Whatever the client of a remote address raises, as one kind of error that says what to look at."""
    try:
        yield
    except Exception as error:
        if isinstance(files, LocalFileSystem) or (verb == "read" and isinstance(error, FileNotFoundError)):
            raise
        if isinstance(error, FileNotFoundError):
            fix = "Create the bucket, or correct its name."
        elif isinstance(error, PermissionError) or "credentials" in str(error):
            fix = "Check the credentials, and what they allow."
        else:
            fix = "Check the network and the endpoint."
        raise Unreachable(f"{os.fspath(path)} cannot be {verb} ({type(error).__name__}: {error})", fix) from error


def _protocols(files: Any) -> set[str]:
    found = files.protocol
    return {found} if isinstance(found, str) else set(found)


def _sync_folder(folder: str) -> None:
    """A rename is on the disk when its folder is."""
    with suppress(OSError):  # not every system opens folders
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
    """What :func:`write`, or Lightning, has written."""
    if not exists(path):
        there = names(os.path.dirname(os.fspath(path)))
        known = check.closest(os.path.basename(os.fspath(path)), there) or (
            f"The folder holds {', '.join(there[:10])}." if there else ""
        )
        raise FileNotFoundError(check.message("checkpoint", f"{path} came", "there is no such file", known))
    with opened(path) as file:
        data = io.BytesIO(file.read())
    try:
        found = torch.load(data, map_location=map_location, weights_only=weights_only is not False)
    except pickle.UnpicklingError as error:
        fix = "If you trust the file, pass weights_only=False."
        came = f"{path} holds more than numbers and tensors ({str(error).splitlines()[0]})"
        raise NotPlain(check.message("checkpoint", came, "files are read with weights_only=True", fix)) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(check.message("checkpoint", f"{path} cannot be read ({error})", "a whole file is needed")) from error
    if not isinstance(found, dict):
        check.fail("checkpoint", f"{path} holds a {type(found).__name__}", "a dictionary is needed")
    return found


def write_text(text: str, path: str) -> None:
    """A text file, whole or absent."""
    put(path, lambda file: file.write(text.encode()), durable=False)


def append(text: str, path: str) -> None:
    """To a local file, in one piece."""
    with open(_place(path)[1], "ab") as file:
        file.write(text.encode())


def make_folder(path: str) -> None:
    """Where there are folders: not in an object store."""
    if is_local(path):
        os.makedirs(_place(path)[1], exist_ok=True)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """To read its bytes."""
    files, target = _seen(path)
    with _reached(files, path, "read"):
        file = files.open(target, "rb")
    with file:
        yield file


def as_table(values: Mapping[str, Any]) -> str:
    """A key a line, as YAML."""
    return "".join([f"{_as_key(key)}: {_as_yaml(value)}\n" for key, value in values.items()]) or "{}\n"


def _as_key(name: str) -> str:
    return name if name.isidentifier() and name.lower() not in WORDS else _as_yaml(name)


def _as_yaml(value: Any) -> str:
    """In one line: JSON, but for floats, which YAML wants with a point; what it has no form for as Python shows it."""
    if isinstance(value, Mapping):
        keys = (_as_yaml(key if isinstance(key, int | float) else str(key)) for key in value)
        return "{" + ", ".join(f"{key}: {_as_yaml(item)}" for key, item in zip(keys, value.values(), strict=True)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if isinstance(value, float):
        text = repr(float(value))
        return text if "." in text else text.replace("e", ".0e").replace("inf", ".inf").replace("nan", ".nan")
    return json.dumps(value, default=str, ensure_ascii=False)


def read_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """``hparams.yaml``, as loggers write it."""
    try:
        import yaml
    except ImportError:
        fix = "Install pyyaml, or pass the hyperparameters as keyword arguments."
        raise ImportError(check.message("load_from_checkpoint", "hparams_file came", "pyyaml is not installed", fix)) from None
    with opened(path) as file:
        return dict(yaml.safe_load(file) or {})


def exists(path: str | os.PathLike[str]) -> bool:
    files, target = _seen(path)
    with _reached(files, path, "read"):
        return bool(files.exists(target))


def names(folder: str) -> list[str]:
    """Of what is in a folder, in order; none where there is no folder."""
    files, target = _seen(folder)
    with _reached(files, folder, "read"):
        found = files.ls(target, detail=False) if files.isdir(target) else []
    return sorted(os.path.basename(name.rstrip("/")) for name in found)


def remove(path: str) -> None:
    files, target = _seen(path)
    if isinstance(files, LocalFileSystem) and os.path.islink(target):
        os.unlink(target)
        return
    with _reached(files, path, "removed"):
        if files.exists(target):
            files.rm(target, recursive=files.isdir(target))


def link(source: str, path: str) -> None:
    """A symbolic link, relative, so that the folder may move; put in place of what was there."""
    new = path + PART
    remove(new)
    os.symlink(os.path.relpath(source, os.path.dirname(path)), new)
    os.replace(new, path)


def is_local(path: str) -> bool:
    return isinstance(_place(path)[0], LocalFileSystem)


def join(folder: str, name: str) -> str:
    return os.path.join(folder, name) if is_local(folder) else f"{folder.rstrip('/')}/{name}"


def newest(folder: str, beginning: str, ending: str) -> str | None:
    """The file of such a name that was written last; None if there is none."""
    fitting = [join(folder, name) for name in names(folder) if name.startswith(beginning) and name.endswith(ending)]
    return max(fitting, key=lambda path: (_written(path), path), default=None)


def _written(path: str) -> float:
    files, target = _place(path)
    try:
        return float(files.modified(target).timestamp())
    except (NotImplementedError, FileNotFoundError):
        return 0.0


def _place(path: str | os.PathLike[str], options: Any = None) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    address = os.path.expanduser(os.fspath(path))
    if "::" not in address and "://" not in address:
        return LocalFileSystem(), os.path.abspath(address)
    try:
        files, target = fsspec.core.url_to_fs(address, **(options or {}))
    except ImportError as error:
        fix = "Install it by: pip install epochal[remote]" if address.startswith("s3") else str(error)
        raise ModuleNotFoundError(check.message("storage", f"{address} came", "its client is not installed", fix)) from error
    return files, target


def _seen(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """The same, as it is now: clients remember what they saw, and other processes and threads write, too."""
    files, target = _place(path)
    files.invalidate_cache(os.path.dirname(target))
    return files, target
