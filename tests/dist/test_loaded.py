"""States that came from files: one that several ranks loaded counts once, and what each rank adds counts, too."""

from __future__ import annotations

import io
import itertools

import pytest
import torch

from epochal import RunningSum
from epochal.metric import Metric
from epochal.moments import Moments, moments
from tests import toys
from tests.dist.pool import RankError


class Spread(Moments):
    """Chan's formula, twice, under prefixes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for prefix in ("", "twice_"):
            self.add_moments(1, prefix=prefix)

    def measure(self, x):
        return moments(x[:, None]) | moments(2 * x[:, None], "twice_")

    def value(self, count, mean, comoments, twice_count, twice_mean, twice_comoments):
        return torch.stack([mean[0], comoments[0, 0] / count, twice_comoments[0, 0] / twice_count])


class Lists(Metric):
    """A list of strings, which no tensor can hold."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("words", [], dist_reduce_fx=None)

    def measure(self, x):
        return {"words": [f"{number:.3f}" for number in x.tolist()]}

    def value(self, words):
        return torch.tensor([len(words), len(set(words))])


KINDS = [
    toys.Mean, toys.Extremes, toys.Median, toys.Kept, toys.MeanOfBatches, toys.Histogram, toys.MyAccuracy, toys.MyPearson,
    toys.MyRange, Spread, Lists,
]  # fmt: skip
PAIRS = {toys.MyAccuracy: toys.pairs, toys.MyPearson: toys.float_pairs}


def data(kind, *sizes, seed=0):
    return PAIRS.get(kind, toys.floats)(*sizes, seed=seed)


def fed(kind, batches):
    metric = kind()
    for batch in batches:
        metric.update(*batch)
    return metric


def saved(metric) -> bytes:
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    return file.getvalue()


def loaded(kind, file: bytes):
    metric = kind()
    metric.persistent(True)
    metric.load_state_dict(torch.load(io.BytesIO(file), weights_only=True))
    return metric


def plain(value):
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value.double().numpy()


def go_on(rank, size, kind, files, shares):
    """Load the rank's file, if it has one, update, and compute; also the count of updates of all ranks."""
    metric = loaded(kind, files[rank]) if files[rank] else kind()
    for batch in shares[rank]:
        metric.update(*batch)
    count, snapshot = metric.update_count, metric.snapshot()
    values = [metric.compute(), metric.compute()]
    with metric.sync_context():
        merged_count = metric.update_count
    assert metric.update_count == count
    metric.reset()
    metric.restore(snapshot)  # which knows of the file
    values.append(metric.compute())
    return values, merged_count


@pytest.mark.parametrize("since", ["nothing", "some", "rank 1 alone"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_file_that_every_rank_loads_counts_once(pool, kind, since):
    first = data(kind, 7, 3)
    shares = [data(kind, 5, 2, seed=10 + rank) for rank in range(pool.size)]
    shares = [share if since == "some" or (since == "rank 1 alone" and rank == 1) else [] for rank, share in enumerate(shares)]
    batches = [*first, *itertools.chain(*shares)]
    expected = plain(fed(kind, batches).compute())
    for values, count in pool.run(go_on, kind, [saved(fed(kind, first))] * pool.size, shares):
        assert count == len(batches)
        for value in values:
            toys.equal(value, expected)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_ranks_without_the_file_and_other_files(pools, kind):
    first, second = data(kind, 7, 3), data(kind, 4, seed=3)
    one, other = saved(fed(kind, first)), saved(fed(kind, second))
    shares = [data(kind, 5, seed=10 + rank) for rank in range(4)]
    expected = plain(fed(kind, [*first, *second, *itertools.chain(*shares)]).compute())
    for values, _ in pools[4].run(go_on, kind, [None, one, other, one], shares):
        toys.equal(values[0], expected)


def test_files_of_the_same_content_are_not_the_same_file(pair):
    batches = data(toys.Mean, 4)
    files = [saved(fed(toys.Mean, batches)) for _ in range(2)]
    for values, count in pair.run(go_on, toys.Mean, files, [[], []]):
        assert count == 2
        toys.equal(values[0], plain(fed(toys.Mean, batches).compute()))


def window(rank, size, file):
    metric = RunningSum(window=3)
    metric.persistent(True)
    metric.load_state_dict(torch.load(io.BytesIO(file), weights_only=True))
    metric.update(10.0 + rank)
    return metric.compute()


def test_a_window(pair):
    """The latest steps: one over both ranks, and before it what was loaded."""
    metric = RunningSum(window=3)
    for number in (1.0, 2.0, 3.0, 4.0):
        metric.update(number)
    assert pair.run(window, saved(metric)) == [torch.tensor(10 + 11 + 4 + 3.0)] * 2


@pytest.mark.parametrize("kind", [toys.Welford, toys.Product], ids=lambda kind: kind.__name__)
def test_what_cannot_be_taken_out_is_an_error_on_every_rank(pair, kind):
    first, file = data(kind, 7), saved(fed(kind, data(kind, 7)))
    for values, _ in pair.run(go_on, kind, [file] * 2, [[], []]):
        toys.equal(values[0], plain(fed(kind, first).compute()))
    with pytest.raises(RankError) as caught:
        pair.run(go_on, kind, [file] * 2, [first, first])
    assert all(f"{kind.__name__}: one file was loaded" in error and "unmerge" in error for error in caught.value.errors)


# --- files of several ranks ------------------------------------------------------------------------------------------------


def gather_files(rank, size, kind, files):
    """Each rank takes its share of the files."""
    metric = kind()
    for file in files[rank::size]:
        metric.merge_state(loaded(kind, file))
    return metric.compute()


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_states_of_four_ranks_load_on_fewer(pools, kind, ranks):
    shares = [data(kind, 5, 2, seed=rank) for rank in range(4)]
    expected = plain(fed(kind, itertools.chain(*shares)).compute())
    files = [saved(fed(kind, share)) for share in shares]
    values = pools[ranks].run(gather_files, kind, files) if ranks > 1 else [gather_files(0, 1, kind, files)]
    for value in values:
        toys.equal(value, expected)
