"""Input checks, and the one grammar of errors.

    {metric}: {what came}, but {what is needed}. {the likely fix}.

Shapes, dtypes and arguments are Python facts and always checked. Values (labels in range, NaN) would cost a wait for the device:
a statistic counts the bad ones, and they are read before an eager update on the CPU commits, else at ``compute``
(:func:`reads_values`, :func:`deferred`).
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

CPU = torch.device("cpu")  # to compare with: the name of a device's type costs ten times as much
# Whether torch.func.vmap is at work, where nothing has a value; torch has no public word for it.
is_transforming: Callable[[], bool] = torch._C._are_functorch_transforms_active  # noqa: SLF001
F = TypeVar("F", bound=Callable[..., Any])
_values: ContextVar[str] = ContextVar("epochal_values", default="read")


@contextmanager
def _as(way: str) -> Iterator[None]:
    token = _values.set(way)
    try:
        yield
    finally:
        _values.reset(token)


def deferred() -> AbstractContextManager[None]:
    """Inside, no ``update`` reads a value: faults in the data are found at ``compute``, as on an accelerator."""
    return _as("deferred")


def vetted() -> AbstractContextManager[None]:
    """Inside, no value is read either, but somebody has looked at these data: what was said of them is not said again."""
    return _as("vetted")


def reads_values(device: torch.device) -> bool:
    """Whether looking at a value is free here: in eager mode, on the CPU."""
    return device == CPU and not (is_dynamo_compiling() or is_transforming()) and _values.get() == "read"


def are_vetted() -> bool:
    """Whether faults in the data are known already, so that a statistic has none left to report."""
    return not is_dynamo_compiling() and _values.get() == "vetted"


def name_of(metric: object) -> str:
    return metric if isinstance(metric, str) else type(metric).__name__


def message(metric: object, came: str, needed: str, fix: str = "") -> str:
    text = f"{name_of(metric)}: {came}, but {needed}."
    return f"{text} {fix}" if fix else text


def shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def fail(metric: object, came: str, needed: str, fix: str = "") -> NoReturn:
    raise ValueError(message(metric, came, needed, fix))


def tensors(metric: object, **inputs: Any) -> None:
    """Each input is a tensor."""
    for name, value in inputs.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                message(metric, f"{name} is a {type(value).__name__}", "a Tensor is needed", f"Pass torch.as_tensor({name}).")
            )


def same_shape(metric: object, **inputs: Tensor) -> None:
    """Both inputs are tensors of one shape."""
    (first, a), (second, b) = inputs.items()
    tensors(metric, **inputs)
    if a.shape != b.shape:
        fail(
            metric,
            f"{first} has shape {shape(a)}",
            f"{second} has shape {shape(b)}",
            f"Pass them with one shape; a trailing dimension of 1 is removed by {first}.squeeze(-1).",
        )


def one_number(metric: object, what: str, a: Tensor, b: Tensor) -> None:
    """Two fields with a first dimension that follows from the data have it in common; the identity does not have it yet."""
    if a.shape != b.shape and a.ndim == b.ndim:
        came = f"data of {a.shape[0]} and of {b.shape[0]} {what} meet"
        fail(metric, came, "one number is needed", "Use a metric for each, or reset it between.")


def pair(metric: object, preds: Tensor, target: Tensor) -> None:
    """``preds`` and ``target`` are tensors of real numbers and of one shape."""
    if (
        not (isinstance(preds, Tensor) and isinstance(target, Tensor) and preds.shape == target.shape)
        or preds.is_complex()
        or target.is_complex()
    ):
        same_shape(metric, preds=preds, target=target)
        real(metric, preds=preds, target=target)


def floating(metric: object, **inputs: Tensor) -> None:
    for name, tensor in inputs.items():
        if not tensor.is_floating_point():
            raise TypeError(message(metric, f"{name} has dtype {tensor.dtype}", "floats are needed", f"Pass {name}.float()."))


def real(metric: object, **inputs: Tensor) -> None:
    """No complex numbers, which most formulas would square with another meaning."""
    for name, tensor in inputs.items():
        if tensor.is_complex():
            raise TypeError(
                message(metric, f"{name} has dtype {tensor.dtype}", "real numbers are needed", f"Pass {name}.abs() or {name}.real.")
            )


def integers(metric: object, **inputs: Tensor) -> None:
    for name, tensor in inputs.items():
        if tensor.is_floating_point() or tensor.is_complex():
            raise TypeError(
                message(metric, f"{name} has dtype {tensor.dtype}", "integer or bool labels are needed", f"Pass {name}.long().")
            )


def choice(metric: object, name: str, value: Any, choices: Collection[Any]) -> None:
    """An argument is one of a few values."""
    if value not in choices:
        fail(metric, f"{name} is {value!r}", f"one of {list(choices)} is needed", closest(str(value), [str(c) for c in choices]))


def number(metric: object, name: str, value: Any, low: float, high: float = float("inf")) -> None:
    """An argument is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(message(metric, f"{name} is {value!r}", "a number is needed"))
    if not low <= value <= high:
        fail(metric, f"{name} is {value!r}", f"a number in [{low}, {high}] is needed")


def whole(metric: object, name: str, value: Any, low: int) -> None:
    """An argument is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(message(metric, f"{name} is {value!r}", "an integer is needed", f"Pass {name}={low}, or more."))
    if value < low:
        fail(metric, f"{name} is {value!r}", f"at least {low} is needed")


def closest(word: str, words: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {match[0]!r}?" if match else ""


def unknown_arguments(metric: object, unknown: Mapping[str, Any], known: Collection[str]) -> None:
    """Keyword arguments that nobody takes, with the nearest name that somebody does."""
    if unknown:
        word = next(iter(unknown))
        raise TypeError(
            message(metric, f"unexpected argument {word!r}", f"it takes {', '.join(sorted(known))}", closest(word, sorted(known)))
        )


def constant_result(function: F) -> F:
    """``torch.compiler.assume_constant_result``, which would import the compiler: that takes a second, at each import of ours."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001  # all that torch's own does
    return function


@constant_result
def arguments(method: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names of the arguments that a method takes; None: any."""
    return _arguments(method)


@functools.cache
def _arguments(method: Callable[..., Any]) -> tuple[str, ...] | None:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def call(metric: object, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise the error in our grammar if ``function`` cannot be called so; return if it can."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        given = [type(a).__name__ for a in args] + [f"{k}={type(v).__name__}" for k, v in kwargs.items()]
        raise TypeError(
            message(metric, f"update was called with ({', '.join(given)})", f"it takes {signature}", f"Python says: {error}.")
        ) from None
