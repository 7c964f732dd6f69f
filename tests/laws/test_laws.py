"""Every public metric obeys every law, on every example of it."""

from __future__ import annotations

import inspect

import pytest
import torch

import epochal
from epochal import testing
from epochal.metric import Metric
from tests.laws.examples import ABSTRACT, EXAMPLES, ROOMS


def discovered() -> dict[str, type[Metric]]:
    """Every metric that the library or a domain of it exports."""
    found = {}
    for room in ROOMS:
        module = getattr(epochal, room) if room else epochal
        for name in module.__all__:
            exported = getattr(module, name)
            if inspect.isclass(exported) and issubclass(exported, Metric):
                found[name] = exported
    return found


PUBLIC = discovered()
CASES = [example for name in PUBLIC if EXAMPLES.get(name) for example in EXAMPLES[name]]


def test_every_metric_has_an_example():
    missing = sorted(set(PUBLIC) - set(EXAMPLES) - ABSTRACT)
    assert not missing, f"no example in tests/laws/rows for {', '.join(missing)}"


def test_every_example_is_of_a_metric():
    stale = sorted(set(EXAMPLES) - set(PUBLIC))
    assert not stale, f"examples of what the library does not export: {', '.join(stale)}"


@pytest.mark.parametrize("example", CASES, ids=str)
def test_laws(example):
    """All of them, so that one report names every law that is broken."""
    broken = []
    for name, law in testing.LAWS.items():
        try:
            law(example.case())
        except Exception as error:  # the law's own message, or what the metric raised
            broken.append(f"{name}: {type(error).__name__}: {error}")
    assert not broken, "\n".join(broken)


DTYPES = [torch.int32, torch.int16, torch.uint8, torch.uint16, torch.uint32, torch.uint64]


def labelled(value, dtype):
    """Labels in another dtype, wherever they stand."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype == torch.int64 and bool(((value >= 0) & (value < 256)).all()) else value
    if isinstance(value, dict):
        return {key: labelled(item, dtype) for key, item in value.items()}
    return type(value)(labelled(item, dtype) for item in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - ABSTRACT))
def test_labels_may_be_integers_of_any_dtype(name):
    for example in EXAMPLES[name]:
        case = example.case()
        for dtype in DTYPES:
            batches = labelled(case.batches, dtype)
            found = case.fed(batches).compute()
            wanted = case.fed(case.batches).compute()
            torch.testing.assert_close(found, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True, check_dtype=False)
