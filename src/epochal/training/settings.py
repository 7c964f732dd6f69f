"""The Trainer's flags: what is out of range, unknown, or not built yet is refused, never silently ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from epochal import check
from epochal.training import data

NOT_HERE = {  # flags that users may type, which mean nothing here but as they are by default
    "barebones": (False, "a run that logs nothing is logger=False, enable_progress_bar=False, enable_model_summary=False"),
    "model_registry": (None, "a registry is the work of its own client"),
}
DURATION = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d)")
LEAST = {  # of whole numbers
    "max_epochs": -1,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": 0,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": -1,
    "log_every_n_steps": 0,
    "accumulate_grad_batches": 1,
    "flush_logs_every_n_steps": 1,
    "reload_dataloaders_every_n_epochs": 0,
}
PRECISIONS = [
    *("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", "32", "16", "bf16", "64"),
    *("transformer-engine", "transformer-engine-float16"),
]
LIMITS = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "val_check_interval",
    "overfit_batches",
)


def refuse_out_of_range(flags: Mapping[str, Any]) -> None:
    """An error that names the flag, where its value can mean nothing."""
    for name, least in LEAST.items():
        if flags[name] is not None:
            check.whole("Trainer", name, flags[name], least)
    for name in LIMITS:
        if flags[name] is not None and not (name == "val_check_interval" and is_duration(flags[name])):
            data.check_limit(name, flags[name])
    if flags["val_check_interval"] == 0:
        check.fail("Trainer", "val_check_interval is 0", "a number of batches or a fraction in (0, 1] is needed")
    if flags["gradient_clip_val"] is not None:
        check.number("Trainer", "gradient_clip_val", flags["gradient_clip_val"], 0.0)
    if flags["gradient_clip_algorithm"] is not None:
        check.choice("Trainer", "gradient_clip_algorithm", flags["gradient_clip_algorithm"], ("norm", "value"))


def several(flag: str, value: Any, method: str) -> list[Any]:
    """One object or several, each of which has what makes it one of its kind."""
    found = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    for item in found:
        if isinstance(item, type) or not hasattr(item, method):
            came = f"{flag} holds the class {item.__name__}" if isinstance(item, type) else f"{flag} holds {item!r}"
            raise TypeError(check.message("Trainer", came, f"an object with {method} is needed"))
    return found


def refuse_foreign(flags: Mapping[str, Any]) -> None:
    """An error that names the flag, where it asks for what belongs to Lightning's platform."""
    for name, (off, instead) in NOT_HERE.items():
        if flags[name] != off:
            check.fail("Trainer", f"{name} is {flags[name]!r}", f"it is not here: {instead}", f"Leave {name} out.")


def refuse_unknown_hardware(strategy: Any, accelerator: Any, precision: Any) -> None:
    """Names that Fabric does not know, with the closest that it does."""
    from lightning_fabric.accelerators import ACCELERATOR_REGISTRY
    from lightning_fabric.strategies import STRATEGY_REGISTRY

    known = {
        "strategy": (strategy, ["auto", *STRATEGY_REGISTRY.available_strategies()]),
        "accelerator": (accelerator, ["auto", "gpu", *ACCELERATOR_REGISTRY.available_accelerators()]),
        "precision": (precision, PRECISIONS),
    }
    for flag, (value, names) in known.items():
        if isinstance(value, str) and value not in names:
            fix = check.closest(value, names)
            check.fail("Trainer", f"{flag} is {value!r}", f"Fabric knows {', '.join(sorted(names))}", fix)


def is_duration(value: Any) -> bool:
    """Whether a flag that may count is a time instead."""
    return isinstance(value, str | timedelta | Mapping)


def duration_of(flag: str, duration: Any, who: str = "Trainer") -> timedelta | None:
    """A duration as users of Lightning write it: "DD:HH:MM:SS", a timedelta, or a dict of its arguments."""
    if duration is None or isinstance(duration, timedelta):
        return duration
    if isinstance(duration, Mapping):
        try:
            return timedelta(**duration)
        except TypeError as error:
            fix = f"Pass it like {flag}={{'hours': 1, 'minutes': 30}}."
            raise TypeError(check.message(who, f"{flag} is {duration!r}", f"Python says: {error}", fix)) from None
    parts = DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if parts is None:
        needed = 'a string "DD:HH:MM:SS", a timedelta or a dict of its arguments is needed'
        check.fail(who, f"{flag} is {duration!r}", needed)
    days, hours, minutes, seconds = map(int, parts.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def refuse_unknown(unknown: Mapping[str, Any], known: list[str]) -> None:
    """A TypeError with the closest name."""
    if unknown:
        word = next(iter(unknown))
        hint = check.closest(word, known) or f"Known are {', '.join(known)}."
        raise TypeError(check.message("Trainer", f"unexpected argument {word!r}", "there is no flag of this name", hint))
