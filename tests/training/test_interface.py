"""Every name that users of Lightning type, from ``contract.json``: there, with the same positional order and defaults.

What is different on purpose stands in DIFFERENT with its reason. Classes that do not exist here yet are not tested.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

import epochal.training as pl
from tests.laws.test_signatures import VARIABLE, differences, parsed
from tests.training.toys import Model, loader, trainer

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text())
CONTRACT.pop("about")
HOOKS = ("ModelHooks", "DataHooks", "CheckpointHooks")  # of the module; those of data are the datamodule's as well
DIFFERENT = {
    ("LightningModule", "log"): "sync_dist has a third value, None, which merges what an epoch's end needs",
    ("LightningModule", "log_dict"): "the same",
    ("LightningModule", "forward"): "torch's, which has no arguments until a user defines it",
    ("LightningModule", "toggle_optimizer"): "optimizer_idx of Lightning 1.x is taken, too",
}
RUN = ("Trainer", "LightningModule", "ModelHooks", "DataHooks", "CheckpointHooks", "LightningDataModule", "Callback")


def owners(name):
    """The classes here that answer to a class of the contract."""
    if name in HOOKS:
        return [pl.LightningModule] + [pl.LightningDataModule] * (name == "DataHooks")
    found = [getattr(room, name, None) for room in (pl, pl.callbacks, pl.loggers)]
    return [cls for cls in found if cls is not None][:1]


MEMBERS = [
    pytest.param(cls, member, theirs, id=f"{cls.__name__}.{member}")
    for name, members in CONTRACT.items()
    for cls in owners(name)
    for member, theirs in members.items()
    if name in RUN or member == "__init__"
    if not member.startswith("early_stopping") or owners("EarlyStopping")
]
OBJECT = re.compile(r"=[A-Z]\w+(\(\)|\.\w+)")  # a default that is an object of theirs


@pytest.fixture(scope="module")
def ran():
    """What there is once a run was."""
    module, data, callback = Model(), pl.LightningDataModule(), pl.Callback()
    run = trainer(callbacks=callback)
    run.fit(module, loader(8, 8))
    return {pl.Trainer: run, pl.LightningModule: module, pl.LightningDataModule: data, pl.Callback: callback}


@pytest.mark.parametrize(("cls", "member", "theirs"), MEMBERS)
def test_a_name_is_there_and_takes_the_same(cls, member, theirs, ran):
    if theirs == "property":
        assert hasattr(ran[cls], member)
        return
    found = inspect.getattr_static(cls, member)
    arguments = list(inspect.signature(getattr(cls, member)).parameters.values())
    bound = isinstance(found, classmethod | staticmethod)
    theirs = OBJECT.sub("=...", theirs)
    missing = {parameter.name for parameter in parsed(theirs) if parameter.kind not in VARIABLE} - {one.name for one in arguments}
    assert not missing
    found = differences(inspect.Signature(arguments if bound else arguments[1:]), theirs)
    found = [text for text in found if not text.endswith("Ellipsis is expected")]
    assert bool(found) == ((cls.__name__, member) in DIFFERENT), found


def test_the_whole_interface_of_a_run_is_compared():
    compared = {param.values[0] for param in MEMBERS}
    assert {pl.Trainer, pl.LightningModule, pl.LightningDataModule, pl.Callback} <= compared
    assert all(owners(name) for name in RUN)
    assert len(MEMBERS) > 200
