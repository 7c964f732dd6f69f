"""A metric's values over the steps of an experiment, and the best of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from epochal import check
from epochal.collection import MetricCollection
from epochal.metric import Metric, all_or_none, keywords, synced
from epochal.plot import values
from epochal.states import Snapshot
from epochal.wrappers.base import Inner, Wrapper, joined, look_like, members, metric_needed, parted

__all__ = ["MetricTracker"]

STEPS = "n_steps"
Best = float | dict[str, Any] | None


class MetricTracker(Wrapper, composite=True):
    """A metric for each step of an experiment, usually an epoch, and which was the best.

    ``increment()`` begins a step with a new copy of the metric; ``update``, ``forward``, ``compute``, ``of`` and ``reset`` are the
    current step's. ``compute_all()``: the values of all steps, stacked: ``(n_steps, ...)``; of a collection, or another result
    that is a dictionary, an entry for each of its keys.

    In the trainer a step lasts until the next begins: no epoch's end resets it, logged or not.

    Over processes, and by ``merge_state``, a step merges with the same step of the others: all of them begin each step.

    Args:
        metric: a metric or a collection; each step has a copy, without its data.
        maximize: whether the greatest value is the best; for a collection, a list in the order of its members gives each its own.
            None: what ``higher_is_better`` says.

    Raises:
        ValueError: ``maximize`` is not given, and a metric does not say it; a verb is called before ``increment``.

    >>> from epochal.classification import BinaryAccuracy
    >>> tracker = MetricTracker(BinaryAccuracy())
    >>> for preds in (torch.tensor([1, 0]), torch.tensor([1, 1])):
    ...     tracker.increment()
    ...     tracker.update(preds, torch.tensor([1, 1]))
    >>> tracker.compute_all(), tracker.best_metric(return_step=True)
    (tensor([0.5000, 1.0000]), (1.0, 1))
    """

    order_matters: ClassVar[bool] = True
    lasts: ClassVar[bool] = True

    def __init__(self, metric: Inner, maximize: bool | Sequence[bool] | None = None) -> None:
        super().__init__()
        metric_needed(self, "metric", metric)
        self.metric, self.steps = metric.clone(), nn.ModuleList()
        self.metric.reset()
        look_like(self, metric)
        self.maximize = directions(self, metric, maximize)

    @property
    def n_steps(self) -> int:
        """How many steps have begun."""
        return len(self.steps)

    def increment(self) -> None:
        """Begin a step: from here on, the verbs are those of a new copy of the metric."""
        self.steps.append(self.metric.clone())

    @property
    def inner(self) -> Sequence[Inner]:
        if not self.n_steps:
            check.fail(self, "no step has begun", "one is needed", "Call increment() first.")
        return [self.steps[-1]]  # type: ignore[list-item]

    @property
    def update_count(self) -> int:
        """How many batches the current step holds."""
        return super().update_count if self.n_steps else 0

    def keywords(self) -> Collection[str] | None:
        return keywords(members(self.metric))

    def compute(self) -> Any:
        (current,) = self.inner
        return self._remember(self.result([current.compute()]))

    def compute_all(self) -> Any:
        """The values of all steps, over all processes in one exchange."""
        self.inner  # noqa: B018  # there is one
        with synced(self.steps):
            return joined([step.compute() for step in self.steps])  # type: ignore[operator]

    def best_metric(self, return_step: bool = False) -> Best | tuple[Best, Any]:
        """The best value so far, and with ``return_step`` the step that it is of, from 0; a dictionary has a best for each key.

        None, with a warning, where there is no best: of values that are not single numbers, or all NaN.
        """
        values = self.compute_all()
        if isinstance(values, Mapping):
            found = {key: self._best(key, value, self._direction(key, values)) for key, value in values.items()}
            best: Any = {key: value for key, (value, _) in found.items()}
            step: Any = {key: at for key, (_, at) in found.items()}
        else:
            best, step = self._best(type(self.metric).__name__, values, bool(self.maximize))
        return (best, step) if return_step else best

    def _best(self, name: str, values: Any, maximize: bool) -> tuple[float | None, int | None]:
        numbers = values.tolist() if isinstance(values, Tensor) and values.ndim == 1 else []
        steps = [step for step, value in enumerate(numbers) if not math.isnan(value)]
        if not steps:
            warnings.warn(check.message(self, f"{name} is no number in any step", "only of numbers one is the best"), stacklevel=3)
            return None, None
        step = (max if maximize else min)(steps, key=lambda step: numbers[step])
        return numbers[step], step

    def _direction(self, key: str, values: Mapping[str, Any]) -> bool:
        if not isinstance(self.maximize, list):
            return self.maximize
        if len(set(self.maximize)) > 1 and isinstance(self.metric, MetricCollection):
            names = list(self.metric.keys())
            if key not in names:
                came = f"the results {list(values)} are not the members {names}"
                check.fail(self, came, "each needs to be maximized, or each minimized", "Pass one bool for maximize.")
            return self.maximize[names.index(key)]
        return self.maximize[0]

    def plot(self, val: Any = None, ax: Any = None, *, labels: Sequence[str] | None = None) -> Any:
        """Draw the values of all steps, or ``val``, as :meth:`compute_all` returns them; returns matplotlib's figure and axes."""
        return values(self, parted(self.compute_all() if val is None else val), ax, labels=labels)

    def snapshot(self) -> Snapshot:
        before = super().snapshot()
        return Snapshot({**before.state, STEPS: self.n_steps}, before.updates, before.double)

    def restore(self, snapshot: Snapshot) -> None:
        """Forget the steps that have begun since; each of the others is restored by itself."""
        super().restore(snapshot)
        del self.steps[snapshot.state.get(STEPS, self.n_steps) :]

    def reset(self) -> None:
        """Empty the current step."""
        for step in self.steps[-1:]:
            step.reset()  # type: ignore[operator]

    def reset_all(self) -> None:
        """Empty all steps; there are as many as before."""
        for step in self.steps:
            step.reset()  # type: ignore[operator]

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge each step of another tracker into the same step of this one."""
        if not isinstance(incoming_state, MetricTracker) or incoming_state.n_steps != self.n_steps:
            steps = f" of {incoming_state.n_steps} steps" if isinstance(incoming_state, MetricTracker) else ""
            came = f"merge_state got a {type(incoming_state).__name__}{steps}"
            check.fail(self, came, f"a MetricTracker of {self.n_steps} steps is needed")
        with all_or_none([self]):
            for mine, its in zip(self.steps, incoming_state.steps, strict=True):
                mine.merge_state(its)  # type: ignore[operator]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        steps = {key[len(prefix) :].split(".")[1] for key in state_dict if key.startswith(f"{prefix}steps.")}
        while self.n_steps < len(steps):  # the steps that were saved; each loads itself next
            self.increment()
        super()._load_from_state_dict(state_dict, prefix, *rest)


def directions(tracker: object, metric: Inner, maximize: Any) -> bool | list[bool]:
    """Whether the greatest is the best, checked: of a metric, or of each member of a collection."""
    several = isinstance(metric, MetricCollection)
    named = metric.members() if isinstance(metric, MetricCollection) else {type(metric).__name__: metric}
    if maximize is None:
        for name, member in named.items():
            if member.higher_is_better is None:
                came = f"{name} does not say whether higher is better"
                check.fail(tracker, came, "maximize is not given", "Pass maximize=True or maximize=False.")
        found = [bool(member.higher_is_better) for member in named.values()]
        return found if several else found[0]
    if isinstance(maximize, bool):
        return maximize
    if not several or not isinstance(maximize, list | tuple) or not all(isinstance(one, bool) for one in maximize):
        needed = "a bool is needed" if not several else "a bool, or a list with a bool for each member is needed"
        raise TypeError(check.message(tracker, f"maximize is {maximize!r}", needed))
    if len(maximize) != len(named):
        check.fail(tracker, f"maximize has {len(maximize)} entries", f"the collection has {len(named)} members")
    return list(maximize)
