"""Input checks: who passes, and what the others are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from epochal import check
from tests import toys
from tests.core.test_metric import grammatical

A, B = torch.ones(2, 3), torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check.same_shape("M", preds=A, target=B), ValueError, ["preds has shape (2, 3)", "target has shape (3, 2)"]),
        (lambda: check.same_shape("M", preds=[1], target=B), TypeError, ["preds is a list", "torch.as_tensor(preds)"]),
        (lambda: check.tensors("M", x=np.ones(2)), TypeError, ["x is a ndarray"]),
        (lambda: check.floating("M", preds=A.long()), TypeError, ["preds has dtype torch.int64", "preds.float()"]),
        (lambda: check.integers("M", target=A), TypeError, ["target has dtype torch.float32", "target.long()"]),
        (lambda: check.real("M", x=A.to(torch.complex64)), TypeError, ["x has dtype torch.complex64"]),
        (lambda: check.choice("M", "average", "macr", ["micro", "macro"]), ValueError, ["'macr'", "Did you mean 'macro'?"]),
        (lambda: check.number("M", "beta", "1", 0), TypeError, ["beta is '1'"]),
        (lambda: check.number("M", "beta", True, 0), TypeError, ["beta is True"]),
        (lambda: check.number("M", "beta", 1.5, 0, 1), ValueError, ["beta is 1.5", "[0, 1]"]),
        (lambda: check.number("M", "beta", float("nan"), 0, 1), ValueError, ["beta is nan"]),
        (lambda: check.whole("M", "top_k", 1.0, 1), TypeError, ["top_k is 1.0", "integer"]),
        (lambda: check.whole("M", "top_k", 0, 1), ValueError, ["top_k is 0", "at least 1"]),
        (lambda: check.unknown_arguments("M", {"avarage": 1}, ["average", "top_k"]), TypeError, ["'avarage'", "'average'?"]),
    ],
)
def test_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    text = grammatical(caught.value, "M")
    assert all(word in text for word in words), text


def test_accepted():
    check.same_shape("M", preds=A, target=A.long())
    check.floating("M", x=A.half())
    check.integers("M", x=A.bool(), y=A.to(torch.uint8))
    check.real("M", x=A.long())
    check.choice("M", "average", None, ["micro", None])
    check.number("M", "beta", 0, 0, 1)
    check.whole("M", "top_k", 1, 1)
    check.unknown_arguments("M", {}, [])


def test_a_metric_is_named_by_its_class():
    with pytest.raises(ValueError, match=r"^Mean: x is 1, but 2 is needed\.$"):
        check.fail(toys.Mean(), "x is 1", "2 is needed")


def test_values_are_looked_at_only_where_it_is_free():
    cpu = torch.device("cpu")
    assert check.reads_values(cpu)
    assert not check.reads_values(torch.device("meta"))
    with check.deferred():
        assert not check.reads_values(cpu)
    assert check.reads_values(cpu)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "said"),
    [
        (lambda preds, target: 0, (A,), {}, "missing a required argument: 'target'"),
        (lambda preds, target: 0, (A, A, A), {}, "too many positional arguments"),
        (lambda preds: 0, (A,), {"targt": A}, "targt"),
    ],
)
def test_a_call_that_does_not_fit(function, args, kwargs, said):
    with pytest.raises(TypeError) as caught:
        check.call("M", function, args, kwargs)
    assert said in grammatical(caught.value, "M")


def test_a_call_that_fits_is_none_of_its_business():
    assert check.call("M", lambda x: 0, (A,), {}) is None
