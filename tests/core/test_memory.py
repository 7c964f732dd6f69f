"""What states cost: lists that grow, the limit of them, and that nothing is kept of what was reset."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from unittest import mock

import pytest
import torch

import epochal
from epochal import CatMetric
from epochal.states import Blocks
from tests import toys
from tests.errors.grammar import grammatical
from tests.laws.examples import EXAMPLES
from tests.laws.test_laws import PUBLIC

ROOT = Path(__file__).parents[2]

# --- lists that grow ---------------------------------------------------------------------------------------------------------


def stored(blocks: Blocks) -> int:
    """Bytes of all memory behind the list."""
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in blocks}.values())


def held(blocks: Blocks) -> int:
    return sum(part.numel() * part.element_size() for part in blocks)


def filled(sizes, dtypes=(torch.float32,), width=4) -> Blocks:
    blocks = Blocks()
    for index, size in enumerate(sizes):
        blocks.append(torch.full((size, width), index % 100, dtype=dtypes[index % len(dtypes)]))
    return blocks


random_sizes = torch.randint(1, 3000, (400,), generator=torch.Generator().manual_seed(0)).tolist()
REGIMES = {
    "small": [3] * 5000,
    "large": [4000] * 60,
    "an eighth and a little more": [100_000, *[13_000] * 30],
    "of all sizes": random_sizes,
    "growing": list(range(1, 3000, 10)),
    "shrinking": list(range(3000, 1, -10)),
    "one": [10_000],
}


@pytest.mark.parametrize("how", ["appended", "pickled", "deepcopied", "merged", "copied"])
@pytest.mark.parametrize("regime", REGIMES)
def test_memory_is_that_of_the_data(regime, how):
    blocks = filled(REGIMES[regime])
    if how == "pickled":
        blocks = pickle.loads(pickle.dumps(blocks))
    elif how == "deepcopied":
        blocks = copy.deepcopy(blocks)
    elif how == "merged":
        blocks = Blocks([*blocks, *filled(REGIMES[regime])])
    elif how == "copied":  # each goes its own way, and keeps the other's rows as its own
        twin = blocks.copy()
        twin.append(torch.zeros(5, 4))
        blocks.append(torch.zeros(7, 4))
    assert held(blocks) >= 16 * sum(REGIMES[regime])
    assert stored(blocks) <= 1.2 * held(blocks) + Blocks.SMALLEST


def test_dtypes_that_alternate_take_no_room_for_more():
    dtypes = (torch.float32, torch.uint8, torch.float64)
    blocks = filled([2] * 3000, dtypes)
    assert stored(blocks) <= 1.2 * held(blocks) + Blocks.SMALLEST
    assert [part.dtype for part in blocks[:4]] == [*dtypes, torch.float32]


def test_failed_updates_leave_no_room_behind_them():
    """A copy has written behind the last rows and was dropped: the rows go on in a block of their own, and leave nothing unused."""
    blocks = filled([100] * 200)
    for _ in range(200):
        blocks.copy().append(torch.ones(1, 4))
        blocks = blocks.copy()
        blocks.append(torch.zeros(1, 4))
    assert stored(blocks) <= 1.2 * held(blocks) + Blocks.SMALLEST
    assert blocks.joined()[-200:].eq(0).all()


def test_empty_chunks_do_not_show_what_a_copy_wrote():
    first = Blocks([torch.zeros(2)])
    first.copy().append(torch.ones(3))
    first.append(torch.zeros(0))
    assert first.joined().tolist() == [0, 0]


class Work:
    """Counts the rows that blocks write and copy, and the parts that a copied list has."""

    def __init__(self, monkeypatch):
        self.rows = self.parts = 0
        block, close, copied = epochal.states._Block.write, Blocks._close, Blocks.copy

        def write(this, chunk):
            self.rows += chunk.shape[0]
            return block(this, chunk)

        def closed(this):
            before = this[-1] if this else None
            close(this)
            self.rows += this[-1].shape[0] if this and this[-1] is not before else 0

        def copy_of(this):
            self.parts += len(this)
            return copied(this)

        monkeypatch.setattr(epochal.states._Block, "write", write)
        monkeypatch.setattr(Blocks, "_close", closed)
        monkeypatch.setattr(Blocks, "copy", copy_of)
        monkeypatch.setattr(Blocks, "__copy__", copy_of)


@pytest.mark.parametrize("verb", ["forward", "update"])
def test_a_batch_costs_the_same_after_ten_thousand(verb, monkeypatch):
    """Each row is written once, and the list of parts stays short."""
    work, metric, batch = Work(monkeypatch), CatMetric(nan_strategy="disable"), torch.zeros(16)
    for index in range(10_000):
        getattr(metric, verb)(batch)
        if index % 1000 == 999:
            assert work.rows == 16 * 1000
            assert work.parts < 60 * 1000
            work.rows = work.parts = 0
    assert len(metric.values) < 60


def test_no_graph_is_kept_and_reset_frees_all():
    metric, x = CatMetric(nan_strategy="disable"), torch.ones(2000, requires_grad=True)
    value = metric(x * 2)
    assert value.requires_grad
    middle = x * 3
    graph = weakref.ref(middle)
    metric.update(middle.exp())  # whose graph holds it
    rows = weakref.ref(metric.values[0])
    block = weakref.ref(metric.values._open[1].data)
    metric.compute()
    del value, middle
    gc.collect()
    assert graph() is None
    assert rows() is not None
    metric.reset()
    gc.collect()
    assert rows() is block() is None


# --- max_bytes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "bytes_per_row"), [(toys.Median, 5), (toys.MyPearson, 8), (toys.Kept, 4), (CatMetric, 4)])
@pytest.mark.parametrize("verb", ["update", "forward"])
def test_an_update_beyond_max_bytes_is_refused(kind, bytes_per_row, verb):
    batch = (torch.arange(10.0),) * (2 if kind is toys.MyPearson else 1)
    metric = kind(max_bytes=10 * bytes_per_row * 3)
    for _ in range(3):
        getattr(metric, verb)(*batch)
    before = str(metric.compute())
    with pytest.raises(MemoryError) as caught:
        getattr(metric, verb)(*batch)
    grammatical(caught.value, kind.__name__, (f"would hold {40 * bytes_per_row:,} bytes", f"max_bytes is {30 * bytes_per_row:,}"))
    assert metric.update_count == 3
    assert str(metric.compute()) == before
    metric.reset()
    getattr(metric, verb)(*batch)


def test_a_merge_beyond_max_bytes_is_refused():
    metric, other = CatMetric(max_bytes=100), CatMetric()
    metric.update(torch.ones(20))
    other.update(torch.ones(20))
    with pytest.raises(MemoryError, match="160 bytes"):
        metric.merge_state(other)
    assert len(metric.compute()) == 20


def test_max_bytes_is_of_lists_alone():
    metric = toys.Histogram(max_bytes=0)
    metric.update(torch.ones(3))
    assert metric.compute()["all"] == 3


# --- compute_on_cpu --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [toys.Median, toys.MyPearson])
def test_lists_stay_on_the_cpu_wherever_the_metric_goes(kind):
    """Also when it is moved, loaded, or merged over processes: an accelerator is played by a device of another number."""
    batch = (torch.arange(3.0),) * (2 if kind is toys.MyPearson else 1)
    for wanted in (False, True):
        metric = kind(compute_on_cpu=wanted)
        metric.update(*batch)
        asked = []
        with mock.patch("epochal.stateful.place", side_effect=lambda field, device: asked.append(device) or field):
            metric._device = torch.device("cuda:0")
            name = next(iter(metric.metric_state))
            metric.placed(name, metric.metric_state[name])
            metric.persistent(True)
            metric.load_state_dict(metric.state_dict())
        assert set(asked) == {torch.device("cpu" if wanted else "cuda:0")}


# --- leaks ---------------------------------------------------------------------------------------------------------------------


def cycle(metric, batches):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for batch in batches:
            metric.update(**batch) if isinstance(batch, dict) else metric.update(*batch)
        metric.compute()
        metric(**batches[0]) if isinstance(batches[0], dict) else metric(*batches[0])
        metric.reset()


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


ONE_OF_EACH = {name: EXAMPLES[name][0] for name in sorted(PUBLIC) if EXAMPLES.get(name)}


def leaking(names) -> list[str]:
    """Those of which each cycle leaves an object behind, that Python tracks; a tensor is one."""
    fed = [(ONE_OF_EACH[name].make(), list(ONE_OF_EACH[name].batches())[:2]) for name in names]
    for _ in range(3):
        for metric, batches in fed:
            cycle(metric, batches)
    before = objects()
    for _ in range(10):
        for metric, batches in fed:
            cycle(metric, batches)
    if objects() - before < 10:
        return []
    return list(names) if len(names) == 1 else [name for each in names for name in leaking([each])]


def test_no_metric_leaks():
    assert len(ONE_OF_EACH) > 50
    assert not leaking(list(ONE_OF_EACH))


def test_a_leak_would_be_found(monkeypatch):
    kept = []
    monkeypatch.setattr(
        epochal.MeanMetric, "value", lambda self, mean_value, weight: kept.append([mean_value]) or mean_value / weight
    )
    assert leaking(["MeanMetric", "MaxMetric"]) == ["MeanMetric"]


CYCLES = """
import gc
import torch
from epochal import CatMetric
from epochal.metric import leaves
from tests import toys

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def objects():
    gc.collect()
    return len(gc.get_objects())

