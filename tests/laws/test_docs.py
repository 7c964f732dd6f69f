"""docs/algebra.md names every law, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from epochal import testing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "algebra.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_law_is_explained():
    table = PAGE[PAGE.index("| law |") : PAGE.index("Integers are compared")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(testing.LAWS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_named_tests_exist(name):
    assert f"def {name}(" in TESTS


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:src|tests)/[\w/]+\.py)`", PAGE))))
def test_named_files_exist(path):
    assert (ROOT / path).is_file()
