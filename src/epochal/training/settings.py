"""The Trainer's flags that name something not built yet: refused, never silently ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epochal import check

NOT_YET: dict[str, tuple[Any, ...]] = {  # the values that mean "off"
    "max_time": (None,),
    "overfit_batches": (0, 0.0),
    "barebones": (False,),
    "profiler": (None,),
    "sync_batchnorm": (False,),
    "reload_dataloaders_every_n_epochs": (0,),
    "model_registry": (None,),
    "enable_checkpointing": (None, False),
    "enable_model_summary": (None, False),
}


def refuse_unbuilt(flags: Mapping[str, Any]) -> None:
    """An error that names the flag, where one asks for what is not there."""
    for name, off in NOT_YET.items():
        if flags[name] not in off:
            raise NotImplementedError(
                check.message(
                    "Trainer", f"{name} is {flags[name]!r}", f"it is not built yet and must be {off[-1]!r}", f"Leave {name} out."
                )
            )


def refuse_unknown(unknown: Mapping[str, Any], known: list[str]) -> None:
    """A TypeError with the closest name."""
    if unknown:
        word = next(iter(unknown))
        hint = check.closest(word, known) or f"Known are {', '.join(known)}."
        raise TypeError(check.message("Trainer", f"unexpected argument {word!r}", "there is no flag of this name", hint))
