"""Write docs/reference.md, the list of all public names, from the code: ``python docs/build_reference.py``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Reference

All public names, by room, each with the first line of its docstring; `help(name)` shows the rest. This page is
written by `python docs/build_reference.py`; do not edit it.
"""
ROOMS = {  # in the order of reading
    "epochal": "The core, and the metrics that most code asks for by these names.",
    "epochal.aggregation": "Mean, sum, extremes and rows of numbers.",
    "epochal.classification": "Classes for binary, multiclass and multilabel tasks, and those that take `task=`.",
    "epochal.functional.classification": "The same as functions of one batch; also in `epochal.functional`.",
    "epochal.regression": "Classes.",
    "epochal.functional.regression": "The same as functions of one batch; also in `epochal.functional`.",
    "epochal.training": "The trainer: `import epochal.training as pl`.",
    "epochal.training.callbacks": "",
    "epochal.training.loggers": "",
    "epochal.testing": "The laws, for metrics of your own.",
}


def summary(thing: Any) -> str:
    """The first line of a docstring as Markdown: the roles of Sphinx are code."""
    if isinstance(thing, dict):
        return f"Those of {', '.join(f'`{key}`' for key in thing)}."
    line = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    for role in (":class:", ":meth:", ":func:", ":mod:", ":attr:"):
        line = line.replace(f"{role}`~", role + "`").replace(role, "")
    return line.replace("``", "`").replace("|", "\\|")


def names(room: str) -> Iterator[tuple[str, Any]]:
    """The public names of a room that are no rooms themselves."""
    module = importlib.import_module(room)
    for name in sorted(module.__all__, key=lambda name: (name.lower(), name)):
        thing = getattr(module, name)
        if not inspect.ismodule(thing):
            yield name, thing


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for room, about in ROOMS.items():
        rows = "".join(f"| `{name}` | {summary(thing)} |\n" for name, thing in names(room))
        parts.append(f"## {room}\n\n{about + chr(10) * 2 if about else ''}| name | is |\n|---|---|\n{rows}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
