"""``import epochal`` costs next to nothing on top of torch, and every public name is there when it is asked for."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import epochal

MODULES = ["epochal", "epochal.aggregation", "epochal.testing"]
FUNCTIONS = [info.name for info in pkgutil.iter_modules(epochal.functional.__path__, "epochal.functional.")]
ROOMS = [*MODULES, *FUNCTIONS, *(info.name for info in pkgutil.walk_packages(epochal.__path__, "epochal.") if info.ispkg)]
SOURCE = Path(importlib.import_module("epochal").__file__ or "").parent
HEAVY = ("torchmetrics", "lightning.pytorch", "pytorch_lightning", "matplotlib", "lightning.fabric", "lightning_fabric")
HEAVY += ("sklearn", "pandas", "tensorboard", "tqdm", "rich")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- cost ----------------------------------------------------------------------------------------------------------------

TIMED = """
import time
a = time.perf_counter()
import torch
b = time.perf_counter()
{}
c = time.perf_counter()
print((c - b) / (b - a))
"""


@pytest.mark.parametrize("statement", ["import epochal", "from epochal import Accuracy, MeanMetric, Metric, MetricCollection"])
def test_import_costs_a_small_part_of_torchs(statement):
    assert min(float(fresh(TIMED.format(statement))) for _ in range(3)) <= 0.15


USED = f"""
import sys, torch
before = set(sys.modules)
def loaded():
    return [name for name in {HEAVY} if name in set(sys.modules) - before]
import epochal
print(loaded())
epochal.MetricCollection([epochal.MeanMetric(), epochal.SumMetric()])(torch.tensor([1.0]))
epochal.classification.MulticlassF1Score(3)(torch.rand(4, 3), torch.tensor([0, 1, 2, 0]))
print(loaded())
"""


def test_importing_and_using_metrics_loads_neither_peers_nor_the_trainers_needs():
    assert fresh(USED).split("\n") == ["[]", "[]", ""]


def test_the_trainer_does_not_load_lightnings():
    code = "import sys, epochal.training\nepochal.training.Trainer\nprint([m for m in sys.modules if m.startswith(%r)])"
    for peer in ("lightning.", "pytorch_lightning"):  # lightning_fabric itself loads torchmetrics where that is installed
        assert fresh(code % peer).strip() == "[]"


def imported(tree: ast.AST) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_file_imports_a_peer(path):
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    assert not roots & {"torchmetrics", "lightning", "pytorch_lightning"}


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_resolves(room):
    module = importlib.import_module(room)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("room", ROOMS)
def test_star_brings_all_public_names_into_a_fresh_interpreter(room):
    code = f"import json\nfrom {room} import *\nimport {room}\nprint(json.dumps([n for n in {room}.__all__ if n not in globals()]))"
    assert json.loads(fresh(code)) == []


@pytest.mark.parametrize("room", ROOMS)
def test_an_unknown_name_is_an_attribute_error(room):
    with pytest.raises(AttributeError, match="NoSuchMetric"):
        importlib.import_module(room).NoSuchMetric


# --- the names that users of the peers type ----------------------------------------------------------------------------------

ALIASES = "import epochal as torchmetrics\nimport epochal.training as pl\n"

PROGRAMS = {
    "collection without a task": """
train_metrics = torchmetrics.MetricCollection(
    [torchmetrics.Accuracy(), torchmetrics.Precision(), torchmetrics.Recall(), torchmetrics.F1Score()]
)
assert list(train_metrics) == ["Accuracy", "Precision", "Recall", "F1Score"]
class BaseModule(pl.LightningModule):
    def __init__(self):
        self.train_metrics = train_metrics
assert BaseModule().train_metrics is train_metrics
""",
    "with a task": """
metrics = torchmetrics.MetricCollection({
    "accuracy": torchmetrics.classification.Accuracy(task="multiclass", num_classes=5),
    "f1": torchmetrics.classification.F1(task="multiclass", num_classes=5),
}, prefix="train_")
assert list(metrics) == ["train_accuracy", "train_f1"]
""",
    "a metric of the user's own": """
import torch
class MyAccuracy(torchmetrics.Metric):
    def __init__(self, dist_sync_on_step=False):
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        self.add_state("correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")
    def update(self, preds, target):
        self.correct += torch.sum(preds == target)
        self.total += target.numel()
    def compute(self):
        return self.correct.float() / self.total
assert float(MyAccuracy()(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 0]))) == 0.5
""",
    "training": """
for name in ("LightningModule", "LightningDataModule", "Trainer", "Callback", "seed_everything"):
    assert getattr(pl, name).__module__.startswith("epochal.")
from epochal.training.loggers import CSVLogger
from epochal.training.callbacks import TQDMProgressBar
""",
    "as modules": """
from epochal import Metric, MetricCollection, functional
from epochal.classification import BinaryAccuracy
from epochal.functional import accuracy
from epochal.functional.classification import multiclass_accuracy
from epochal.regression import MeanSquaredError
assert torchmetrics.functional.accuracy is accuracy and torchmetrics.MeanSquaredError is MeanSquaredError
""",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_code_of_the_peers_runs_under_their_names(program):
    fresh(ALIASES + PROGRAMS[program])


def test_each_stub_names_what_its_module_defines():
    """``lazy_loader`` reads the stubs: a name that is in one must be defined where it says, under the name it says."""
    for stub in SOURCE.rglob("__init__.pyi"):
        package = ".".join(("epochal", *stub.parent.relative_to(SOURCE).parts))
        for node in ast.walk(ast.parse(stub.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                source = importlib.import_module(f"{package}.{node.module}")
                for alias in node.names:
                    assert getattr(importlib.import_module(package), alias.asname or alias.name) is getattr(source, alias.name)
