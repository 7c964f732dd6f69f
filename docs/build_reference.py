"""Write docs/reference.md, the list of all public names, from the code: ``python docs/build_reference.py``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import epochal

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Reference

All public names, by room, each with the first line of its docstring; `help(name)` shows the rest. This page is
written by `python docs/build_reference.py`; do not edit it.
"""
MODULES = ("epochal.aggregation", "epochal.testing")  # rooms that are one file


def rooms() -> list[str]:
    """Every package with public names, and the functions of each beside its classes; in the order of reading."""
    found = [info.name for info in pkgutil.walk_packages(epochal.__path__, "epochal.") if info.ispkg]
    functions = [
        info.name for info in pkgutil.iter_modules(importlib.import_module("epochal.functional").__path__, "epochal.functional.")
    ]

    def place(room: str) -> tuple[bool, bool, str, bool]:
        domain = room.replace(".functional", "", 1)
        return room != "epochal", domain.startswith(("epochal.training", "epochal.testing")), domain, room != domain

    return sorted({"epochal", *MODULES, *found, *functions} - {"epochal.functional"}, key=place)


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
    for room in rooms():
        rows = "".join(f"| `{name}` | {summary(thing)} |\n" for name, thing in names(room))
        about = summary(importlib.import_module(room))
        parts.append(f"## {room}\n\n{about}\n\n| name | is |\n|---|---|\n{rows}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
