"""Large sums: a batch is added to them in place, and nobody sees a state change that he holds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from epochal import states
from epochal.classification import MulticlassCohenKappa, MulticlassConfusionMatrix, MulticlassMatthewsCorrCoef
from epochal.collection import MetricCollection
from epochal.metric import Metric, all_or_none, held, synced
from epochal.numeric import histogram, tabulated
from epochal.states import LARGE
from epochal.wrappers import ClasswiseWrapper, Running

CLASSES = 300
BATCHES = [(torch.randint(CLASSES, (n,)), torch.randint(CLASSES, (n,))) for n in (5, 40, 7, 20_000, 1)]


class Sums(Metric):
    """Large sums of floats, as covariances of many variables are."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(LARGE), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def measured_by(self):
        return ()

    def measure(self, x):
        return {"total": x.double(), "count": 1}

    def value(self, total, count):
        return total / count


class Proud(Sums):
    """Refuses in its value."""

    def value(self, total, count):
        if total[0] > 100:
            raise ValueError("Proud: the first is too large")
        return total.sum()


def matrix(options=None):
    metric = MulticlassConfusionMatrix(CLASSES, **(options or {}))
    for batch in BATCHES[:2]:
        metric.update(*batch)
    return metric


def address(metric, name="table"):
    return getattr(metric, name).data_ptr()


# --- added in place ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["update", "forward"])
@pytest.mark.parametrize("inference", [False, True])
def test_batches_are_added_in_place(verb, inference):
    metric, seen = matrix(), set()
    with torch.inference_mode(inference):
        for batch in (*BATCHES, *BATCHES):
            getattr(metric, verb)(*batch)
            seen.add(address(metric))
            metric.compute()
            assert metric.batch_value().sum() == len(batch[0])
    assert len(seen) == 1
    preds, target = (torch.cat([batch[i] for batch in (*BATCHES[:2], *BATCHES, *BATCHES)]) for i in (0, 1))
    assert metric.compute().equal(torch.bincount(target * CLASSES + preds, minlength=CLASSES**2).view(CLASSES, CLASSES))


def test_a_sum_begun_in_inference_mode_goes_on_in_place():
    metric = MulticlassConfusionMatrix(CLASSES)
    with torch.inference_mode():
        metric.update(*BATCHES[0])
    seen = {address(metric)}
    for batch in BATCHES:
        metric(*batch)
        seen.add(address(metric))
    assert len(seen) == 1


def test_dense_batches_are_added_in_place():
    metric, x = Sums(), torch.arange(float(LARGE))
    metric.update(x)
    seen = {address(metric, "total")}
    assert x.equal(torch.arange(float(LARGE)))
    for _ in range(3):
        metric.update(x)
        seen.add(address(metric, "total"))
    assert len(seen) == 1
    assert metric.compute().equal(x)
    assert x.equal(torch.arange(float(LARGE)))


def test_members_that_share_a_state_share_the_place():
    members = [MulticlassConfusionMatrix(CLASSES), MulticlassCohenKappa(CLASSES), MulticlassMatthewsCorrCoef(CLASSES)]
    together, apart = MetricCollection(members), [copy.deepcopy(metric) for metric in members]
    seen, identities = set(), [metric.slots["table"].identity() for metric in members]
    for number, batch in enumerate(BATCHES):
        values = together(*batch) if number % 2 else together.update(*batch)
        for metric in apart:
            value = metric(*batch)
            assert values is None or values[type(metric).__name__].equal(value)
        seen.add(address(members[0]))
    assert all(metric.table is members[0].table for metric in members)
    assert len(seen) == 1
    assert not any(identity.any() for identity in identities)
    members[1].update(*BATCHES[0])  # on its own: the others see nothing of it
    assert members[1].table.sum() == members[0].table.sum() + len(BATCHES[0][0])
    for metric in (*apart, together):
        metric.update(*BATCHES[1])
    apart[1].update(*BATCHES[0])
    for metric in apart:
        assert together.compute()[type(metric).__name__].equal(metric.compute())


# --- nobody sees it -----------------------------------------------------------------------------------------------------------


