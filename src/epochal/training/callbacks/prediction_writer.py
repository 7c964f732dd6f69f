# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""BasePredictionWriter: predictions go where you write them, batch by batch or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epochal import check
from epochal.training.callbacks.callback import Callback
from epochal.training.hooks import overridden


class BasePredictionWriter(Callback):
    """Base of callbacks that write what ``predict_step`` returns.

    ``write_interval``: "batch" calls :meth:`write_on_batch_end`, "epoch" :meth:`write_on_epoch_end`, "batch_and_epoch" both. Each
    process writes its own share: ``batch_indices`` are the samples' places in the data set, None where nobody knows them (a stream,
    a loader that is no ``DataLoader``).
    """

    def __init__(self, write_interval: str = "batch") -> None:
        check.choice(self, "write_interval", write_interval, ("batch", "epoch", "batch_and_epoch"))
        self.write_interval = write_interval

    @property
    def on_batch(self) -> bool:
        return "batch" in self.write_interval

    @property
    def on_epoch(self) -> bool:
        return "epoch" in self.write_interval

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Whoever is to write must be able to."""
        wanted = {"write_on_batch_end": self.on_batch, "write_on_epoch_end": self.on_epoch}
        for name, called in wanted.items():
            if stage == "predict" and called and not overridden(self, name, BasePredictionWriter):
                came, fix = f"write_interval is {self.write_interval!r}", f"Define {name}."
                raise NotImplementedError(check.message(self, came, f"the class has no {name}", fix))

    def write_on_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one batch's ``prediction``."""

    def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Sequence[Any], batch_indices: Sequence[Any]) -> None:
        """Write all ``predictions``: of each batch, or a list of these for each of several loaders.

        ``batch_indices[loader][batch]``, of one loader, too.
        """

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.on_batch:
            indices = trainer.predict_loop.indices(batch_idx, dataloader_idx)
            self.write_on_batch_end(trainer, pl_module, outputs, indices, batch, batch_idx, dataloader_idx)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.on_epoch:
            loop = trainer.predict_loop
            indices = [[loop.indices(i, loader) for i in range(len(found))] for loader, found in enumerate(loop.predictions)]
            self.write_on_epoch_end(trainer, pl_module, loop.found(), indices)
