"""What the documents show runs, and prints what they say."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from epochal.testing import check_metric

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def blocks(page: str) -> list[str]:
    return PYTHON.findall((ROOT / page).read_text())


def marked(page: str, mark: str = "traps") -> str:
    found = re.search(rf"<!-- {mark} -->\n(.*)\n<!-- /{mark} -->", (ROOT / page).read_text(), re.DOTALL)
    assert found is not None, page
    return found[1]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_traps_is_what_the_script_prints():
    """All of it in the list of differences, some rows in the README."""
    printed = subprocess.run(
        [sys.executable, ROOT / "examples" / "traps.py"], capture_output=True, text=True, check=True, timeout=300
    ).stdout.strip()
    assert marked("docs/differences.md") == printed
    some, every = marked("README.md").splitlines(), printed.splitlines()
    assert len(some) > 2
    assert some == [line for line in every if line in some]
    rows = [cells(line) for line in every[2:]]
    for what, definition, theirs, ours in rows:
        assert ours == definition, what
        assert theirs != definition, f"{what}: no longer a trap"


def test_speeds_in_the_readme_are_those_of_the_page_of_benchmarks():
    measured = {}
    for line in (ROOT / "docs" / "benchmarks.md").read_text().splitlines():
        if row := re.fullmatch(r"(\S.*?) +([\d.]+) *([\d.]+) (?:µs|steps|calls|times|updates) +([\d.]+)(?:  .*)?", line):
            measured[row[1]] = float(row[4])
    rows = [cells(line) for line in marked("README.md", "speed").splitlines()[2:]]
    assert len(measured) > 150
    assert len(rows) > 5
    for what, _, times in rows:
        assert float(times) == pytest.approx(measured[what], abs=0.051), what


@pytest.mark.parametrize("block", range(len(blocks("README.md"))))
def test_the_code_of_the_readme_runs(block, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", blocks("README.md")[block]], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr


def test_the_metric_of_the_guide_is_lawful(tmp_path, monkeypatch):
    imports = (
        "import torch\nfrom collections.abc import Hashable\nfrom torch import Tensor\nfrom typing_extensions import Unpack\n"
        "from epochal import check\nfrom epochal.metric import Metric, MetricOptions, State, fixed\n"
        "from epochal.numeric import count, wide\n"
    )
    (tmp_path / "guide.py").write_text(imports + blocks("docs/adding-a-metric.md")[0])  # a file, so that pickle finds it
    monkeypatch.syspath_prepend(tmp_path)
    guide = importlib.import_module("guide")
    generator = torch.Generator().manual_seed(0)
    batches = [tuple(torch.randn(n, generator=generator) for _ in range(2)) for n in (5, 1, 7)]
    check_metric(guide.MeanAbsoluteError, batches, function=guide.mean_absolute_error)
    preds, target = (torch.cat(part) for part in zip(*batches, strict=True))
    torch.testing.assert_close(guide.mean_absolute_error(preds, target), (preds - target).abs().mean())


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_rows_stand_in_tables(page):
    """A row after a list or a paragraph is shown as text."""
    lines = page.read_text().splitlines()
    tables = [i for i, line in enumerate(lines) if re.fullmatch(r"\|[-:| ]+\|", line)]
    inside = {j for i in tables for j in range(i - 1, next((k for k in range(i, len(lines)) if lines[k][:1] != "|"), len(lines)))}
    outside = [line for i, line in enumerate(lines) if line.startswith("|") and i not in inside]
    assert not outside