def graph(metric):
    weight = torch.ones(metric.table.shape, requires_grad=True)
    return weight, (weight * metric.table).sum()


def gradient(result):
    weight, product = result
    (grad,) = torch.autograd.grad(product, weight, retain_graph=True)
    return grad


def merged_into(metric):
    other = MulticlassConfusionMatrix(CLASSES)
    other.merge_state(metric)
    return other


def restored(metric):
    other = MulticlassConfusionMatrix(CLASSES)
    other.restore(metric.snapshot())
    return other


def exported(metric):
    """What another library has of it: the tensor itself is not asked any more."""
    return torch.utils.dlpack.to_dlpack(metric.table)


HOLDERS = {
    "the attribute": (lambda metric: metric.table, torch.clone),
    "metric_state": (lambda metric: metric.metric_state, lambda state: state["table"].clone()),
    "a view": (lambda metric: metric.table[1:], torch.clone),
    "detach": (lambda metric: metric.table.detach(), torch.clone),
    "numpy": (lambda metric: metric.table.numpy(), np.copy),
    "a slice of numpy": (lambda metric: memoryview(metric.table.numpy())[3:9], list),
    "its memory": (lambda metric: metric.table.untyped_storage(), lambda memory: bytes(memory[:99])),
    "a graph": (graph, gradient),
    "a snapshot": (lambda metric: metric.snapshot(), lambda snapshot: snapshot.state["table"].clone()),
    "a clone": (lambda metric: metric.clone(), lambda metric: metric.compute()),
    "a pickle": (lambda metric: pickle.loads(pickle.dumps(metric)), lambda metric: metric.compute()),
    "the value": (lambda metric: metric.compute(), torch.clone),
    "the batch's value": (lambda metric: metric(*BATCHES[0]), torch.clone),
    "a file": (lambda metric: metric.persistent(True) or metric.state_dict(), lambda state: state["table"].clone()),
    "one it merged into": (merged_into, lambda metric: metric.compute()),
    "one with its snapshot": (restored, lambda metric: metric.table.clone()),
}


@pytest.mark.parametrize("verb", ["update", "forward"])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held_stays(name, verb):
    metric = matrix()
    for _ in range(2):  # the second time, of a state that was made anew for the first
        hold, read = HOLDERS[name]
        kept = hold(metric)
        before, address_before = read(kept), address(metric)
        for batch in BATCHES:
            total = int(metric.table.sum())
            getattr(metric, verb)(*batch)
            assert metric.table.sum() == total + len(batch[0])
            np.testing.assert_array_equal(np.asarray(read(kept)), np.asarray(before))
        if name in ("a clone", "a pickle", "the value", "a file"):
            assert address(metric) == address_before  # hold copies: nothing is in the way


def test_what_was_exported_stays():
    metric = matrix()
    capsule, before = exported(metric), metric.table.clone()
    metric.update(*BATCHES[0])
    assert torch.utils.dlpack.from_dlpack(capsule).equal(before)


def test_memory_of_others_is_not_written():
    """A state that was assigned or loaded may lie in memory whose owner does not count as a reference."""
    array = np.zeros(LARGE)
    numpys, shared = Sums(), Sums()
    numpys.total, shared.total = torch.from_numpy(array), torch.zeros(LARGE, dtype=torch.float64).share_memory_()
    for metric in (numpys, shared):
        before = address(metric, "total")
        metric.update(torch.ones(LARGE))
        assert address(metric, "total") != before
        assert metric.total.sum() == LARGE
    assert not array.any()


def test_a_loaded_file_stays():
    metric, other = matrix(), MulticlassConfusionMatrix(CLASSES)
    for each in (metric, other):
        each.persistent(True)
    file = metric.state_dict()
    before = file["table"].clone()
    other.load_state_dict(file)
    for batch in BATCHES:
        other.update(*batch)
    assert file["table"].equal(before)
    other.reset()
    assert not other.table.any()
    assert not MulticlassConfusionMatrix(CLASSES).table.any()


def test_a_state_that_is_parked_stays():
    metric, other = matrix(), MulticlassConfusionMatrix(CLASSES)
    own = metric.table.clone()
    with held({metric: other.snapshot()}):
        assert metric.compute().sum() == 0
    with synced([metric]):
        pass
    metric.update(*BATCHES[0])
    assert metric.table.sum() == own.sum() + len(BATCHES[0][0])
    assert not other.table.any()


