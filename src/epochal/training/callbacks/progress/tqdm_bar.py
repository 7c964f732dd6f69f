"""TQDMProgressBar: bars by tqdm."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm as auto_tqdm
from tqdm.std import tqdm as plain_tqdm

from epochal.training.callbacks.progress.base import formatted
from epochal.training.callbacks.progress.redrawn import PREDICT, SANITY, TEST, TRAIN, VALIDATE, Redrawn, in_terminal

WIDTHS = (  # what is shown, the first that fits: all, without the bar, without times
    None,
    "{desc}{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    "{desc}{n_fmt}/{total_fmt}{postfix}",
)
IN_NOTEBOOK = any(base.__module__ == "tqdm.notebook" for base in auto_tqdm.__mro__)


class TQDMProgressBar(Redrawn):
    """A tqdm bar per epoch, one below for validation; a line per epoch where the output is no terminal.

    It is drawn every ``refresh_rate`` batches, at most ten times a second; 0 shows nothing. ``process_position``: lines above it.
    ``leave`` keeps the bar of each epoch. Override ``init_train_tqdm`` and its kin to build the bars differently.
    """

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:
        super().__init__(leave)
        self.refresh_rate, self.process_position = refresh_rate, process_position
        self._on = refresh_rate > 0

    def _redraws(self) -> bool:
        return IN_NOTEBOOK or in_terminal()

    def _is_due(self, batch_idx: int) -> bool:
        return (batch_idx + 1) % max(1, self.refresh_rate) == 0 and super()._is_due(batch_idx)

    # --- the bars --------------------------------------------------------------------------------------------------------

    def _new(self, description: str, below: int, leave: bool) -> Any:
        where = self.process_position + below
        return auto_tqdm(desc=description, position=where, leave=leave, file=sys.stdout, dynamic_ncols=True, smoothing=0)

    @property
    def _below(self) -> int:
        return int(TRAIN in self._lines)

    def init_sanity_tqdm(self) -> Any:
        """The bar of the sanity check."""
        return self._new(self.sanity_check_description, 0, False)

    def init_train_tqdm(self) -> Any:
        """The bar of training."""
        return self._new(self.train_description, 0, self.leave)

    def init_validation_tqdm(self) -> Any:
        """The bar of validation, below that of training if there is one."""
        return self._new(self.validation_description, self._below, not self._below)

    def init_test_tqdm(self) -> Any:
        """The bar of a test."""
        return self._new(self.test_description, 0, True)

    def init_predict_tqdm(self) -> Any:
        """The bar of prediction."""
        return self._new(self.predict_description, 0, True)

    @property
    def train_progress_bar(self) -> Any:
        return self.line(TRAIN)

    @property
    def val_progress_bar(self) -> Any:
        return self.line(SANITY if self.trainer.sanity_checking else VALIDATE)

    @property
    def test_progress_bar(self) -> Any:
        return self.line(TEST)

    @property
    def predict_progress_bar(self) -> Any:
        return self.line(PREDICT)

    def _open(self, stage: str) -> Any:
        init, description = {
            TRAIN: (self.init_train_tqdm, self.train_description),
            SANITY: (self.init_sanity_tqdm, self.sanity_check_description),
            VALIDATE: (self.init_validation_tqdm, self.validation_description),
            TEST: (self.init_test_tqdm, self.test_description),
            PREDICT: (self.init_predict_tqdm, self.predict_description),
        }[stage]
        line = init()
        said = getattr(line, "desc", "").removesuffix(": ")
        line.said = said if said != description else ""  # by who overrides init_..._tqdm
        line.fits = not (IN_NOTEBOOK or line.disable or line.bar_format)
        return line

    def _begin(self, line: Any, name: str, part: str, total: int | None) -> None:
        line.set_description(" ".join(filter(None, [line.said or name, part])), refresh=False)
        line.total = total
        line.reset(total)

    def _draw(self, line: Any, done: int, metrics: dict[str, Any] | None) -> None:
        line.n = done
        if metrics is not None:
            line.set_postfix(formatted(metrics), refresh=False)
        if line.fits:
            line.bar_format = _fitting(line)
        line.refresh()

    def _close(self, line: Any, leave: bool) -> None:
        line.leave = line.leave or leave
        line.close()

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bars."""
        if self._lines:
            plain_tqdm.write(sep.join(map(str, args)), **kwargs)
        else:
            print(*args, sep=sep, **kwargs)  # noqa: T201  # it is asked for


def _fitting(line: Any) -> str | None:
    """The fullest format that the terminal is wide enough for."""
    facts = line.format_dict
    width = facts.pop("ncols") or 80
    return next((form for form in WIDTHS if len(line.format_meter(**{**facts, "bar_format": form})) <= width), WIDTHS[-1])


Tqdm = TQDMProgressBar  # its name of old
