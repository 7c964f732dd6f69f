"""What a task was built with, shown by the metrics of it: ``metric.num_classes``, ``metric.threshold``."""

from __future__ import annotations

from typing import Any

from epochal import check


class Argument:
    """An argument of the metric's task. It stays what it was: the data were counted with it.

    A name that the task does not have is the metric's own, as any attribute.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, metric: Any, owner: type | None = None) -> Any:
        if metric is None:
            return self
        held = metric.__dict__
        if not hasattr(held.get("task"), self.name) and self.name in held:
            return held[self.name]
        return getattr(held.get("task"), self.name)

    def __set__(self, metric: Any, value: Any) -> None:
        is_now = getattr(metric.__dict__.get("task"), self.name, value)
        if is_now != value:
            fix = f"Build another metric with {self.name}={value!r}."
            check.fail(metric, f"{self.name} was set to {value!r}", f"the metric counts with {is_now!r}", fix)
        metric.__dict__[self.name] = value


class OfTask:
    """Base of metrics that read what a task counts."""

    num_classes, num_labels, ignore_index = Argument(), Argument(), Argument()
