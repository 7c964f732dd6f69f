"""Every public metric on two uneven processes, and on three of which one has no data: the value of one process."""

from __future__ import annotations

import pytest

from epochal.metric import leaves
from epochal.testing import difference
from tests.laws.examples import EXAMPLES

BY_CLASS = sorted(EXAMPLES)  # one job for all examples of a class: the way to the processes costs more than an update


def values(rank, size, name):
    """For each example the value over all ranks, and whether the rest stayed; rank 0 has one batch, the third rank none."""
    out = []
    for example in EXAMPLES[name]:
        batches = example.case().batches
        mine = {0: batches[:1], 1: batches[1:]}.get(rank, [])
        metric = example.make()
        for batch in mine:
            metric.update(*batch)
        value = metric.compute()
        out.append((value, metric.update_count == len(mine), difference(metric.compute(), value, rtol=0, atol=0)))
    return out


def orderless(example) -> bool:
    return any(leaf.order_matters or leaf.random for leaf in leaves(example.make()))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", BY_CLASS)
def test_value_over_processes(pools, name, size):
    answers = pools[size].run(values, name)
    for index, example in enumerate(EXAMPLES[name]):
        case = example.case()
        ranks = [answer[index] for answer in answers]
        for value, counted, changed in ranks:
            assert counted, f"{example}: compute changed the count of updates"
            assert changed is None, f"{example}: a second compute differs: {changed}"
            assert difference(value, ranks[0][0], rtol=0, atol=0) is None, f"{example}: ranks disagree"
        if not orderless(example):
            case.same(ranks[0][0], case.whole, f"{example} on {size} processes")
