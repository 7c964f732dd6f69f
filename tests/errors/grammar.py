"""The one grammar of errors, and that an error leaves a metric as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from epochal.metric import Metric

GRAMMAR = r"^{name}: .+, but .+\."


def grammatical(error: BaseException, name: str, words: Sequence[str] = ()) -> str:
    text = str(error)
    assert re.match(GRAMMAR.format(name=name), text, re.DOTALL), text
    missing = [word for word in words if word not in text]
    assert not missing, f"{text!r} does not say {missing}"
    return text


def refused(call: Callable[[], Any], error: type[Exception], name: str, words: Sequence[str] = ()) -> str:
    """The text of the error that ``call`` raises, of this very type and in our grammar."""
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error, caught.type
    return grammatical(caught.value, name, words)


def content(metric: Metric) -> dict[str, Any]:
    """All that a metric and those in it hold."""
    held: dict[str, Any] = {}
    for path, leaf in metric.named_modules():
        if isinstance(leaf, Metric):
            held[path + ".count"] = leaf.update_count
            for name, field in leaf.metric_state.items():
                parts = field if isinstance(field, list) else [field]
                held[f"{path}.{name}"] = [part.clone() if isinstance(part, Tensor) else part for part in parts]
    return held


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(7e7), b.nan_to_num(7e7))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
