"""``torch.func.vmap`` over ``measure``: the statistics of several batches at once, as a loop gives them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from epochal import check
from epochal.metric import Metric
from epochal.resplit import items
from epochal.testing import difference
from tests.compile.choice import FIXED

MEASURED = [
    example
    for example in FIXED
    if type(example.make()).measure is not Metric.measure
    and all(isinstance(value, Tensor) for _, value in items(example.batches()[0]))
]


@pytest.mark.parametrize("example", MEASURED, ids=str)
def test_vmap(example):
    measure, batch = example.make().measure, [value for _, value in items(example.batches()[2])]
    stacked = [torch.stack([x, x.flip(0), x.roll(1, 0)] if x.ndim else [x, x + 1, x - 1]) for x in batch]
    mapped = torch.func.vmap(measure)(*stacked)
    for row in range(3):
        with check.deferred():
            alone = measure(*(value[row] for value in stacked))
        found = {name: field[row] for name, field in mapped.items()}
        text = difference(found, {name: torch.as_tensor(field) for name, field in alone.items()}, rtol=1e-12, atol=0.0)
        assert text is None, text
