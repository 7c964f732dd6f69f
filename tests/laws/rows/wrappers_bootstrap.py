"""Examples of the bootstrap, of a metric of each kind that it treats in its own way."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch

import epochal
from epochal.metric import Metric
from epochal.wrappers import BootStrapper
from tests.laws.data import CLASSES, each, labels, numbers, one_of_many, row, yes_or_no

ALL = {"num_bootstraps": 4, "quantile": [0.1, 0.9], "raw": True}


def boot(base: str, arguments: Mapping[str, Any], **options: Any) -> Metric:
    metric = getattr(epochal.classification, base, None) or getattr(epochal, base)
    return BootStrapper(metric(**arguments), **ALL, **options)


CASES = [
    ("MulticlassF1Score", one_of_many()["scores"], {"num_classes": CLASSES}),
    ("BinaryAccuracy", yes_or_no()["logits"], {}),
    ("MeanSquaredError", numbers(inputs=2), {}),
    ("MeanMetric", each(lambda n, g: (torch.randn(n, generator=g), torch.rand(n, generator=g) + 0.5)), {}),
    ("MaxMetric", numbers(), {}),
    ("Accuracy", each(lambda n, g: (labels(3, n, g=g), labels(3, n, g=g))), {}),  # decides by the first batch: copies
]
for base, batches, arguments in CASES:
    for strategy in ("poisson", "multinomial"):
        build = functools.partial(boot, base, arguments, sampling_strategy=strategy)
        row("BootStrapper", f"{base}-{strategy}", batches, build=build, resplit=False)
row(
    "BootStrapper",
    "of a formula",
    numbers(inputs=2),
    build=lambda: BootStrapper(2 * epochal.MeanSquaredError() + 1, **ALL),
    resplit=False,
)
