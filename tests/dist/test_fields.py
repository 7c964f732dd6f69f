"""Fields of every reduction in every dtype that torch computes or stores in, small (gathered) and large (reduced), on several
processes of which one has no data: what a fold in float64, cast at each step, gives in one process.
"""

from __future__ import annotations

import functools
import warnings

import pytest
import torch

from epochal import dist
from epochal.metric import Metric

UPDATES = {2: (1, 0), 3: (3, 0, 1), 4: (2, 0, 1, 1)}  # of each rank; the second has no data; they add up to a power of two
POINTWISE = {"sum": 0, "mean": 0, "max": 0, "min": 32}  # with the identity
LOW = {torch.float8_e8m0fnu}  # without a zero


def stores(dtype) -> bool:
    try:
        with warnings.catch_warnings():  # said once in a process: "ComplexHalf support is experimental"
            warnings.simplefilter("ignore")
            torch.tensor([1]).to(dtype).view(torch.uint8)
    except (RuntimeError, NotImplementedError):  # quantized, bits, and integers of less than a byte: torch has no numbers in them
        return False
    return True


DTYPES = sorted({dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype) and stores(dtype)}, key=str)


def test_dtypes_are_found():
    assert {torch.bool, torch.bfloat16, torch.complex32, torch.float8_e4m3fn, torch.uint64} < set(DTYPES)
    assert len(DTYPES) >= 20


def flipped(stacked):
    """A reduction of the user's own."""
    return stacked.flip(0)


def reversed_list(parts):
    """Of a list, it gets the list."""
    assert isinstance(parts, list)
    return torch.cat(parts[::-1])


class Everything(Metric):
    """A field of each reduction, small and large, and lists; the update puts one tensor in all of them."""

    def __init__(self, dtype, **kwargs):
        super().__init__(**kwargs)
        self.kinds = [kind for kind in POINTWISE if not (dtype.is_complex and kind in ("max", "min"))]
        for size, shape in shapes(dtype).items():
            for kind in self.kinds:
                self.add_state(f"{kind}_{size}", torch.full(shape, POINTWISE[kind]).to(dtype), dist_reduce_fx=kind)
            for name, function in (("stacked", None), ("own", flipped)):
                self.add_state(f"{name}_{size}", torch.zeros(shape).to(dtype), dist_reduce_fx=function)
            for name, function in (("cat", "cat"), ("chained", None), ("reversed", reversed_list)):
                self.add_state(f"{name}_{size}", [], dist_reduce_fx=function)

    def update(self, small, large):
        for size, field in (("small", small), ("large", large)):
            for kind in (*self.kinds, "stacked", "own"):
                setattr(self, f"{kind}_{size}", field)
            for kind in ("cat", "chained", "reversed"):
                getattr(self, f"{kind}_{size}").append(field)

    def compute(self):
        return dict(self.metric_state)