class Leaky(toys.Mean):
    kept = []
    def value(self, **state):
        self.kept.append(torch.ones(100))  # 400 bytes of the 2 000 that come
        return super().value(**state)

batch = (torch.arange(500.0),)
for kind in (toys.Mean, CatMetric, toys.MyRange, Leaky):
    metric = kind()
    for cycle in range(10_100):
        if cycle == 100:
            before, known = resident(), objects()
        metric.update(*batch)
        metric.compute()
        metric.reset()
    assert len(leaves(metric)) == 1
    print(kind.__name__, resident() - before, objects() - known)
"""


def test_ten_thousand_cycles_hold_memory_constant():
    """In a process of its own: what other tests have left free would take in a leak, what they do beside would look like one."""
    ran = subprocess.run([sys.executable, "-c", CYCLES], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    grown = {name: (int(memory), int(tracked)) for name, memory, tracked in map(str.split, ran.stdout.splitlines())}
    assert list(grown) == ["Mean", "CatMetric", "MyRange", "Leaky"]
    memory, tracked = grown.pop("Leaky")
    assert memory > 4_000_000
    assert tracked > 5_000
    for name, (memory, tracked) in grown.items():
        assert memory < 2_000_000, name  # of the 20 MB that went through it
        assert tracked < 20, name
