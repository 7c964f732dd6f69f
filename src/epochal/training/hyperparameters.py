"""``save_hyperparameters``: what a module or datamodule was built with."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any


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

    def save_hyperparameters(self, *names: Any, ignore: Iterable[str] | str = (), frame: Any = None, logger: bool = True) -> None:
        """Keep the arguments of the ``__init__`` that calls this, all or those named, or the values of a dict."""
        frame = frame or inspect.currentframe().f_back  # type: ignore[union-attr]  # CPython has frames
        skip = {ignore} if isinstance(ignore, str) else set(ignore)
        if len(names) == 1 and not isinstance(names[0], str):
            given = dict(names[0] if isinstance(names[0], dict) else vars(names[0]))
        else:
            values = inspect.getargvalues(frame)
            given = {name: values.locals[name] for name in values.args[1:]}
            given.update(values.locals.get(values.keywords or "", {}))
            given = {name: value for name, value in given.items() if not names or name in names}
        self.hparams.update({name: value for name, value in given.items() if name not in skip})
        self.__dict__["_log_hparams"] = logger

    @property
    def hparams(self) -> AttributeDict:
        """What was kept."""
        found: AttributeDict = self.__dict__.setdefault("_hparams", AttributeDict())
        return found

    @property
    def hparams_to_log(self) -> dict[str, Any]:
        """What loggers are told."""
        return dict(self.hparams) if self.__dict__.get("_log_hparams", True) else {}
