"""Nothing in ``update``, ``forward`` or ``of`` of a metric of fixed-shape state waits for the device, and no state leaves it.

Twice: on the CPU with deferred checks, where values are real; and on an accelerator that is not there, whose tensors have a
shape, a dtype and a device but no values (FakeTensor), so that whatever asks for the device takes the accelerator's branch, and a
value that is read is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from epochal import check, numeric
from epochal.metric import leaves
from epochal.resplit import call
from tests.compile.choice import CHOSEN, FIXED

READ = {  # whose results are values on the host, or have a shape that is one
    "_local_scalar_dense", "is_nonzero", "equal", "allclose", "nonzero", "argwhere", "masked_select", "bincount", "histc",
    "_unique", "_unique2", "unique_dim", "unique_dim_consecutive", "unique_consecutive", "repeat_interleave",
}  # fmt: skip
COPIED = {"_to_copy", "copy_", "to"}
FILE = numeric.__file__


def is_constant() -> bool:
    """Whether :func:`epochal.numeric.constant` is at work: once, not in each step."""
    frame = sys._getframe(1)  # the stack has no other name
    while frame is not None:
        if frame.f_code.co_filename == FILE and frame.f_code.co_name == "made":
            return True
        frame = frame.f_back
    return False


class Watched(TorchDispatchMode):
    """Refuses the operations for which a device would have to be waited for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")  # torch has no public one
        masks = [t for t in tree_leaves(args[1:]) if isinstance(t, Tensor) and t.dtype in (torch.bool, torch.uint8)]
        assert name not in READ, f"{name} reads values"
        assert not (name in ("index", "index_put", "index_put_", "_index_put_impl_") and masks), f"{name} by a mask reads it"
        out = function(*args, **kwargs or {})
        if name in COPIED:
            devices = {tensor.device for tensor in tree_leaves((args, out)) if isinstance(tensor, Tensor)}
            assert len(devices) == 1 or is_constant(), f"{name} copies over {devices}"
        return out


def verbs(metric: Any) -> list[Callable[..., Any]]:
    return [metric.update, metric.forward, metric.of]


@pytest.mark.parametrize("example", FIXED, ids=str)
def test_no_value_is_read(example):
    first, second, *_ = example.batches()
    metric = example.make()
    with check.deferred():
        call(metric.forward, first)
        with Watched():
            for verb in verbs(metric):
                call(verb, second)


FAKES = FakeTensorMode(allow_non_fake_inputs=True)  # metrics are built outside: some copy another, which takes values
ELSEWHERE = torch.device("lazy:0")  # which torch for the CPU alone can index and copy to, as it cannot with "cuda"


def there(value: Any) -> Any:
    return FAKES.from_tensor(value).to(ELSEWHERE) if isinstance(value, Tensor) else value


@pytest.mark.parametrize("example", CHOSEN, ids=str)
def test_nothing_leaves_an_accelerator(example):
    first, second, *_ = example.batches()
    metric = example.make()
    with FAKES:
        metric.to(ELSEWHERE)
        first, second = tree_map(there, first), tree_map(there, second)
        call(metric.forward, first)
        with Watched():
            values = [call(verb, second) for verb in verbs(metric)]
        found = {leaf: leaf.metric_state for leaf in leaves(metric)}
        assert {t.device for t in tree_leaves([values, *found.values()]) if isinstance(t, Tensor)} == {ELSEWHERE}


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: float(x[0]),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.long().unique(),
        lambda x: x.abs().long().bincount(),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: torch.repeat_interleave(x, x.abs().long()),
    ],
)
def test_what_reads_is_caught(reads):
    with pytest.raises(AssertionError, match="read"), Watched():
        reads(torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize(
    "copies", [lambda x: x.cpu(), lambda x: x + torch.tensor([1.0]).to(x.device), lambda x: x.new_tensor([1.0, 2.0])]
)
def test_what_copies_is_caught(copies):
    with FAKES, pytest.raises(AssertionError, match="copies over"), Watched():
        copies(torch.zeros(2, device=ELSEWHERE))


@pytest.mark.parametrize("reads", [lambda x: x.tolist(), lambda x: x.numpy(), lambda x: x.item()])
def test_what_has_no_value_cannot_be_read(reads):
    """The first two read memory that is at hand without an operation, so that only this catches them."""
    with FAKES, pytest.raises((RuntimeError, TypeError)):
        reads(torch.zeros(1, device=ELSEWHERE))


def test_a_constant_is_made_once():
    made = []

    @numeric.constant
    def constant(size, device):
        made.append(size)
        return (torch.arange(size, device=device),)

    cpu = torch.device("cpu")
    for _ in range(2):
        assert constant(3, cpu)[0].tolist() == [0, 1, 2]
    with FAKES:
        constant(4, cpu)
    assert constant(4, cpu)[0].tolist() == [0, 1, 2, 3]  # not the one without values
    assert made == [3, 4, 4]
