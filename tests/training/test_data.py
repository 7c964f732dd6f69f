"""Who gets which samples, and how many there are in a batch."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

from epochal.training import data
from epochal.training.batches import BatchSizes, batch_size_of


def indices(loader):
    return [int(i) for batch in loader for i in batch]


@pytest.mark.parametrize("samples", [1, 2, 9, 10, 11])
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_training_shares_are_those_of_distributed_sampler(samples, world, shuffle):
    source = list(range(samples))
    for epoch in (0, 3):
        for rank in range(world):
            theirs = DistributedSampler(source, world, rank, shuffle=shuffle, seed=5)
            theirs.set_epoch(epoch)
            ours = data.for_training(DataLoader(source, 2, shuffle=shuffle), data.Share(rank, world, 5), True)
            data.set_epoch(ours, epoch)
            assert indices(ours) == list(theirs)
            assert len(ours) == -(-len(theirs) // 2)


def test_one_process_takes_the_same_order():
    source = list(range(20))
    one = data.for_training(DataLoader(source, 4, shuffle=True), data.Share(0, 1, 5), True)
    two = [data.for_training(DataLoader(source, 2, shuffle=True), data.Share(rank, 2, 5), True) for rank in range(2)]
    for whole, *parts in zip(one, *two, strict=True):
        assert sorted(whole.tolist()) == sorted(torch.cat(parts).tolist())


def test_a_users_own_sampler_is_drawn_alike_on_all_ranks():
    source = list(range(10))
    weighted = WeightedRandomSampler([1.0] * 10, 10, replacement=False)
    shares = [indices(data.for_training(DataLoader(source, 2, sampler=weighted), data.Share(r, 2, 5), True)) for r in range(2)]
    assert sorted(shares[0] + shares[1]) == source


def test_a_users_generator_decides_the_order():
    def order():
        loader = DataLoader(list(range(30)), 4, shuffle=True, generator=torch.Generator().manual_seed(9))
        return indices(data.for_training(loader, data.Share(0, 1, int(torch.randint(1000, ()))), True))

    assert order() == order()


@pytest.mark.parametrize("drop_last", [False, True])
def test_loaders_keep_what_is_theirs(drop_last):
    class Mine(DataLoader):
        pass

    class Batches(BatchSampler):
        pass

    source = list(range(9))
    loader = Mine(source, batch_sampler=Batches(RandomSampler(source), 2, drop_last), num_workers=0)
    twin = data.for_evaluation(loader, data.Share(1, 2, 0), True)
    assert type(twin) is Mine
    assert type(twin.batch_sampler) is Batches
    assert isinstance(loader.batch_sampler.sampler, RandomSampler)  # the user's loader is as it was
    assert len(indices(twin)) == 4


def test_named_loaders():
    a, b = DataLoader([1]), DataLoader([2])
    assert data.named_loaders([a, b]) == {"/dataloader_idx_0": a, "/dataloader_idx_1": b}
    assert data.named_loaders({"x": a}) == {"/x": a}
    assert data.named_loaders(a) == {"": a}
    batches = [torch.ones(2), torch.ones(2)]
    assert data.named_loaders(batches) == {"": batches}


@pytest.mark.parametrize(("limit", "left"), [(None, 10), (3, 3), (30, 10), (0.25, 2), (1.0, 10), (1, 1), (0, 0)])
def test_limits_count_or_divide(limit, left):
    assert data.limited(10, limit, "limit") == left


@pytest.mark.parametrize("limit", [-1, 1.5, "all", True])
def test_bad_limits_are_refused(limit):
    with pytest.raises(ValueError, match="limit_x"):
        data.limited(10, limit, "limit_x")


def test_the_sampler_says_how_large_a_batch_is():
    sizes = BatchSizes.of(DataLoader(list(range(10)), 4))
    assert [sizes(i) for i in range(3)] == [4, 4, 2]
    assert BatchSizes.of(DataLoader(list(range(10)), batch_sampler=[[0, 1], [2]])) is None
    assert BatchSizes.of([1, 2]) is None
    assert [BatchSizes.of(DataLoader(list(range(10)), 4, sampler=SequentialSampler(range(7))))(i) for i in range(2)] == [4, 3]


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.ones(3, 2), 3),
        ((torch.ones(3, 2), torch.ones(3)), 3),
        ({"a": "text", "b": torch.ones(5)}, 5),
        ([torch.ones(3), torch.ones(4)], None),
        (["a", "bb"], 2),
        ([{"boxes": torch.ones(7, 4)}, {"boxes": torch.ones(2, 4)}], 2),
        ([[torch.ones(6, 2), torch.ones(6)], [torch.ones(6)]], 6),
        ("text", None),
        (5, None),
        (None, None),
    ],
)
def test_else_the_batch_itself_does(batch, size):
    assert batch_size_of(batch) == size
