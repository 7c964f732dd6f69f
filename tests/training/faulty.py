"""A run that may be killed at any moment, and goes on when it is started again: ``python -m tests.training.faulty FOLDER``."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch

import epochal.training as pl
from epochal.training.callbacks import ModelCheckpoint
from tests.training.test_resume import Rich, epoch_rows
from tests.training.toys import Rows, loader

EPOCHS = 8


class Killed(Rich):
    """Counts its time from the first step on: that to start is not what is to be broken off."""

    def __init__(self, kill_after: float) -> None:
        super().__init__()
        self.kill_after, self.began, self.first_step = kill_after, 0.0, 0

    def on_train_start(self) -> None:
        self.began, self.first_step = time.monotonic(), self.global_step
        if self.kill_after:
            threading.Thread(target=self.kill, daemon=True).start()

    def kill(self) -> None:
        time.sleep(self.kill_after)
        os.kill(os.getpid(), signal.SIGKILL)


def run(folder: Path, version: int, kill_after: float) -> tuple[Killed, list]:
    """The run, from the last checkpoint on. Returns the module and the rows of the epochs that ended here."""
    torch.manual_seed(3)
    rows = Rows()
    module = Killed(kill_after)
    pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=[pl.loggers.CSVLogger(str(folder), version=version, flush_logs_every_n_steps=5), rows],
        callbacks=ModelCheckpoint(folder / "checkpoints", save_last=True, every_n_train_steps=2),
    ).fit(module, loader(53, 8, shuffle=True), loader(29, 8, seed=1), ckpt_path="last")
    return module, epoch_rows(rows)


def main() -> None:
    folder, version, kill_after = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    module, rows = run(folder, version, kill_after)
    took = time.monotonic() - module.began
    torch.save({"weights": module.state_dict(), "rows": rows, "took": took, "first_step": module.first_step}, folder / "ended.pt")


if __name__ == "__main__":
    main()
