"""An example of every public metric, by the name of its class: how it is built, and data. A metric without one fails the suite.

Collected from ``tests/laws/rows``, one file for each room, found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil

import tests.laws.rows
from tests.laws.data import EXAMPLES, ROOMS, Example, public

__all__ = ["ABSTRACT", "EXAMPLES", "ROOMS", "Example", "public"]

ABSTRACT = {
    "Metric",
    "Score",
    "BinaryScore",
    "MulticlassScore",
    "MultilabelScore",
    "AreaMetric",
    "MulticlassArea",
    "MultilabelArea",
    "CurveMetric",
    "MulticlassCurve",
    "MultilabelCurve",
    "BinaryRanked",
    "RankedMetric",
}  # exported for those who derive from them

for found in pkgutil.iter_modules(tests.laws.rows.__path__, "tests.laws.rows."):
    importlib.import_module(found.name)
