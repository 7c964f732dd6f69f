"""Metrics that look at a batch through one network, which runs once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from epochal import check
from epochal.collection import MetricCollection
from epochal.metric import Metric
from epochal.states import version
from epochal.wrappers.base import nested

__all__ = ["FeatureShare", "SharedNetwork"]


class SharedNetwork(nn.Module):
    """A network that runs once for one input while :meth:`remembering`; else it is as it was, attributes included.

    Args:
        network: the network.
        max_cache_size: for how many inputs the outputs are kept, the latest; None: for all.
    """

    def __init__(self, network: nn.Module, max_cache_size: int | None = None) -> None:
        super().__init__()
        self.network, self.max_cache_size = network, max_cache_size
        self._kept: list[tuple[Any, Any, Any]] | None = None  # inputs and their versions, and what came out

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside, what came out for an input is kept; after it, nothing is."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._kept is None:
            return self.network(*args, **kwargs)
        given = (args, kwargs, torch.is_grad_enabled())
        for known, versions, output in self._kept:
            if equal(known, given) and versions == written(known):
                return output
        output = self.network(*args, **kwargs)
        self._kept.append((given, written(given), output))
        if self.max_cache_size is not None:
            del self._kept[: -self.max_cache_size or None]
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


class FeatureShare(MetricCollection):
    """A collection whose metrics look at a batch through one network, which runs once for it.

    A metric says in ``feature_network`` which of its attributes is the network. Networks of one class with equal settings and
    weights become one, so that they also take memory once; one that is different stays apart and runs by itself. What came out
    is kept for one call of the collection, and no longer.

    Args:
        metrics: as of :class:`~epochal.collection.MetricCollection`.
        max_cache_size: for how many inputs of an update outputs are kept, the latest; None: for all of them.

    Raises:
        TypeError: a metric names no network.

    >>> class Norm(Metric):
    ...     feature_network = "network"
    ...     def __init__(self, network):
    ...         super().__init__()
    ...         self.network = network
    ...         self.add_state("total", torch.tensor(0.0), "sum")
    ...     def measure(self, x):
    ...         return {"total": self.network(x).norm(dim=1).sum()}
    ...     def value(self, total):
    ...         return total
    >>> FeatureShare({"a": Norm(nn.Identity()), "b": Norm(nn.Identity())})(torch.tensor([[3.0, 4.0]]))
    {'a': tensor(5.), 'b': tensor(5.)}
    """

    def __init__(self, metrics: Any, max_cache_size: int | None = None) -> None:
        if max_cache_size is not None:
            check.whole(self, "max_cache_size", max_cache_size, 1)
        self.__dict__["max_cache_size"] = max_cache_size
        super().__init__(metrics)

    def add_metrics(self, metrics: Any, *additional_metrics: Any) -> None:
        before = set(self._modules)
        super().add_metrics(metrics, *additional_metrics)
        added = {name: metric for name, metric in self.members().items() if name not in before}
        try:
            found = {name: self._network_of(name, metric) for name, metric in added.items()}
        except TypeError:
            for name in added:
                del self._modules[name]
            raise
        for name, (attribute, network) in found.items():
            setattr(self.members()[name], attribute, self._shared(network))

    def _network_of(self, name: str, metric: Metric) -> tuple[str, nn.Module]:
        attribute = getattr(metric, "feature_network", None)
        network = getattr(metric, attribute, None) if isinstance(attribute, str) else None
        if not isinstance(attribute, str) or not isinstance(network, nn.Module):
            came = f"feature_network of member {name!r} is {attribute!r}"
            raise TypeError(check.message(self, came, "the name of an attribute that is a torch.nn.Module is needed"))
        return attribute, network

    def _shared(self, network: nn.Module) -> SharedNetwork:
        bare = network.network if isinstance(network, SharedNetwork) else network
        alike = (shared for shared in self.networks() if same_network(shared.network, bare))
        return next(alike, None) or SharedNetwork(bare, self.__dict__["max_cache_size"])

    def networks(self) -> list[SharedNetwork]:
        """The networks, each once."""
        return [module for module in self.modules() if isinstance(module, SharedNetwork)]

    # --- the verbs that take a batch -------------------------------------------------------------------------------------

    @contextmanager
    def _once(self) -> Iterator[None]:
        with ExitStack() as stack:
            for network in self.networks():
                stack.enter_context(network.remembering())
            yield

    def update(self, *args: Any, **kwargs: Any) -> None:
        with self._once():
            super().update(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._once():
            return super().forward(*args, **kwargs)

    def of(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._once():
            return super().of(*args, **kwargs)

    def batch_value(self) -> dict[str, Any]:
        with self._once():
            return super().batch_value()


def written(value: Any) -> list[Any]:
    """How often each tensor in the arguments of a call was written to."""
    return [version(tensor) for tensor in nested(value)]


def equal(a: Any, b: Any) -> bool:
    """Whether two arguments are the same: tensors by identity, and by value where a look at it is free."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a is b:
            return True
        looks_alike = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and a.requires_grad == b.requires_grad
        return looks_alike and not a.requires_grad and check.reads_values(a.device) and torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a is b or (type(a) is type(b) in (bool, int, float, str) and bool(a == b))


def same_network(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks compute the same: of one class, with the same settings, parts, and weights."""
    if a is b:
        return True
    mine, its = list(a.named_modules()), list(b.named_modules())
    return (
        len(mine) == len(its)
        and all(
            name == other and type(x) is type(y) and equal(settings(x), settings(y))
            for (name, x), (other, y) in zip(mine, its, strict=True)
        )
        and equal_weights(a.state_dict(), b.state_dict())
    )


def settings(module: nn.Module) -> dict[str, Any]:
    """What a module was told, besides weights and parts."""
    return {name: value for name, value in module.__dict__.items() if not name.startswith("_")}


def equal_weights(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    def same(x: Any, y: Any) -> bool:
        return x is y or (isinstance(x, Tensor) and isinstance(y, Tensor) and x.device == y.device and torch.equal(x, y))

    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
