"""Every public metric on two, three and four processes, uneven and one of them without data: what its laws say of one process.

One job for all examples of a class and all that is asked of them: the way to the processes costs more than an update.
"""

from __future__ import annotations

import pytest
import torch

from epochal.compare import difference, mapped
from epochal.metric import leaves, synced
from tests.laws.examples import EXAMPLES

BY_CLASS = sorted(EXAMPLES)


def share(batches, rank, size):
    """Uneven: rank 1 has no data, the last rank what is left, each other one batch."""
    ranks = [r for r in range(size) if r != 1]
    if rank == 1:
        return []
    place = ranks.index(rank)
    return batches[place : place + 1 if place < len(ranks) - 1 else None]


def examples(name, size):
    """Each on one size, the first of a class on all: an example's values take all ranks' time."""
    return [example for index, example in enumerate(EXAMPLES[name]) if index == 0 or (index + size) % 3 == 0]


def states(metric):
    return [mapped(torch.clone, {**leaf.metric_state, "": leaf.update_count}) for leaf in leaves(metric)]


def changed(metric, before):
    return difference(states(metric), before, rtol=0, atol=0)


def over_ranks(rank, size, name):
    """For each example the values over all ranks, and what of the local state has changed.

    ``value``: of an uneven share, of which one rank has nothing. ``reordered``: of another, the batches in another order, all
    examples in one exchange. ``step``: of a forward that merges, one batch of each rank.
    """
    out, others = [], []
    for example in examples(name, size):
        case = example.case()
        metric, batch = case.fed(share(case.batches, rank, size)), case.batches[rank % len(case.batches)]
        before, value = states(metric), metric.compute()
        stepping = example.make()
        for leaf in leaves(stepping):
            leaf.dist_sync_on_step = True
        step = case.called(stepping, batch)
        others.append(case.fed(case.batches[::-1][rank::size]))
        out.append(
            {
                "values": {"uneven": value, "step": step},
                "compute changed the state": changed(metric, before),
                "a second compute differs": difference(metric.compute(), value, rtol=0, atol=0),
                "a step that merges added another state than an update": changed(stepping, states(case.fed([batch]))),
            }
        )
    with synced(others):
        for answer, metric in zip(out, others, strict=True):
            answer["values"]["reordered"] = metric.compute()
    return out


def is_homomorphism(example) -> bool:
    return not any(leaf.order_matters or leaf.random for leaf in leaves(example.make()))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", BY_CLASS)
def test_laws_over_processes(pools, name, size):
    answers = pools[size].run(over_ranks, name)
    for example, *ranks in zip(examples(name, size), *answers, strict=True):
        for answer in ranks:
            values = answer.pop("values")
            for what, text in answer.items():
                assert text is None, f"{example}: {what}: {text}"
            for kind, value in values.items():
                first = ranks[0].get("values", values)[kind]
                assert difference(value, first, rtol=0, atol=0) is None, f"{example}, {kind}: ranks disagree"
            answer["values"] = values
        if is_homomorphism(example):
            case, values = example.case(), ranks[0]["values"]
            case.same(values["uneven"], case.whole, f"{example} on {size} processes, one of them without data")
            case.same(values["reordered"], case.whole, f"{example} on {size} processes in another order")
            each = case.fed([case.batches[rank % len(case.batches)] for rank in range(size)])
            case.same(values["step"], each.compute(), f"{example}: a step on {size} processes")
