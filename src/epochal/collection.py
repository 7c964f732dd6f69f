"""MetricCollection: metrics that take the same batches, under names."""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from typing_extensions import Self

from epochal import check, plot
from epochal.arithmetic import CompositionalMetric
from epochal.metric import Metric, all_or_none
from epochal.sharing import Together, Values

__all__ = ["MetricCollection"]

Members: TypeAlias = "Metric | MetricCollection | Sequence[Metric | MetricCollection] | Mapping[str, Metric | MetricCollection]"


class MetricCollection(nn.ModuleDict):
    """Metrics that take the same batches; every verb returns a dictionary of their results.

    Each member behaves exactly as it would alone, whatever is called on it or on the collection. What several read of a batch is
    measured, merged and derived once; all of them take a batch, or none if one fails; ``compute`` merges all in one exchange.

    >>> from epochal.aggregation import MaxMetric, MeanMetric
    >>> loss = MetricCollection({"mean": MeanMetric(), "max": MaxMetric()}, prefix="loss_")
    >>> loss(torch.tensor([1.0, 3.0]))
    {'loss_max': tensor(3.), 'loss_mean': tensor(2.)}

    Args:
        metrics: a metric, a list of them (each is named after its class), a dictionary (in the order of its sorted names), or
            collections among them, whose members become members of this one: under the names that they have there, preceded
            by the key and "_" in a dictionary.
        additional_metrics: more of them, where ``metrics`` is not a dictionary.
        prefix, postfix: put before and behind each name in results.
        compute_groups: False: nothing is shared. Who shares a statistic is declared by the metrics, so that a list of names, as
            other libraries take it, is checked and changes nothing.

    A keyword argument goes to the members whose ``update`` takes it. A result that is a dictionary becomes entries: under its own
    keys, or, where any two names would be equal, preceded by the member's name in all of them. In a formula of metrics that are
    members too, each takes a batch once.
    """

    prefix: str | None
    postfix: str | None
    _nested: dict[str, tuple[str, str, str]]  # of members from other collections: the prefix and postfix there, and the bare name
    _share: bool
    _together: Together | None

    def __init__(
        self,
        metrics: Members,
        *additional_metrics: Metric | MetricCollection,
        prefix: str | None = None,
        postfix: str | None = None,
        compute_groups: bool | list[list[str]] = True,
    ) -> None:
        super().__init__()
        self.prefix, self.postfix = _affix("prefix", prefix), _affix("postfix", postfix)
        self._nested, self._share, self._together = {}, compute_groups is not False, None
        self.add_metrics(metrics, *additional_metrics)
        for name in [name for group in compute_groups for name in group] if isinstance(compute_groups, list) else []:
            check.choice(self, "a name in compute_groups", name, list(self._modules))

    # --- members ---------------------------------------------------------------------------------------------------------

    def add_metrics(self, metrics: Members, *additional_metrics: Metric | MetricCollection) -> None:
        """Add members, given as for the collection itself; if one cannot be added, none is."""
        if isinstance(metrics, Mapping):
            if additional_metrics:
                check.fail(
                    self,
                    f"{len(additional_metrics)} metrics came after a dictionary",
                    "their names are needed, too",
                    "Put them into the dictionary, or pass a list of metrics.",
                )
            entries: list[tuple[Any, Any]] = [(name, metrics[name]) for name in sorted(metrics, key=str)]
        else:
            first = metrics if isinstance(metrics, Sequence) and not isinstance(metrics, str) else [metrics]
            entries = [(None, metric) for metric in (*first, *additional_metrics)]
        found: dict[str, tuple[Metric, tuple[str, str, str] | None]] = {}
        for name, entry in entries:
            for full, metric, nested in self._unfolded(name, entry):
                self._check_new(full, metric, {**self._modules, **{key: known for key, (known, _) in found.items()}})
                found[full] = metric, nested
        for full, (metric, nested) in found.items():
            self.add_module(full, metric)
            self._nested.pop(full, None)
            if nested:
                self._nested[full] = nested

    def _unfolded(self, name: Any, entry: Any) -> Iterator[tuple[str, Metric, tuple[str, str, str] | None]]:
        """The members that an entry stands for: their names, and what they were called in a collection of their own."""
        if isinstance(entry, MetricCollection):
            key = "" if name is None else f"{name}_"
            for inner, metric in entry.members().items():
                bare = entry._nested.get(inner, ("", "", inner))[2]  # noqa: SLF001  # its own class
                yield key + entry.named(inner), metric, (entry.prefix or "", entry.postfix or "", key + bare)
        elif isinstance(entry, Metric):
            yield type(entry).__name__ if name is None else name, entry, None
        else:
            where = "a member" if name is None else f"member {name!r}"
            raise TypeError(check.message(self, f"{where} is {entry!r}", "a Metric or a MetricCollection is needed"))

    def _check_new(self, name: Any, metric: Metric, known: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(check.message(self, f"a name is {name!r}", "a string is needed", f"Pass {str(name)!r}."))
        if name in known:
            check.fail(
                self, f"two members are named {name!r}", "each needs a name of its own", "Pass a dictionary with a name for each."
            )
        if not name or "." in name or hasattr(self, name):
            needed = "one without dots that is no attribute of a collection is needed"
            check.fail(self, f"a name is {name!r}", needed, "Choose another.")
        for other, member in known.items():
            if member is metric:
                check.fail(
                    self, f"members {other!r} and {name!r} are one object", "each needs its own state", "Pass metric.clone()."
                )

    def members(self) -> dict[str, Metric]:
        """The metrics by their names in this collection, without its prefix and postfix."""
        return cast("dict[str, Metric]", self._modules)

    def named(self, name: str) -> str:
        """A name as results have it."""
        return f"{self.prefix or ''}{name}{self.postfix or ''}"

    def keys(self, keep_base: bool = False) -> KeysView[str]:
        """The names, with prefix and postfix, or without for ``keep_base=True``."""
        return {name if keep_base else self.named(name): None for name in self._modules}.keys()

    def items(self, keep_base: bool = False, copy_state: bool = True) -> ItemsView[str, Metric]:  # noqa: ARG002
        """Names and metrics. ``copy_state`` has no effect: members never refer to each other's state."""
        return {name if keep_base else self.named(name): metric for name, metric in self.members().items()}.items()

    def values(self, copy_state: bool = True) -> ValuesView[Metric]:  # noqa: ARG002
        """The metrics."""
        return self.members().values()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self.keys()

    def __getitem__(self, name: str) -> Metric:
        """A member, by its name with or without prefix and postfix."""
        for base, metric in self.members().items():
            if name in (base, self.named(base)):
                return metric
        raise KeyError(check.message(self, f"there is no {name!r}", f"one of {list(self.keys())} is needed"))

    @property
    def compute_groups(self) -> dict[int, list[str]]:
        """The names of the members that share a statistic, group by group; empty for ``compute_groups=False``."""
        if not self._share:
            return {}
        groups: dict[Any, list[str]] = {}
        for name, metric in self.members().items():
            groups.setdefault(metric.statistic() or id(metric), []).append(name)
        return dict(enumerate(groups.values()))

    # --- the verbs -------------------------------------------------------------------------------------------------------

    def _all(self) -> Together:
        """The plan for the distinct metrics, those in formulas among them."""
        found: dict[int, Metric] = {}
        for metric in self.members().values():
            for part in metric.metrics if isinstance(metric, CompositionalMetric) else (metric,):
                found[id(part)] = part
        metrics, plan = list(found.values()), self._together
        if plan is None or not plan.fits(metrics):
            plan = self.__dict__["_together"] = Together(self, metrics, self._share)
        return plan

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to all members, or, if one of them refuses it, to none."""
        self._all().update(args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Add a batch to all members, or to none; the values of this batch alone, by name."""
        return self._results(self._all().forward(args, kwargs))

    def of(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The values of these data alone, by name; no state is read or changed."""
        return self._results(self._all().of(args, kwargs))

    def compute(self) -> dict[str, Any]:
        """The values of all data, over all processes, by name."""
        return self._results(self._all().compute())

    def peek(self) -> dict[str, Any]:
        """The values of the states as they are here, by name; see :meth:`Metric.peek`."""
        return self._results({id(metric): metric.peek() for metric in self._all().metrics})

    def batch_value(self) -> dict[str, Any]:
        """The values of the last batch alone, by name; None for a member that has taken none."""
        return self._results({id(metric): metric.batch_value() for metric in self._all().metrics})

    def _by_member(self, values: Values) -> dict[str, Any]:
        return {
            name: metric.evaluated(values) if isinstance(metric, CompositionalMetric) else values[id(metric)]
            for name, metric in self.members().items()
        }

    def _results(self, values: Values) -> dict[str, Any]:
        return self.flattened(self._by_member(values))

    def flattened(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Results by member as results by name: one for each entry of a dictionary, behind its member's name if any two would be
        equal."""
        if not any(isinstance(result, dict) for result in results.values()):
            return {self.named(name): result for name, result in results.items()}
        plain = [key for name, result in results.items() for key in (result if isinstance(result, dict) else [name])]
        clash = len(set(plain)) < len(plain)
        out: dict[str, Any] = {}
        for name, result in results.items():
            prefix, postfix, bare = self._nested.get(name, ("", "", name))
            entries = {self.named(name): result}
            if isinstance(result, dict):
                before = f"{bare}_" if clash else ""
                entries = {self.named(f"{prefix}{before}{key}{postfix}"): value for key, value in result.items()}
            for key in entries:
                if key in out:
                    check.fail(self, f"two results are named {key!r}", "each needs a name of its own", "Rename a member.")
            out.update(entries)
        return out

    def reset(self) -> None:
        """All members back to the identity."""
        for metric in self.members().values():
            metric.reset()

    def merge_state(self, incoming_state: MetricCollection) -> None:
        """Merge the states of a collection with the same members into this one: of all, or, if one of them refuses, of none."""
        theirs = incoming_state.members() if isinstance(incoming_state, MetricCollection) else {}
        if list(theirs) != list(self._modules):
            check.fail(self, f"merge_state got the members {list(theirs)}", f"{list(self._modules)} are needed")
        metrics = self._all().metrics
        others = incoming_state._all().metrics
        with all_or_none(metrics):
            for metric, other in zip(metrics, others, strict=True):
                metric.merge_state(other)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """The states of a file for all members or, if one of them is refused, for none; see :meth:`Metric.load_state_dict`."""
        with all_or_none(self._all().metrics):
            return super().load_state_dict(state_dict, strict, assign)

    # --- the life around it ------------------------------------------------------------------------------------------------

    @property
    def metric_state(self) -> dict[str, dict[str, Any]]:
        """The fields of each member's state, by name."""
        return {name: metric.metric_state for name, metric in self.items()}

    def persistent(self, mode: bool = True) -> None:
        """Whether ``state_dict`` holds the states."""
        for metric in self.members().values():
            metric.persistent(mode)

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """The dtype of float results of all members."""
        for metric in self.members().values():
            metric.set_dtype(dst_type)
        return self

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> Self:
        """An independent copy, states included, with another prefix or postfix where one is given."""
        twin = copy.deepcopy(self)
        if prefix is not None:
            twin.prefix = _affix("prefix", prefix)
        if postfix is not None:
            twin.postfix = _affix("postfix", postfix)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_together": None}

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in (("prefix", self.prefix), ("postfix", self.postfix)) if v)

    def _parted(self, results: Any) -> dict[str, Any]:
        """By member, results as ``compute`` returns them, or a list of them.

        Entries that came from dictionaries are those of the only member which is not named itself, or else nobody's, "".
        """
        if isinstance(results, list):
            rows = [self._parted(row) for row in results]
            names = dict.fromkeys(name for row in rows for name in row)
            return {name: [row[name] for row in rows if name in row] for name in names}
        found = {name: results[self.named(name)] for name in self._modules if self.named(name) in results}
        rest = {key: value for key, value in results.items() if key not in map(self.named, found)}
        others = [name for name in self._modules if name not in found]
        return {**found, others[0] if len(others) == 1 else "": rest} if rest else found

    def plot(self, val: Any = None, ax: Any = None, together: bool = False) -> Any:
        """Draw the members' values: a list of matplotlib's figure and axes for each, or one pair of all for ``together=True``.

        Args:
            val: a dictionary as ``compute`` returns it, or a list of them: those of several steps. Default: the current values.
            ax: axes for each member, or a ``matplotlib.figure.Figure`` which they share, side by side. Default: figures of pyplot.
            together: all values in one picture; those that are numbers, or vectors of numbers.
        """
        if together:
            return plot.together(self, self.compute() if val is None else val, ax)
        results = self._by_member(self._all().compute()) if val is None else self._parted(val)
        rest: Any = (type(self).__name__, plot.plot_value)
        titles: dict[str, Any] = {"": rest, **{name: (self.named(name), metric.plot) for name, metric in self.members().items()}}
        return plot.each(self, [(*titles[name], result) for name, result in results.items()], ax)


def _affix(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(check.message("MetricCollection", f"{name} is {value!r}", "a string is needed", f"Pass {str(value)!r}."))
    return value
