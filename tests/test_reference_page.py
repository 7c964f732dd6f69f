"""docs/reference.md names every public name of every room, as the code has it now."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import epochal

SCRIPT = Path(__file__).parents[1] / "docs" / "build_reference.py"


def loaded():
    spec = importlib.util.spec_from_file_location("build_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = loaded()
PAGE = reference.PAGE.read_text()
ENTRIES = {  # room -> what it names, as read from the page
    part.split("\n", 1)[0]: re.findall(r"^\| `(\w+)` \| (.*) \|$", part, re.MULTILINE) for part in PAGE.split("\n## ")[1:]
}


def packages():
    """The rooms: packages with public names."""
    found = pkgutil.walk_packages(epochal.__path__, "epochal.")
    return ["epochal", *(info.name for info in found if info.ispkg)]


def test_the_page_is_up_to_date():
    assert reference.page() == PAGE, "Run: python docs/build_reference.py"


@pytest.mark.parametrize("room", [*packages(), *reference.rooms()])
def test_no_public_name_is_missing(room):
    module = importlib.import_module(room)
    public = {name for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
    rooms = [room] if room in ENTRIES else [other for other in ENTRIES if other.startswith(f"{room}.")]
    named = {name for other in rooms for name, _ in ENTRIES[other]}
    assert public
    assert public <= named


def test_every_name_says_what_it_is():
    assert [(room, name) for room, entries in ENTRIES.items() for name, line in entries if not line.strip()] == []


def test_lines_are_markdown():
    assert not re.search(r":(class|meth|func|mod|attr):", PAGE)
    assert all(line.count("`") % 2 == 0 for line in PAGE.splitlines())


def test_a_name_without_a_line_would_be_noticed(monkeypatch):
    monkeypatch.setattr(epochal, "__all__", [*epochal.__all__, "NewMetric"])
    monkeypatch.setattr(epochal, "NewMetric", type("NewMetric", (), {"__doc__": "What is new."}), raising=False)
    assert "| `NewMetric` | What is new. |" in reference.page()
    assert reference.page() != PAGE
