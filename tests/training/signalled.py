"""A run over two processes that signals are sent to; run by test_signals.py, in a process group of its own.

``python -m tests.training.signalled folder strategy workers``: each rank leaves a file of its number with its process id in it
when it is in mid-epoch; ``workers`` are those of its loader.
"""

import os
import sys
import time
from pathlib import Path

import epochal.training as pl
from epochal.training.callbacks import ModelCheckpoint
from tests.training.toys import Model, loader


class Waits(Model):
    """Takes long for its steps from the tenth on, so that a signal comes in the midst of one."""

    folder = Path()

    def training_step(self, batch, batch_idx):
        if self.global_step == 9:
            mark = self.folder / f"{self.global_rank}.tmp"
            mark.write_text(str(os.getpid()))
            mark.rename(self.folder / f"{self.global_rank}.pid")
        if self.global_step >= 9:
            time.sleep(0.2)
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss


def main(folder: str, strategy: str, workers: str) -> None:
    module = Waits()
    module.folder = Path(folder)
    run = pl.Trainer(
        max_epochs=20,
        accelerator="cpu",
        devices=1 if strategy == "auto" else 2,
        strategy=strategy,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        logger=pl.loggers.CSVLogger(folder),
        callbacks=ModelCheckpoint(folder + "/c", save_last=True),
    )
    run.fit(module, loader(53, 4, shuffle=True, num_workers=int(workers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
