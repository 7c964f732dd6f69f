"""Whoever asks ``isinstance(value, torchmetrics.Metric)``, as Lightning's ``self.log`` does, is told yes.

Our metrics answer to the same calls. ``torchmetrics.Metric`` is an abstract base class, which knows virtual subclasses; it is never
imported from here: ours is registered when somebody else has imported it, or does so later.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["recognised_as"]

BASE = "torchmetrics.metric"


def recognised_as(ours: type) -> None:
    """Make ``ours`` a virtual subclass of ``torchmetrics.Metric``, as soon as that exists."""
    if hasattr(sys.modules.get(BASE), "Metric"):
        sys.modules[BASE].Metric.register(ours)
    else:
        sys.meta_path.insert(0, Awaiting(ours))


class Awaiting(MetaPathFinder):
    """Waits for the import of torchmetrics' base class, leaves it to the finders behind, and registers ours right after it."""

    def __init__(self, ours: type) -> None:
        self.ours = ours

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002  # a finder's
        if fullname != BASE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def then_register(module: ModuleType) -> None:
                execute(module)
                module.Metric.register(self.ours)

            spec.loader.exec_module = then_register  # type: ignore[method-assign]  # of this one loader
        return spec
