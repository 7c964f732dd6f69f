"""Where in an epoch a run is: kept by the loop, written into checkpoints, and gone on from."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from epochal import check
from epochal.training import data, resume
from epochal.training.combined import batches_of, members


@dataclass
class Position:
    """An epoch, and how many of its batches are done.

    ``within``: "" between two batches; "step" while one is computed, which counts as not begun; "end" in the hooks behind an
    optimizer step, "part" behind a batch that only accumulated; "validation". ``samples``: of the epoch's order, seen by all
    processes before the first batch of this run; None where nobody knows.
    """

    epoch: int
    world: int
    batch: int = 0
    within: str = ""
    whole: bool = True  # False: stopped in mid-epoch
    ended: bool = False
    order: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)  # the states before the validation that runs, which comes again,
    validated: list[int] = field(default_factory=list)  # its loaders' batches in those before,
    row: dict[str, float] | None = None  # and the latest row
    first: int = 0
    samples: int | None = 0
    left_out: bool = False
    loader: Any = None  # the state of a loader that has one

    def begin(self, epoch: int) -> None:
        """A new epoch."""
        self.epoch, self.batch, self.within, self.whole, self.ended = epoch, 0, "", True, False
        self.first = self.samples = 0
        self.order = {}

    @property
    def broken_off(self) -> bool:
        """Whether the epoch's order was begun and not ended."""
        return bool(self.order) and not self.ended

    def go_on(self, resumed: Position) -> None:
        """An epoch that was broken off."""
        self.batch = self.first = resumed.batch
        self.order, self.samples, self.within = resumed.order, resumed.samples, resumed.within

    def begin_validation(self, batches: list[int], row: dict[str, float] | None) -> None:
        """One that begins again if a checkpoint is written in its midst."""
        self.within, self.random = "validation", resume.random_states()
        self.validated, self.row = list(batches), row

    def end(self) -> None:
        """All hooks of the epoch are done."""
        self.ended = self.whole

    def saved(self, loader: Any, share: data.Share, limit: float) -> dict[str, Any]:
        """For a checkpoint."""
        in_this_run = data.samples_of(loader, self.batch - self.first, share)
        own = loader.state_dict() if resume.keeps_its_place(loader) and not math.isinf(limit) and not self.ended else None
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "within": self.within,
            "ended": self.ended,
            "samples": None if in_this_run is None or self.samples is None else self.samples + in_this_run,
            "order": {} if self.ended else self.order,
            "loader": own,
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any], world: int) -> Position:
        """The counterpart of :meth:`saved`; ``world``: how many processes there were."""
        return cls(world=world, **saved)

    def again(self, loader: Any, limit: float, share: data.Share) -> Iterator[Any]:
        """The batches behind those that are done.

        The samples that were seen are left out of the order, where that is all that they have changed. Else, with workers, whose
        random states their samples move on, and without a known order, the batches come again and are dropped.
        """
        anew = self.world != share.world
        if self.loader is not None and not anew and resume.keeps_its_place(loader):
            loader.load_state_dict(self.loader)
            return _iterator(loader)
        if self.order:
            resume.set_order(members(loader), self.order)
        plain, full = anew or not getattr(loader, "num_workers", 0), data.length(loader)
        if plain and self.samples is not None and data.leave_out(loader, self.samples):
            self.left_out = True
            if anew:
                self.batch = int(min(limit, full - data.length(loader)))
            return _iterator(loader)
        if anew:
            came = f"the checkpoint is of {self.world} processes and this run has {share.world}"
            text = check.message("Trainer.fit", came, "the loader's order cannot be divided anew", "Some samples may come twice.")
            warnings.warn(text, stacklevel=2)
        iterator = _iterator(loader)
        for _ in itertools.islice(iterator, self.batch):
            pass
        return iterator


def _iterator(loader: Any) -> Iterator[Any]:
    return iter(batches_of(loader))
