"""Which examples are compiled: every metric of fixed-shape state, and every variant of a family on one of its members.

A compiled example costs half a second, and there are hundreds. What makes another graph is how raw input becomes a statistic (the
``measure``, the dtypes and dimensions that come) and how that is read (averages and the like, which the rows of a family name
alike). So each class is compiled once, and each variant of a statistic once, by the class that has the fewest so far: Precision's
weighted average is left out where FBetaScore's is taken. Not compiled, all examples go the way of compiled code
(``test_synchronisation.py``, ``epochal.testing.deferred_checks``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from torch import Tensor

from epochal.metric import Metric, leaves
from epochal.resplit import Batch, chunks, items, join
from epochal.wrappers import MinMaxMetric
from tests.laws.examples import EXAMPLES, Example

SIZES = (5, 5, 5, 5, 3, 3, 3, 3, 6, 6, 6, 6)  # of twelve steps


def is_fixed(metric: Metric) -> bool:
    """Whether no state of a metric, or of those in it, is a list that grows, and none says that it cannot be compiled."""

    def grows(leaf: Metric) -> bool:
        return not isinstance(leaf, MinMaxMetric) and any(isinstance(field, list) for field in leaf.metric_state.values())

    return not any(leaf.uncompiled or grows(leaf) for leaf in leaves(metric))


FIXED = [example for rows in EXAMPLES.values() for example in rows if is_fixed(example.make())]


def variant(example: Example) -> Hashable:
    """What another class of the family may stand for."""
    metric = example.make()
    own = example.cls if metric.measured_by() is None else type(metric).measure
    came = tuple(
        (value.dtype, value.ndim) if isinstance(value, Tensor) else type(value) for _, value in items(example.batches()[0])
    )
    return own, came, example.variant


def chosen() -> list[Example]:
    """The examples to compile."""
    found: dict[Hashable, list[Example]] = {}
    for example in FIXED:
        found.setdefault(variant(example), []).append(example)
    picked, taken = [], Counter[str]()
    for candidates in sorted(found.values(), key=len):  # the rare ones first: they leave no choice
        best = min(candidates, key=lambda example: taken[example.cls])
        picked.append(best)
        taken[best.cls] += 1
    firsts = {example.cls: example for example in reversed(FIXED)}
    return [*picked, *(first for name, first in firsts.items() if not taken[name])]


CHOSEN = chosen()
FIRSTS = list({example.cls: example for example in reversed(CHOSEN)}.values())


def steps(example: Example) -> list[Batch]:
    """Data for twelve steps, of three sizes in turn; as they are, again and again, where they cannot be joined."""
    batches = list(example.batches())
    whole = None if example.options.get("resplit") is False else join(batches * 3)
    return (batches * 12)[:12] if whole is None else list(chunks(whole, SIZES))
