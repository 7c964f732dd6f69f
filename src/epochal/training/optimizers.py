"""What ``configure_optimizers`` may return, read into one form."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from epochal import check

WHO = "configure_optimizers"
FORMS = "an optimizer, a list of them, ([optimizers], [schedulers]), or a dict with 'optimizer' and 'lr_scheduler' is needed"


@dataclass
class SchedulerConfig:
    """A scheduler and when it steps."""

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    reduce_on_plateau: bool = False

    def __post_init__(self) -> None:
        self.reduce_on_plateau = self.reduce_on_plateau or isinstance(self.scheduler, ReduceLROnPlateau)
        check.choice(WHO, "interval", self.interval, ("epoch", "step"))
        if self.reduce_on_plateau and self.monitor is None:
            check.fail(
                WHO,
                "ReduceLROnPlateau came without a monitor",
                "it needs a logged value",
                "Return {'scheduler': scheduler, 'monitor': 'val_loss'}.",
            )


class Optimization(NamedTuple):
    """What ``configure_optimizers`` returned: ``frequencies`` are batches that each optimizer has in turn, none if all step."""

    optimizers: list[Optimizer]
    schedulers: list[SchedulerConfig] = []  # noqa: RUF012  # never changed
    frequencies: list[int] = []  # noqa: RUF012  # never changed


def read(returned: Any) -> Optimization:
    """Optimizers and schedulers, in whichever of Lightning's forms they came."""
    if returned is None:
        return Optimization([])
    if isinstance(returned, Mapping):
        return _of_dicts([returned])
    if isinstance(returned, list | tuple):
        if len(returned) == 2 and all(isinstance(part, list | tuple) for part in returned):
            optimizers, schedulers = returned
            return Optimization([_optimizer(o) for o in optimizers], [_scheduler(s) for s in schedulers])
        if returned and all(isinstance(part, Mapping) for part in returned):
            return _of_dicts(list(returned))
        return Optimization([_optimizer(part) for part in returned])
    return Optimization([_optimizer(returned)])


def _of_dicts(dicts: list[Mapping[str, Any]]) -> Optimization:
    optimizers, schedulers = [], []
    counts = [form["frequency"] for form in dicts if form.get("frequency") is not None]
    if counts and len(counts) < len(dicts):
        check.fail(WHO, f"{len(counts)} of {len(dicts)} optimizers have a frequency", "all or none need one")
    for count in counts:
        check.whole(WHO, "frequency", count, 1)
    for form in dicts:
        unknown = set(form) - {"optimizer", "lr_scheduler", "monitor", "frequency"}
        if unknown or "optimizer" not in form:
            check.fail(WHO, f"a dict with the keys {sorted(form)} came", FORMS)
        optimizers.append(_optimizer(form["optimizer"]))
        if form.get("lr_scheduler") is not None:
            schedulers.append(_scheduler(form["lr_scheduler"], form.get("monitor")))
    return Optimization(optimizers, schedulers, counts if len(dicts) > 1 else [])


def _optimizer(value: Any) -> Optimizer:
    if not (isinstance(value, Optimizer) or (hasattr(value, "step") and hasattr(value, "param_groups"))):
        raise TypeError(check.message(WHO, f"a {type(value).__name__} came", FORMS))
    return value  # type: ignore[no-any-return]


def _scheduler(value: Any, monitor: str | None = None) -> SchedulerConfig:
    if not isinstance(value, Mapping):
        return SchedulerConfig(value, monitor=monitor)
    known = {field.name for field in fields(SchedulerConfig)}
    if "scheduler" not in value or not set(value) <= known:
        wrong = next((key for key in value if key not in known), "")
        check.fail(
            WHO,
            f"a scheduler's dict has the keys {sorted(value)}",
            f"{sorted(known)} are known",
            check.closest(wrong, sorted(known)),
        )
    return SchedulerConfig(**{"monitor": monitor, **value})


def needs_closure(optimizer: Any) -> bool:
    """Whether the optimizer evaluates the loss by itself, as LBFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


__all__ = ["LRScheduler", "SchedulerConfig", "needs_closure", "read"]
