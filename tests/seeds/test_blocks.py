"""Code that users wrote for torchmetrics and Lightning, in all the styles of their documents, runs with other imports.

Each file in ``blocks`` is a block of a document: its text after the mark is the author's, but for the imports and for what the
author left out, which is marked by ``# ...``.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from epochal.training import LightningModule
from epochal.training.hooks import overridden
from tests.training.toys import CLASSES, loader, trainer

BLOCKS = Path(__file__).parent / "blocks"
PATHS = sorted(path for path in BLOCKS.glob("*/*.py") if path.name != "__init__.py")
MARK, FILLED = "# --- the block", "# ..."
DOCUMENTS = Path(os.environ.get("EPOCHAL_TEST_DATA", "nowhere")).parent / "seeds"
ROOMS = {"metrics_of_old": "000", "metrics": "001", "auto_reduce": "002", "article": "003", "loggers": "004"}
NEEDS_A_NETWORK = "metrics/rank_zero.py"  # its test stands in test_metrics.py
IN_PARTS = ("auto_reduce",)  # a base class, whose test defines the rest

needs_documents = pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="the documents are beside the data of the tests")


def name(path: Path) -> str:
    return path.relative_to(BLOCKS).as_posix()


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_a_block_runs(path, tmp_path, monkeypatch, request):
    """It is imported; a module in it is fitted and validated. What comes of it is the subject of the other tests."""
    if path.stem == "remote":
        request.getfixturevalue("bucket")
    monkeypatch.chdir(tmp_path)
    block = importlib.import_module(".".join(("tests.seeds.blocks", path.parent.name, path.stem)))
    if name(path) == NEEDS_A_NETWORK or path.parent.name in IN_PARTS:
        return
    for found in vars(block).values():
        if isinstance(found, type) and issubclass(found, LightningModule) and found.__module__ == block.__name__:
            run_once(found(*[CLASSES] * ("num_classes" in inspect.signature(found).parameters)))


def run_once(module: LightningModule) -> None:
    run = trainer(log_every_n_steps=1)
    validates = overridden(module, "validation_step", LightningModule)
    own = overridden(module, "val_dataloader", LightningModule)
    if overridden(module, "training_step", LightningModule):
        run.fit(module, loader(), loader(29, seed=1) if validates else None)
    else:
        run.validate(module, None if own else loader(29, seed=1), verbose=False)
    assert run.callback_metrics


# --- the documents -----------------------------------------------------------------------------------------------------------

STATEMENT = re.compile(
    r"(class \w+\(|(def|from|import|k|items|trainer|logger|batch_value|val)\b|@|Trainer\(|return ).*[\w)\]:]|self\..*\)"
)
PROSE = ("self.metric.update()", "from pytorchlightning import metrics")  # what to use, and what to replace
RENAMED = {
    "import epochal as torchmetrics": "import torchmetrics",
    "epochal.training": "pytorch_lightning",
    "from epochal import": "from torchmetrics import",
}


def lines_of(path: Path) -> list[str]:
    """The author's lines of a block, less the space around them, with the names that the author imported."""
    text = path.read_text().split(MARK + "\n")[1]
    for ours, theirs in RENAMED.items():
        text = text.replace(ours, theirs)
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.endswith(FILLED)]


def document(room: str) -> list[str]:
    """A document's lines, without those that leave something out; of a difference, both sides as they are in the end."""
    (path,) = DOCUMENTS.glob(f"{ROOMS[room]}*")
    lines = [re.sub(r"^\+ *", "", line).strip(" `") for line in path.read_text().splitlines() if not re.match(r"-\s{4}", line)]
    return [line for line in lines if line and line not in ("...", FILLED)]


def same(ours: str, theirs: str) -> bool:
    """Whether a line is the author's, where ``(...)`` stands for any arguments."""
    return bool(re.fullmatch(re.escape(theirs).replace(re.escape("(...)"), r"\(.*\)"), ours))


@needs_documents
@pytest.mark.parametrize("path", PATHS, ids=name)
def test_a_block_is_what_its_author_wrote(path):
    ours, theirs = lines_of(path), document(path.parent.name)
    assert ours
    starts = range(len(theirs) - len(ours) + 1)
    assert any(all(map(same, ours, theirs[start : start + len(ours)])) for start in starts), "\n".join(ours)


@needs_documents
@pytest.mark.parametrize("room", ROOMS)
def test_no_block_is_forgotten(room):
    """Each line of a document that is a statement stands in a block of its room, as often as there."""
    ours = Counter(line for path in PATHS if path.parent.name == room for line in lines_of(path))
    theirs = Counter(line for line in document(room) if STATEMENT.fullmatch(line) and line not in PROSE)
    missing = {line: count for line, count in theirs.items() if count > sum(n for mine, n in ours.items() if same(mine, line))}
    assert not missing
