"""What text metrics take: texts and those that they are compared with, as lists of strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric

Texts: TypeAlias = str | Sequence[str]  # a text, or several
References: TypeAlias = str | Sequence[str] | Sequence[Sequence[str]]  # of each text one, or several


class TextMetric(Metric):
    """Base of metrics of strings: read in Python, counted into tensors."""

    is_differentiable = False
    uncompiled = "text is read in Python"

    def counts(self, numbers: Any) -> Tensor:
        """Integers as a field of the state."""
        return torch.as_tensor(numbers, dtype=torch.int64, device=self.device)


def pairs(metric: Metric, preds: Texts, target: Texts) -> tuple[Sequence[str], Sequence[str]]:
    """Texts, and as many targets; a single string is one text.

    Raises:
        TypeError: what is no string. ValueError: other numbers of both.
    """
    preds, target = texts(metric, "preds", preds), texts(metric, "target", target)
    same_number(metric, preds, target)
    return preds, target


def references(metric: Metric, preds: Texts, target: References) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Texts, and for each a list of references: of a single text all strings in ``target``, of several texts one each.

    Raises:
        TypeError: what is no string. ValueError: other numbers of both, or a text without a reference.
    """
    several = isinstance(target, Sequence) and all(isinstance(given, str) for given in target)
    nested = isinstance(target, Sequence) and not several
    if isinstance(preds, str) and not nested:
        target = [texts(metric, "target", target)]
    elif not nested:
        target = [[text] for text in texts(metric, "target", target)]
    else:
        target = [texts(metric, f"target[{i}]", given) for i, given in enumerate(target)]
    preds = texts(metric, "preds", preds)
    same_number(metric, preds, target)
    if not all(target):
        place = next(i for i, given in enumerate(target) if not given)
        check.fail(metric, f"target[{place}] is empty", "a reference of each text is needed")
    return preds, target


def texts(metric: Metric, name: str, given: Any) -> Sequence[str]:
    """One string as a list, or the strings."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list | tuple):
        raise TypeError(check.message(metric, f"{name} is a {type(given).__name__}", "a string or a list of strings is needed"))
    for kind in set(map(type, given)):
        if not issubclass(kind, str):
            place = next(i for i, text in enumerate(given) if not isinstance(text, str))
            raise TypeError(check.message(metric, f"{name}[{place}] is a {kind.__name__}", "a string is needed"))
    return given


def same_number(metric: Metric, preds: Sequence[Any], target: Sequence[Any]) -> None:
    if len(preds) != len(target):
        came = f"preds has {len(preds)} text{'s' * (len(preds) != 1)}"
        check.fail(metric, came, f"target has {len(target)}", "Pass a target for each.")
