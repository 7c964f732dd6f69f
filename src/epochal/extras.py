"""Libraries that an extra of the package brings, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from epochal import check


def library(owner: object, extra: str, module: str, needed: str = "it is needed") -> Any:
    """A module, or an error that names the extra.

    Raises:
        ModuleNotFoundError: it, or a module that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        fix = f"Install it by: pip install epochal[{extra}]"
        name = (error.name or module).partition(".")[0]
        raise ModuleNotFoundError(check.message(owner, f"{name} is not installed", needed, fix)) from error
