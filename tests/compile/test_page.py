"""docs/compilation.md names every metric that says why it is not compiled, in its words."""

from __future__ import annotations

import re
from pathlib import Path

from epochal.metric import leaves
from tests.laws.examples import EXAMPLES

PAGE = (Path(__file__).parents[2] / "docs" / "compilation.md").read_text()


def test_every_reason_is_on_the_page():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", PAGE, re.MULTILINE)
    listed = {(name, why) for names, why in rows for name in re.findall(r"\w+", names)}
    metrics = [metric for examples in EXAMPLES.values() for example in examples for metric in leaves(example.make())]
    assert listed == {(type(metric).__name__, metric.uncompiled) for metric in metrics if metric.uncompiled}


def test_named_files_exist():
    paths = re.findall(r"`((?:src|tests|benchmarks)/[\w/]+\.py)`", PAGE)
    assert paths
    assert all((Path(__file__).parents[2] / path).is_file() for path in paths)