# --- all of a batch, or nothing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [CLASSES, -1, 2**40])
@pytest.mark.parametrize("verb", ["update", "forward"])
@pytest.mark.parametrize("ignored", [None, 0])
def test_a_bad_label_changes_nothing(bad, verb, ignored):
    metric = matrix({"ignore_index": ignored})
    before, where = metric.table.clone(), address(metric)
    with pytest.raises(ValueError, match="has the values"):
        getattr(metric, verb)(torch.tensor([1, 2, 3]), torch.tensor([1, bad, 3]))
    assert metric.table.equal(before)
    assert metric.update_count == 2
    assert address(metric) == where


def test_a_value_that_fails_changes_nothing():
    x = torch.ones(LARGE)
    proud, sums = Proud(), Sums()
    together = MetricCollection([proud, sums])
    together.update(x)
    together.update(x)
    state = proud.total.clone()
    for verb in (proud, together):
        with pytest.raises(ValueError, match="Proud"):
            verb(1000 * x)
    assert proud.total is sums.total
    assert proud.total.equal(state)
    assert sums.compute().equal(x)


def test_what_a_block_takes_back():
    metric = matrix()
    before = metric.table.clone()

    def update_and_fail():
        with all_or_none([metric]):
            metric.update(*BATCHES[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        update_and_fail()
    assert metric.table.equal(before)
    assert metric.update_count == 2


def test_inside_of_wrappers():
    wrapped, running = ClasswiseWrapper(matrix({"normalize": "true"})), Running(MulticlassConfusionMatrix(CLASSES), window=2)
    twin = MulticlassConfusionMatrix(CLASSES)
    for batch in BATCHES:
        wrapped(*batch)
        assert running(*batch).sum() == len(batch[0])
    for batch in BATCHES[-2:]:
        twin.update(*batch)
    assert running.compute().equal(twin.compute())


# --- the statistic of a small batch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_few_counts_are_the_table(weighted):
    index = torch.randint(LARGE, (3, 50))
    weight = torch.randint(2, (3, 50)) if weighted else None
    few = tabulated(index, LARGE, weight)
    assert few.is_sparse
    assert few.to_dense().equal(histogram(index, LARGE, weight))
    assert not tabulated(torch.randint(LARGE, (LARGE,)), LARGE).is_sparse
    assert not tabulated(index % 9, 9).is_sparse
    for bad in (-1, LARGE):
        with pytest.raises(IndexError, match="not in 0"):
            tabulated(torch.tensor([0, bad]), LARGE)
    ignored = tabulated(torch.tensor([0, -1]), LARGE, torch.tensor([1, 0])).to_dense()
    assert ignored.sum() == ignored[0] == 1


@pytest.mark.parametrize("shape", ["labels", "scores", "many"])
@pytest.mark.parametrize("ignored", [None, 3])
def test_a_matrix_of_many_classes(shape, ignored):
    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=ignored)
    expected = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for n in (1, 9, 50):
        preds, target = torch.randint(CLASSES, (n, 4)), torch.randint(CLASSES, (n, 4))
        target[0, 0] = 3
        one_hot = torch.nn.functional.one_hot(preds, CLASSES).float()
        given = {"labels": preds, "scores": one_hot.movedim(-1, 1), "many": one_hot.flatten(0, 1)}[shape]
        metric.update(given, target.flatten() if shape == "many" else target)
        kept = target != ignored if ignored is not None else torch.ones_like(target, dtype=torch.bool)
        expected.index_put_((target[kept], preds[kept]), torch.tensor(1), accumulate=True)
    assert metric.compute().equal(expected)


def test_where_torch_does_not_count_nothing_is_added_in_place(monkeypatch):
    expected = matrix()
    expected.update(*BATCHES[2])
    monkeypatch.setattr(states, "COUNTED", False)
    metric = matrix()
    where = address(metric)
    metric.update(*BATCHES[2])
    assert address(metric) != where
    assert metric.compute().equal(expected.compute())
