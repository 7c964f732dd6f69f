"""What a state is: the merge of each kind of field, and lists that grow."""

from __future__ import annotations

import copy
import pickle
from itertools import groupby

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from epochal.states import Blocks, Slot, combine
from tests import toys

# --- one field of several states -------------------------------------------------------------------------------------------


def double(stacked):
    return stacked.sum(0) * 2


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("sum", [6.0, 60.0]),
        ("max", [3.0, 30.0]),
        ("min", [1.0, 10.0]),
        ("mean", [(1 + 2 * 2 + 3 * 3) / 6, (10 + 20 * 2 + 30 * 3) / 6]),
        (None, [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]),
        (double, [12.0, 120.0]),
    ],
)
def test_fields_of_fixed_shape(reduction, expected):
    fields = [torch.tensor([1.0, 10.0]) * n for n in (1, 2, 3)]
    kept = [field.clone() for field in fields]
    merged = combine(Slot("x", torch.zeros(2), reduction, False), fields, [1, 2, 3])
    assert torch.equal(merged, torch.tensor(expected))
    assert all(map(torch.equal, fields, kept))


def test_a_mean_of_nothing_is_its_default():
    slot = Slot("x", torch.tensor(7.0), "mean", False)
    assert combine(slot, [torch.tensor(7.0)] * 2, [0, 0]) == 7
    assert combine(slot, [torch.tensor(7.0), torch.tensor(1.0)], [0, 2]) == 1


def test_lists():
    parts = [[torch.tensor([1.0])], [], [torch.tensor([2.0]), torch.tensor([3.0])]]
    assert torch.cat(combine(Slot("x", Blocks(), "cat", False), [Blocks(p) for p in parts], [1, 0, 2])).tolist() == [1, 2, 3]
    assert combine(Slot("x", [], None, False), parts, [1, 0, 2]) == [parts[0][0], parts[2][0], parts[2][1]]
    assert combine(Slot("x", [], lambda rows: torch.cat(rows).sum(), False), parts, [1, 0, 2]) == 6


# --- lists that grow ---------------------------------------------------------------------------------------------------------


def stored(blocks: Blocks) -> int:
    """Bytes of all memory behind the list."""
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in blocks}.values())


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 5)], ids=str)
def test_small_chunks_cost_little_more_than_their_data(shape):
    blocks, number = Blocks(), 100_000
    chunk = torch.zeros(shape)
    for index in range(number):
        chunk.fill_(index)
        blocks.append(chunk)
    data = number * chunk.numel() * chunk.element_size()
    assert stored(blocks) <= 1.2 * data + 2 * Blocks.SMALLEST
    assert len(blocks) < 200
    joined = blocks.joined()
    assert joined.shape == (number * shape[0], *shape[1:])
    assert torch.equal(joined.flatten()[:: chunk.numel()], torch.arange(number).float())


def test_the_first_rows_cost_a_constant():
    blocks = Blocks([torch.zeros(1)])
    assert stored(blocks) <= Blocks.SMALLEST
    large = Blocks([torch.zeros(1000, 1000)])
    assert stored(large) == 4_000_000


def test_copies_share_and_do_not_overwrite():
    first = Blocks([torch.arange(10)])
    second = first.copy()
    assert first[0].data_ptr() == second[0].data_ptr()
    first.append(torch.tensor([100]))
    second.append(torch.tensor([200]))
    third = second.copy()
    second.append(torch.tensor([300]))
    third.append(torch.tensor([400]))
    numbers = list(range(10))
    assert first.joined().tolist() == [*numbers, 100]
    assert second.joined().tolist() == [*numbers, 200, 300]
    assert third.joined().tolist() == [*numbers, 200, 400]


def test_an_appended_tensor_is_copied():
    chunk = torch.ones(3, requires_grad=True)
    blocks = Blocks([chunk])
    with torch.no_grad():
        chunk.zero_()
    assert blocks.joined().tolist() == [1, 1, 1]
    assert not blocks[0].requires_grad


def test_copies_are_compact():
    blocks = Blocks()
    for index in range(1000):
        blocks.append(torch.full((2,), index))
    data = 2000 * 8
    for twin in (pickle.loads(pickle.dumps(blocks)), copy.deepcopy(blocks)):
        assert isinstance(twin, Blocks)
        assert torch.equal(twin.joined(), blocks.joined())
        twin.append(torch.tensor([5, 5]))
        assert len(blocks.joined()) == 2000
    assert len(pickle.dumps(blocks)) < 1.3 * data
    metric = toys.Median()
    for _ in range(500):
        metric.update(torch.ones(1))
    assert len(pickle.dumps(metric)) < 1.3 * 500 * 5 + 4000


