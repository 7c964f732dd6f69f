# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""LearningRateMonitor: learning rates in the loggers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from epochal import check
from epochal.training.callbacks.callback import Callback


class Watched(NamedTuple):
    """An optimizer, its key, and when its scheduler steps; None without one."""

    name: str
    optimizer: Any
    interval: str | None


class LearningRateMonitor(Callback):
    """Logs the learning rate of each optimizer and parameter group, as the coming steps use it.

    ``logging_interval``: "step" (before every step whose row is due by ``log_every_n_steps``), "epoch" (at each epoch's beginning),
    or None: when its scheduler steps, both without one. Keys are ``lr-SGD``, ``lr-SGD-1`` for the next of a class, or the
    scheduler's ``name``; with several groups ``lr-SGD/pg1``, ``lr-SGD/pg2``, or the group's ``name``. ``log_momentum`` and
    ``log_weight_decay`` add keys with these endings (Adam's momentum is its first beta), ``log_key_prefix`` stands before each key.
    """

    def __init__(
        self,
        logging_interval: str | None = None,
        log_momentum: bool = False,
        log_weight_decay: bool = False,
        log_key_prefix: str | None = None,
    ) -> None:
        check.choice(self, "logging_interval", logging_interval, (None, "step", "epoch"))
        self.logging_interval, self.log_momentum, self.log_weight_decay = logging_interval, log_momentum, log_weight_decay
        self.log_key_prefix = log_key_prefix or ""
        self.lrs: dict[str, list[float]] = {}
        self.last_momentum_values: dict[str, float] = {}
        self.last_weight_decay_values: dict[str, float] = {}
        self._watched: list[Watched] = []
        self._sent: dict[str, int] = {}  # at which step a key was last

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Name what there is to log."""
        if not trainer.loggers and not trainer.fast_dev_run:
            check.fail(self, "the Trainer has no logger", "learning rates go there", "Leave logger=False out.")
        self._watched, self._sent = list(_watched(trainer)), {}
        owners: dict[str, Any] = {}
        for watched in self._watched:
            for key, group in self._groups(watched):
                if owners.setdefault(key, group) is not group:
                    fix = "Give each scheduler, and each group of an optimizer, a name of its own."
                    check.fail(self, f"two parameter groups have the key {key!r}", "each needs its own", fix)
        self.lrs = {key: [] for key in owners}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        every = trainer.log_every_n_steps
        if self.logging_interval != "epoch" and every and (trainer.batches_done + 1) % every == 0:
            self._post(trainer, "step")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self.logging_interval != "step" and not trainer.takes_up_an_epoch:
            self._post(trainer, "epoch")

    def _post(self, trainer: Any, now: str) -> None:
        """One row, at the step that comes."""
        at, row = trainer.batches_done, {}
        for watched in self._watched:
            if self.logging_interval == now or watched.interval in (None, now):
                for key, group in self._groups(watched):
                    if self._sent.get(key) != at:  # batches that accumulate have one step
                        self._sent[key] = at
                        row.update(self._values(key, group))
        if row:
            trainer.logbook.post(row, at)

    def _groups(self, watched: Watched) -> Iterator[tuple[str, dict[str, Any]]]:
        groups = watched.optimizer.param_groups
        for index, group in enumerate(groups):
            end = f"/{group.get('name', f'pg{index + 1}')}" if len(groups) > 1 else ""
            yield f"{self.log_key_prefix}{watched.name}{end}", group

    def _values(self, key: str, group: dict[str, Any]) -> dict[str, float]:
        values = {key: float(group["lr"])}
        self.lrs[key].append(values[key])
        if self.log_momentum:
            momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0)
            values[f"{key}-momentum"] = self.last_momentum_values[f"{key}-momentum"] = float(momentum)
        if self.log_weight_decay:
            decay = float(group.get("weight_decay", 0))
            values[f"{key}-weight_decay"] = self.last_weight_decay_values[f"{key}-weight_decay"] = decay
        return values


def _watched(trainer: Any) -> Iterator[Watched]:
    """Those with a scheduler first."""
    seen: Counter[str] = Counter()

    def name(optimizer: Any) -> str:
        kind = type(optimizer).__name__
        seen[kind] += 1
        return f"lr-{kind}" if seen[kind] == 1 else f"lr-{kind}-{seen[kind] - 1}"

    scheduled = []
    for config in trainer.lr_scheduler_configs:
        optimizer = config.scheduler.optimizer
        scheduled.append(optimizer)
        yield Watched(config.name or name(optimizer), optimizer, config.interval)
    for optimizer in trainer.raw_optimizers:
        if not any(optimizer is other for other in scheduled):
            yield Watched(name(optimizer), optimizer, None)
