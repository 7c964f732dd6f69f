"""Metrics for the tasks of a model."""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, cast

from torch import nn
from typing_extensions import Self

from epochal import check
from epochal.collection import MetricCollection
from epochal.plot import each
from epochal.wrappers.base import Inner, Share, Wrapper, affix, metric_needed

__all__ = ["MultitaskWrapper"]


class MultitaskWrapper(Wrapper, composite=True):
    """A metric, or a collection, for each task of a model.

    ``update(task_preds, task_targets)``: dictionaries with an entry for each task; what else is in them is left alone.
    ``compute()``: a dictionary of the tasks' values, in the order of the tasks.

    Args:
        task_metrics: metrics or collections by the names of their tasks.
        prefix, postfix: put before and behind each name in results.

    Raises:
        ValueError: an entry is missing, or a name cannot be that of a module.

    >>> from epochal import MeanSquaredError
    >>> from epochal.classification import BinaryAccuracy
    >>> both = MultitaskWrapper({"car": BinaryAccuracy(), "depth": MeanSquaredError()}, prefix="val_")
    >>> given = {"car": torch.tensor([1, 0]), "depth": torch.tensor([1.0, 3.0])}
    >>> both(given, {"car": torch.tensor([1, 1]), "depth": torch.tensor([1.0, 1.0])})
    {'val_car': tensor(0.5000), 'val_depth': tensor(2.)}
    """

    task_metrics: nn.ModuleDict

    def __init__(self, task_metrics: Mapping[str, Inner], prefix: str | None = None, postfix: str | None = None) -> None:
        super().__init__()
        if not isinstance(task_metrics, Mapping):
            came = f"task_metrics is a {type(task_metrics).__name__}"
            raise TypeError(check.message(self, came, "a dictionary of metrics by task is needed"))
        for task, metric in task_metrics.items():
            metric_needed(self, f"the metric of task {task!r}", metric)
            if not isinstance(task, str) or not task or "." in task or hasattr(nn.ModuleDict, task):
                needed = "a string without dots that is no attribute of a dictionary is needed"
                check.fail(self, f"the name of a task is {task!r}", needed, "Choose another.")
        if not task_metrics:
            check.fail(self, "task_metrics is empty", "at least one task is needed")
        self.prefix, self.postfix = affix(self, "prefix", prefix), affix(self, "postfix", postfix)
        self.hold(task_metrics=nn.ModuleDict(task_metrics))

    @property
    def inner(self) -> Sequence[Inner]:
        return list(self._tasks().values())

    def _tasks(self) -> Mapping[str, Inner]:
        return {task: cast(Inner, metric) for task, metric in self.task_metrics.items()}

    def update(self, task_preds: Mapping[str, Any], task_targets: Mapping[str, Any]) -> None:
        super().update(task_preds, task_targets)

    def forward(self, task_preds: Mapping[str, Any], task_targets: Mapping[str, Any]) -> Any:
        return super().forward(task_preds, task_targets)

    def of(self, task_preds: Mapping[str, Any], task_targets: Mapping[str, Any]) -> Any:
        return super().of(task_preds, task_targets)

    def shares(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Share]:  # noqa: ARG002
        for name, given in zip(("task_preds", "task_targets"), args, strict=True):
            if not isinstance(given, Mapping):
                came = f"{name} is a {type(given).__name__}"
                raise TypeError(check.message(self, came, "a dictionary with an entry for each task is needed"))
            if missing := [task for task in self._tasks() if task not in given]:
                check.fail(self, f"{name} has {sorted(given)}", f"{missing} are needed, too")
        preds, targets = args
        return [((preds[task], targets[task]), {}) for task in self._tasks()]

    def result(self, values: Sequence[Any], **_: Any) -> dict[str, Any]:
        return {self._named(task): value for task, value in zip(self._tasks(), values, strict=True)}

    def _named(self, task: str) -> str:
        return f"{self.prefix}{task}{self.postfix}"

    def keywords(self) -> Sequence[str]:
        return ("task_preds", "task_targets")

    def plot(self, val: Any = None, axes: Any = None) -> list[Any]:  # type: ignore[override]
        """Draw each task's value, or ``val``: a list of matplotlib's figure and axes for each, or of such lists for collections.

        Args:
            val: a dictionary as ``compute`` returns it, or a list of them: those of several steps. Default: the current values.
            axes: axes for each task, or a ``matplotlib.figure.Figure`` which they share. Default: figures of pyplot.
        """
        results = self.compute() if val is None else val

        def of(name: str) -> Any:
            return [step[name] for step in results] if isinstance(results, list) else results[name]

        return each(self, [(self._named(task), metric.plot, of(self._named(task))) for task, metric in self._tasks().items()], axes)

    # --- as a dictionary ---------------------------------------------------------------------------------------------------

    def keys(self, flatten: bool = True) -> KeysView[str]:
        """The names of the tasks as results have them; those of a collection's members after theirs, unless ``flatten=False``."""
        return dict(self._entries(flatten)).keys()

    def items(self, flatten: bool = True) -> ItemsView[str, Inner]:
        """Names, as of :meth:`keys`, and metrics."""
        return dict(self._entries(flatten)).items()

    def values(self, flatten: bool = True) -> ValuesView[Inner]:
        """The metrics, those of collections one by one unless ``flatten=False``."""
        return dict(self._entries(flatten)).values()

    def _entries(self, flatten: bool) -> Iterator[tuple[str, Inner]]:
        for task, metric in self._tasks().items():
            if flatten and isinstance(metric, MetricCollection):
                yield from ((self._named(f"{task}_{name}"), member) for name, member in metric.items())
            else:
                yield self._named(task), metric

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> Self:
        """An independent copy, states included, with another prefix or postfix where one is given."""
        twin = copy.deepcopy(self)
        twin.prefix = self.prefix if prefix is None else affix(self, "prefix", prefix)
        twin.postfix = self.postfix if postfix is None else affix(self, "postfix", postfix)
        return twin
