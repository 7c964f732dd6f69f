"""Calls that users of torchmetrics already type: its positional order and defaults are a prefix of ours, ours come by keyword.

``contract.json`` lists names, arguments and defaults of the whole interface; what does not exist here yet is not tested.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

import epochal
from epochal.metric import Metric
from tests.laws.examples import EXAMPLES, ROOMS

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text())
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def exported() -> dict[str, object]:
    modules = [getattr(epochal, room) if room else epochal for room in ROOMS]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


OURS = exported()
THEIRS = {name: facts for room in CONTRACT["metrics"].values() for name, facts in room.items()}
CLASSES = sorted(OURS.keys() & THEIRS)
FUNCTIONS = {
    name: arguments
    for room in CONTRACT["functional"].values()
    for name, arguments in room.items()
    if name in epochal.functional.__all__
}


def parsed(arguments: str) -> list[inspect.Parameter]:
    namespace: dict = {}
    exec(f"def call({arguments}): ...", namespace)
    return list(inspect.signature(namespace["call"]).parameters.values())


def differences(ours: inspect.Signature, theirs: str) -> list[str]:
    """In words, what a call that they take would meet here."""
    mine, out = dict(ours.parameters), []
    order = [name for name, parameter in mine.items() if parameter.kind in POSITIONAL]
    wanted = parsed(theirs)
    names = [parameter.name for parameter in wanted if parameter.kind in POSITIONAL]
    takes_all = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in mine.values())
    if order[: len(names)] != names and not takes_all:
        out.append(f"positional arguments are {order}, but {names} come first")
    for parameter in wanted:
        if parameter.kind in VARIABLE or parameter.name not in mine:
            continue
        own = mine[parameter.name].default
        expected = None if parameter.name == "task" else parameter.default
        required = expected is parameter.empty  # then a default of ours breaks no call
        if own != expected and not required:
            out.append(f"{parameter.name} defaults to {own!r}, but {expected!r} is expected")
    for name, parameter in mine.items():
        if name not in names and parameter.kind in POSITIONAL and not any(p.name == name for p in wanted):
            out.append(f"{name} is an addition, but not keyword-only")
    if any(p.kind is p.VAR_KEYWORD for p in wanted) and not any(p.kind is p.VAR_KEYWORD for p in mine.values()):
        out.append("the keyword arguments of every metric are not taken")
    return out


@pytest.mark.parametrize("name", CLASSES)
def test_class(name):
    assert differences(inspect.signature(OURS[name]), THEIRS[name]["init"]) == []


@pytest.mark.parametrize("name", CLASSES)
def test_update(name):
    theirs = THEIRS[name]["update"]
    cls = OURS[name]
    if any(parameter.kind in VARIABLE for parameter in parsed(theirs)):
        return  # a family, or a metric of metrics: its members are tested by name
    takes = cls.measure if cls.measure is not Metric.measure else cls.update
    arguments = list(inspect.signature(takes).parameters.values())[1:]
    assert differences(inspect.Signature(arguments), theirs) == []


WRONG = {"WordInfoPreserved"}  # what is preserved of a perfect text is 1: docs/differences.md


@pytest.mark.parametrize("name", [name for name in CLASSES if "higher_is_better" in THEIRS[name] and name not in WRONG])
def test_higher_is_better(name):
    assert str(OURS[name].higher_is_better) == THEIRS[name]["higher_is_better"]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_function(name):
    assert differences(inspect.signature(getattr(epochal.functional, name)), FUNCTIONS[name]) == []


CORE = [(cls, method) for cls, facts in CONTRACT["core"].items() for method in ["__init__", *facts["methods"]]]


@pytest.mark.parametrize(("cls", "method"), CORE)
def test_core(cls, method):
    facts = CONTRACT["core"][cls]
    theirs = facts["init"] if method == "__init__" else facts["methods"][method]
    member = inspect.getattr_static(getattr(epochal, cls), method)
    if isinstance(member, property):
        assert theirs == ""
        return
    arguments = list(inspect.signature(getattr(getattr(epochal, cls), method)).parameters.values())[1:]
    if theirs and all(parameter.kind in VARIABLE for parameter in parsed(theirs)):
        return  # whatever its statistic takes
    assert differences(inspect.Signature(arguments), theirs) == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_keyword_arguments_of_every_metric(name):
    """Taken with their defaults by every metric that takes any."""
    options = {key: eval(value) for key, value in CONTRACT["core"]["Metric"]["keyword_arguments"].items()}
    example = EXAMPLES[name][0]
    metric = example.make()
    assert {key: getattr(metric, key) for key in options} == options
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(type(metric)).parameters.values()):
        cls = example.build or OURS[name]
        changed = cls(**example.arguments, **{**options, "sync_on_compute": False, "compute_with_cache": False})
        assert not changed.sync_on_compute
        assert not changed.compute_with_cache


def test_the_comparison_finds_each_difference():
    def ours(a, b=1, *, more=None, **kwargs): ...

    signature = inspect.signature(ours)
    assert differences(signature, "a, b=1, **kwargs") == []
    assert differences(signature, "a, b=1") == []
    assert "come first" in differences(signature, "b, a")[0]
    assert "defaults to 1" in differences(signature, "a, b=2")[0]
    assert "not keyword-only" in differences(signature, "a")[0]
    assert "keyword arguments" in differences(inspect.signature(lambda a: 0), "a, **kwargs")[0]
    assert differences(inspect.signature(lambda task=None: 0), "task") == []
    assert differences(inspect.signature(lambda task: 0), "task") != []