CHUNKS = st.tuples(
    st.integers(0, 700), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8]), st.sampled_from([(), (3,)])
)


@settings(max_examples=40, deadline=None)
@given(st.lists(CHUNKS, max_size=25), st.integers(0, 25))
def test_order_and_content_of_mixed_chunks(kinds, cut):
    """As a plain list of the same chunks, concatenated; and a copy made on the way keeps what it had."""
    blocks, plain, twin = Blocks(), [], None
    for index, (rows, dtype, shape) in enumerate(kinds):
        if index == cut:
            twin = blocks.copy()
        chunk = torch.arange(rows * max(1, shape[0] if shape else 1)).add(index).to(dtype).reshape(rows, *shape)
        blocks.append(chunk)
        plain.append(chunk)

    def flat(chunks):
        return [value for chunk in chunks for value in chunk.flatten().tolist()]

    assert flat(blocks) == flat(plain)
    assert [key for key, _ in groupby((part.dtype, part.shape[1:]) for part in blocks)] == [
        key for key, _ in groupby((chunk.dtype, chunk.shape[1:]) for chunk in plain)
    ]
    if twin is not None:
        assert flat(twin) == flat(plain[:cut])


def test_list_operations():
    blocks = Blocks([torch.tensor([1]), torch.tensor([2])])
    blocks += [torch.tensor([3])]
    blocks.extend(Blocks([torch.tensor([4])]))
    assert blocks.joined().tolist() == [1, 2, 3, 4]
    blocks[-1] = torch.tensor([9])
    blocks.append(torch.tensor([10]))
    assert torch.cat(blocks).tolist()[-2:] == [9, 10]
    del blocks[0]
    blocks.append(torch.tensor([11]))
    assert blocks.joined().tolist()[-1] == 11
    blocks.clear()
    assert blocks.joined().numel() == 0
    blocks.append(torch.tensor(5.0))  # a number has no rows
    blocks.append(torch.tensor(6.0))
    assert blocks.joined().tolist() == [5, 6]


@pytest.mark.parametrize("operation", ["pop", "insert", "reverse", "remove", "sort"])
def test_other_list_operations_keep_the_blocks_in_step(operation):
    blocks = Blocks([torch.arange(3.0), torch.arange(3), torch.arange(3.0) + 10])
    plain = list(blocks)
    for target in (blocks, plain):
        if operation == "insert":
            target.insert(0, torch.tensor([7.0]))
        elif operation == "remove":
            list.remove(target, target[0]) if target is plain else target.remove(target[0])
        elif operation == "sort":
            target.sort(key=lambda chunk: -chunk[0].item())
        else:
            getattr(target, operation)()
    for chunk in (torch.tensor([8.0]), torch.tensor([9])):
        blocks.append(chunk)
        plain.append(chunk)
    assert [value for chunk in blocks for value in chunk.tolist()] == [value for chunk in plain for value in chunk.tolist()]


def test_inference_mode_rows_go_on_outside():
    with torch.inference_mode():
        blocks = Blocks([torch.ones(2)])
    blocks.append(torch.ones(2))
    blocks[0].add_(1)
    assert blocks.joined().sum() == 8


def test_a_default_changed_in_place_does_not_survive_reset():
    metric = toys.Mean()
    total = next(name for name, field in metric.metric_state.items() if field.is_floating_point())
    state = getattr(metric, total)
    state += 5
    assert float(getattr(metric, total)) == 5
    metric.reset()
    assert float(getattr(metric, total)) == 0
    assert float(getattr(toys.Mean(), total)) == 0


@pytest.mark.parametrize("kind", [toys.Median, toys.Kept])
def test_compute_on_cpu_moves_lists_as_they_come(kind, monkeypatch):
    moved = []

    def place(field, device):
        moved.append(device)
        return field

    monkeypatch.setattr("epochal.stateful.place", place)
    for wanted in (False, True):
        metric = kind(compute_on_cpu=wanted)
        metric.update(torch.arange(3.0))
        assert set(moved) == ({torch.device("cpu")} if wanted else set())