def shapes(dtype):
    return {"small": (2, 3), "large": (dist.LARGE // dtype.itemsize + 5,)}


def data(rank, shape, dtype):
    count = torch.Size(shape).numel()
    return ((torch.arange(count) + rank) % 3).reshape(shape).to(dtype)


def everything(rank, size, dtype):
    """The merged fields, as far as they differ from what they should be."""
    metric = Everything(dtype)
    for _ in range(UPDATES[size][rank]):
        metric.update(*(data(rank, shape, dtype) for shape in shapes(dtype).values()))
    merged = metric.compute()
    wrong = []
    for name, expected in expectations(metric, dtype, size).items():
        got = merged[name]
        got, expected = (torch.cat(x) if isinstance(x, list) else x for x in (got, expected))
        if got.dtype != expected.dtype or not torch.equal(got.to(torch.complex128), expected.to(torch.complex128)):
            wrong.append((name, got.dtype, got.flatten()[:6].tolist(), expected.dtype, expected.flatten()[:6].tolist()))
    return wrong, metric.update_count == UPDATES[size][rank]


def expectations(metric, dtype, size):
    """By hand, in one process."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    rows = [(rank, count) for rank, count in enumerate(UPDATES[size]) if count]
    out = {}
    for name, shape in shapes(dtype).items():
        fields = [data(rank, shape, dtype) for rank, _ in rows]
        identities = {kind: torch.full(shape, POINTWISE[kind]).to(dtype) for kind in metric.kinds}
        operations = {"sum": torch.add, "max": torch.maximum, "min": torch.minimum}
        for kind in operations.keys() & identities.keys():
            all_fields = [fields[0], identities[kind], *fields[1:]]  # the second rank has none
            fold = functools.partial(step, operations[kind], wide, dtype)
            out[f"{kind}_{name}"] = functools.reduce(fold, all_fields)
        mean = sum(field.to(wide) * count for field, (_, count) in zip(fields, rows, strict=True)) / sum(UPDATES[size])
        out[f"mean_{name}"] = mean.to(torch.complex64 if dtype.is_complex else torch.float32).to(dtype) if is_float(dtype) else mean
        stacked = [fields[0], torch.zeros(shape).to(dtype), *fields[1:]]
        out[f"stacked_{name}"] = torch.stack(stacked)
        out[f"own_{name}"] = torch.stack(stacked[::-1])
        chained = [field for field, (_, count) in zip(fields, rows, strict=True) for _ in range(count)]
        out[f"cat_{name}"] = out[f"chained_{name}"] = torch.cat(chained)
        out[f"reversed_{name}"] = torch.cat(chained[::-1])
    return out


def step(operation, wide, dtype, a, b):
    return operation(a.to(wide), b.to(wide)).to(torch.float32 if dtype in LOW else wide).to(dtype)


def is_float(dtype):
    return dtype.is_floating_point or dtype.is_complex


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_reduction_in_every_dtype(pool, dtype):
    for wrong, counted in pool.run(everything, dtype):
        assert not wrong
        assert counted


# --- values at the edge -------------------------------------------------------------------------------------------------------

NAN = -torch.tensor(torch.nan)  # with a sign
EDGES = {
    torch.float32: [(1.0, torch.nan), (NAN, 2.0), (torch.inf, NAN), (-torch.inf, torch.inf), (-0.0, 1e-45), (-3.5, -3.25), (-1e38, 0)],
    torch.float64: [(1.0, torch.nan), (NAN, 2.0), (torch.inf, NAN), (-torch.inf, torch.inf), (-0.0, 5e-324), (-3.5, -3.25), (0, 0)],
    torch.int32: [(-(2**31), 2**31 - 1), (-(2**31), -(2**31)), (-1, 0), (2**31 - 1, 5)],
    torch.int64: [(-(2**63), 2**63 - 1), (-(2**63), -(2**63)), (-1, 0), (2**62, 5)],
    torch.uint64: [(2**63 + 5, 3), (2**64 - 1, 2**63), (0, 1), (2**62, 2**62)],
}


class Extremes(Metric):
    def __init__(self, dtype, count, **kwargs):
        super().__init__(**kwargs)
        for kind in ("max", "min", "sum"):
            self.add_state(kind, torch.zeros(count, dtype=dtype), dist_reduce_fx=kind)

    def update(self, x):
        self.max = self.min = self.sum = x

    def compute(self):
        return {"max": self.max, "min": self.min, "sum": self.sum}


def at_the_edge(rank, size, dtype, count):
    pairs = EDGES[dtype] * (count // len(EDGES[dtype]))
    ranks = [torch.tensor([pair[r] for pair in pairs], dtype=dtype) for r in range(2)]
    metric = Extremes(dtype, len(pairs))
    metric.update(ranks[rank])
    got = metric.compute()
    if dtype == torch.uint64:  # torch does not compute in it
        numbers = {"max": max, "min": min, "sum": lambda pair: sum(pair) % 2**64}
        return {kind: got[kind].tolist() == [function(pair) for pair in pairs] for kind, function in numbers.items()}
    expected = {"max": torch.maximum(*ranks), "min": torch.minimum(*ranks), "sum": ranks[0] + ranks[1]}
    return {kind: torch.equal(got[kind].nan_to_num(nan=12345), want.nan_to_num(nan=12345)) for kind, want in expected.items()}


@pytest.mark.parametrize("count", [40, 1 << 15], ids=["small", "large"])
@pytest.mark.parametrize("dtype", EDGES, ids=str)
def test_nan_infinity_and_the_ends_of_a_dtype(pair, dtype, count):
    for answer in pair.run(at_the_edge, dtype, count):
        assert answer == {"max": True, "min": True, "sum": True}


# --- what a class may do to a field ---------------------------------------------------------------------------------------------


class Assigned(Metric):
    """The update puts what it is given, whatever was declared."""

    def __init__(self, default, reduction, **kwargs):
        super().__init__(**kwargs)
        self.add_state("field", default, dist_reduce_fx=reduction)

    def update(self, x):
        self.field = x

    def compute(self):
        return self.field if isinstance(self.field, torch.Tensor) else torch.tensor(self.field)


LARGE = 1 << 15
ASSIGNED = {  # default, reduction, what each of two ranks holds (None: no data), the result
    "float64 on a rank": (torch.zeros(2), "sum", (torch.full((2,), 0.1).double(), None), torch.full((2,), 0.1).double()),
    "float64 on a rank, large": (torch.zeros(LARGE), "sum", (None, torch.full((LARGE,), 0.1).double()), torch.full((LARGE,), 0.1).double()),
    "float16, large": (torch.zeros(LARGE), "max", (torch.ones(LARGE).half(), torch.zeros(LARGE).half()), torch.ones(LARGE).half()),
    "complex, large": (torch.zeros(LARGE), "sum", (torch.full((LARGE,), 1j), torch.full((LARGE,), 2.0)), torch.full((LARGE,), 2 + 1j)),
    "bool, large": (torch.zeros(LARGE).int(), "sum", (torch.ones(LARGE) > 0, torch.ones(LARGE) > 0), torch.ones(LARGE) > 0),
    "a number": (torch.tensor(0), "sum", (3, 4), torch.tensor(7)),
    "a conjugate": (torch.zeros(2).cfloat(), "sum", (torch.tensor([1j, 2]).conj(), None), torch.tensor([-1j, 2])),
    "an imaginary part of one": (torch.zeros(2), "sum", (torch.tensor([1j, 2j]).conj().imag, None), torch.tensor([-1.0, -2.0])),
    "transposed": (torch.zeros(2, 3), None, (torch.arange(6.0).view(3, 2).T,) * 2, torch.stack([torch.arange(6.0).view(3, 2).T] * 2)),
    "float8 and float32": (torch.zeros(2).to(torch.float8_e5m2), "sum", (None, torch.tensor([0.1, 2])), torch.tensor([0.1, 2])),
    "empty": (torch.zeros(0, 3), "sum", (torch.zeros(0, 3), None), torch.zeros(0, 3)),
    "the mean of NaN without weight": (torch.tensor(torch.nan), "mean", (None, torch.tensor(2.0)), torch.tensor(2.0)),
    "the mean of half": (torch.tensor(0.0).half(), "mean", (torch.tensor(6e4).half(),) * 2, torch.tensor(6e4).half()),
}  # fmt: skip


def assigned(rank, size, name):
    default, reduction, ranks, expected = ASSIGNED[name]
    metric = Assigned(default, reduction)
    if ranks[rank] is not None:
        metric.update(ranks[rank])
    value = metric.compute()
    return value.dtype, expected.dtype, torch.equal(value, expected), metric.field is ranks[rank] or ranks[rank] is None


@pytest.mark.parametrize("name", ASSIGNED)
def test_what_was_assigned_is_what_merges(pair, name):
    for dtype, expected, equal, kept in pair.run(assigned, name):
        assert dtype == expected
        assert equal
        assert kept
