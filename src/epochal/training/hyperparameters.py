"""``save_hyperparameters``: what a module or datamodule was built with, and building it again from a checkpoint."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

from typing_extensions import Self

from epochal import check
from epochal.training import storage

NAME = "hparams_name"  # in a checkpoint: the argument that took all hyperparameters as one dictionary
LEFT_OUT = "hparams_left_out"


class AttributeDict(dict[str, Any]):
    """A dictionary whose keys are attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class HyperParameters:
    """Keeps the arguments of ``__init__`` as ``self.hparams``."""

    CHECKPOINT_HYPER_PARAMS_KEY = "hyper_parameters"

    def save_hyperparameters(
        self, *args: Any, ignore: Iterable[str] | str | None = None, frame: FrameType | None = None, logger: bool = True
    ) -> None:
        """Keep the arguments of the ``__init__`` that calls this, and of the subclasses' that called it, as ``self.hparams``.

        ``args``: the names of those to keep, or one dictionary or namespace to keep instead. ``ignore``: names not to keep.
        ``frame``: where to look, instead of at the caller. ``logger``: whether loggers are told. Checkpoints hold what is plain:
        numbers, strings, tensors, and lists and dicts of them.
        """
        given = _arguments_of(self, frame or inspect.currentframe().f_back)  # type: ignore[union-attr]  # CPython has frames
        skip = {ignore} if isinstance(ignore, str) else set(ignore or ())
        if len(args) == 1 and not isinstance(args[0], str):
            self.__dict__["_hparams_name"] = next((name for name, value in given.items() if value is args[0]), None)
            given = dict(args[0] if isinstance(args[0], Mapping) else vars(args[0]))
        elif args:
            given = {name: value for name, value in given.items() if name in args}
        self.hparams.update({name: value for name, value in given.items() if name not in skip})
        self.__dict__["_log_hparams"] = logger
        self.__dict__["_hparams_initial"] = AttributeDict({name: _copied(value) for name, value in self.hparams.items()})

    @property
    def hparams(self) -> AttributeDict:
        """What was kept."""
        found: AttributeDict = self.__dict__.setdefault("_hparams", AttributeDict())
        return found

    @property
    def hparams_initial(self) -> AttributeDict:
        """What was kept, as it was then."""
        return AttributeDict(self.__dict__.get("_hparams_initial", {}))

    @property
    def hparams_to_log(self) -> dict[str, Any]:
        """What loggers are told."""
        return dict(self.hparams) if self.__dict__.get("_log_hparams", True) else {}

    def hparams_to_save(self) -> dict[str, Any]:
        """What a checkpoint holds of them; what cannot be read with ``weights_only=True`` is left out, with a warning."""
        kept, left_out = {}, []
        for name, value in self.hparams.items():
            try:
                kept[name] = storage.plain(vars(value) if type(value).__name__ == "Namespace" else value, name)
            except storage.NotPlain:
                left_out.append(name)
        warned: set[str] = self.__dict__.setdefault("_warned_hparams", set())
        new = [name for name in left_out if name not in warned]
        warned.update(new)
        if new:
            came = f"the hyperparameters {new} are {[type(self.hparams[name]).__name__ for name in new]}"
            needed = "checkpoints hold numbers, strings, tensors, and lists and dicts of them"
            fix = f"They are left out: pass them to load_from_checkpoint. self.save_hyperparameters(ignore={new}) says so."
            warnings.warn(check.message(type(self).__name__, came, needed, fix), stacklevel=2)
        if not kept and not left_out:
            return {}
        content: dict[str, Any] = {self.CHECKPOINT_HYPER_PARAMS_KEY: kept}
        if self.__dict__.get("_hparams_name"):
            content[NAME] = self.__dict__["_hparams_name"]
        return {**content, LEFT_OUT: left_out} if left_out else content

    @classmethod
    def built_from(cls, content: Mapping[str, Any], hparams_file: Any, given: dict[str, Any]) -> Self:
        """An object with the hyperparameters of a checkpoint; those of ``hparams_file`` count more, and those ``given`` most."""
        kept = dict(content.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}))
        if hparams_file is not None:
            kept.update(storage.read_table(hparams_file))
        name = str(content.get(NAME))
        parameters = inspect.signature(cls.__init__).parameters
        if name in parameters and parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
            kept = {name: AttributeDict(kept)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            kept = {key: value for key, value in kept.items() if key in parameters}
        arguments = {**kept, **given}
        needed = [
            key
            for key, p in list(parameters.items())[1:]
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        missing = [key for key in needed if key not in arguments]
        if missing:
            came = f"the checkpoint has the hyperparameters {sorted(kept)}"
            fix = f"Pass them: load_from_checkpoint(path, {', '.join(f'{key}=...' for key in missing)})."
            raise TypeError(check.message(f"{cls.__name__}.load_from_checkpoint", came, f"__init__ needs {missing}, too", fix))
        return cls(**arguments)


def _arguments_of(owner: object, frame: FrameType | None) -> dict[str, Any]:
    """The arguments of the ``__init__`` that runs for ``owner``, and of those of subclasses that called it, which count more."""
    found: dict[str, Any] = {}
    while frame is not None:
        values = inspect.getargvalues(frame)
        mine = bool(values.args) and values.locals.get(values.args[0]) is owner
        if frame.f_code.co_name == "__init__" and mine:
            found.update({name: values.locals[name] for name in values.args[1:] if name in values.locals})
            start = frame.f_code.co_argcount
            only = frame.f_code.co_varnames[start : start + frame.f_code.co_kwonlyargcount]
            found.update({name: values.locals[name] for name in only if name in values.locals})
            found.update(values.locals.get(values.keywords or "", {}))
        elif found and not mine:
            break
        frame = frame.f_back
    return found


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever an object of the user cannot copy
        return value
