# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""EarlyStopping: a run ends when a logged value gets no better."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from epochal import check
from epochal.training.callbacks.callback import Callback


class EarlyStoppingReason(Enum):
    """Why an :class:`EarlyStopping` ended a run."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Ends a run when ``monitor``, a logged key, gets no better.

    Checked at the end of training's epochs if validation runs once an epoch, else after each validation;
    ``check_on_train_epoch_end`` chooses one of the two. A check ends the run where the value is not finite (``check_finite``),
    beats ``stopping_threshold``, is worse than ``divergence_threshold``, or was no better than the best so far for the
    ``patience``-th time: better is, by ``mode``, "min" or "max", by more than ``min_delta``. A value of an earlier epoch is not
    looked at. ``strict``: a key that nobody logs is an error. ``verbose``: say what was found, on the first rank alone if
    ``log_rank_zero_only``. All ranks decide by the first one's value. ``min_epochs`` and ``min_steps`` of the Trainer come first.
    """

    monitors = True

    mode_dict: dict[str, Callable[..., Any]] = {"min": torch.lt, "max": torch.gt}  # noqa: RUF012  # never changed
    order_dict = {"min": "<", "max": ">"}  # noqa: RUF012  # never changed

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        check.choice(self, "mode", mode, ("min", "max"))
        check.whole(self, "patience", patience, 0)
        check.number(self, "min_delta", min_delta, 0.0)
        self.monitor, self.min_delta, self.patience, self.mode = monitor, min_delta, patience, mode
        self.verbose, self.strict, self.check_finite = verbose, strict, check_finite
        self.stopping_threshold, self.divergence_threshold = stopping_threshold, divergence_threshold
        self.log_rank_zero_only = log_rank_zero_only
        self._check_on_train_epoch_end = check_on_train_epoch_end
        self.wait_count = self.stopped_epoch = 0
        self.best_score = torch.tensor(torch.inf if mode == "min" else -torch.inf)
        self.stopping_reason, self.stopping_reason_message = EarlyStoppingReason.NOT_STOPPED, None

    stopping_reason: EarlyStoppingReason
    stopping_reason_message: str | None

    @property
    def monitor_op(self) -> Callable[..., Any]:
        """``monitor_op(a, b)``: whether a is better than b."""
        return self.mode_dict[self.mode]

    # --- what is kept ----------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """Several of them have their own states, by what they monitor."""
        return f"{type(self).__qualname__}{ {'monitor': self.monitor, 'mode': self.mode}!r}"

    def state_dict(self) -> dict[str, Any]:
        """The best value, how long ago it was, and whether that ended the run."""
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "best_score": self.best_score,
            "patience": self.patience,
            "stopping_reason": self.stopping_reason.value,
            "stopping_reason_message": self.stopping_reason_message,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All but the patience, which a run that goes on may raise."""
        self.wait_count, self.stopped_epoch = state_dict["wait_count"], state_dict["stopped_epoch"]
        self.best_score = state_dict["best_score"]
        self.stopping_reason = EarlyStoppingReason(state_dict.get("stopping_reason", 0))
        self.stopping_reason_message = state_dict.get("stopping_reason_message")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """A run that goes on from where it had stopped has nothing left to do, unless there is more patience now."""
        reason = self.stopping_reason
        self.stopping_reason, message = EarlyStoppingReason.NOT_STOPPED, self.stopping_reason_message
        if trainer.ckpt_path is None or reason is EarlyStoppingReason.NOT_STOPPED:
            return
        if reason is not EarlyStoppingReason.PATIENCE_EXHAUSTED or self.wait_count >= max(1, self.patience):
            self.stopping_reason, trainer.should_stop = reason, True
            fix = "Raise patience, or change what stopped it, to train on."
            text = check.message(self, "the checkpoint is of a run that had ended", f"it goes on: {message}", fix)
            warnings.warn(text, stacklevel=2)

    # --- when ------------------------------------------------------------------------------------------------------------

    def _at_epoch_end(self, trainer: Any) -> bool:
        given = self._check_on_train_epoch_end
        return bool(trainer.validates_once_an_epoch if given is None else given)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self._at_epoch_end(trainer):
            self._check(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not self._at_epoch_end(trainer):
            self._check(trainer)

    def _check(self, trainer: Any) -> None:
        """One look at the value, the first rank's on all."""
        if not trainer.fitting or trainer.fast_dev_run or trainer.sanity_checking:
            return
        known = trainer.callback_metrics
        found = known.get(self.monitor), trainer.logbook.is_fresh(self.monitor), sorted(known)
        value, fresh, names = trainer.fabric.broadcast(found) if trainer.world_size > 1 else found
        if value is None and not trainer.awaits_validation:
            self._missing(trainer, names)
        if value is None or not fresh:
            return
        if not isinstance(value, Tensor) or value.numel() != 1:
            check.fail(self, f"{self.monitor!r} is {value!r}", "one number is needed", "Log one, or the metric's mean.")
        reason, text = self._judge(value.detach().cpu().reshape(()))
        if reason is not EarlyStoppingReason.NOT_STOPPED:
            self.stopping_reason, self.stopping_reason_message = reason, text
            self.stopped_epoch, trainer.should_stop = trainer.current_epoch, True
        if text:
            self._tell(trainer, text)

    def _missing(self, trainer: Any, names: list[str]) -> None:
        text = check.message(self, f"it monitors {self.monitor!r}", f"logged so far are {names}", "Log it, or rename it.")
        if self.strict:
            raise ValueError(text)
        self._tell(trainer, text)

    def _judge(self, value: Tensor) -> tuple[EarlyStoppingReason, str]:
        """Whether this value ends the run, and what there is to say."""
        better, name, best = self.monitor_op, self.monitor, self.best_score
        if self.check_finite and not torch.isfinite(value):
            return EarlyStoppingReason.NON_FINITE_METRIC, f"{name} = {value:.3f} is not finite, {best:.3f} was the best."
        threshold = self.stopping_threshold
        if threshold is not None and better(value, threshold):
            return EarlyStoppingReason.STOPPING_THRESHOLD, f"{name} = {value:.3f} is better than the threshold {threshold}."
        threshold = self.divergence_threshold
        if threshold is not None and better(-value, -threshold):
            return EarlyStoppingReason.DIVERGENCE_THRESHOLD, f"{name} = {value:.3f} is worse than the threshold {threshold}."
        if better(value + self.min_delta if self.mode == "min" else value - self.min_delta, best.to(value.dtype)):
            text = f"{name} = {value:.3f} is the best so far." if torch.isinf(best) else f"{name} = {value:.3f}, before {best:.3f}."
            self.best_score, self.wait_count = value.clone(), 0
            return EarlyStoppingReason.NOT_STOPPED, text
        self.wait_count += 1
        if self.wait_count < self.patience:
            return EarlyStoppingReason.NOT_STOPPED, ""
        text = f"{name} did not get better than {best:.3f} in the last {self.wait_count} checks."
        return EarlyStoppingReason.PATIENCE_EXHAUSTED, text

    def _tell(self, trainer: Any, text: str) -> None:
        if self.verbose and trainer.is_global_zero:
            trainer.print(f"EarlyStopping: {text}")
        elif self.verbose and not self.log_rank_zero_only:
            print(f"[rank {trainer.global_rank}] EarlyStopping: {text}")  # noqa: T201  # it is asked for
