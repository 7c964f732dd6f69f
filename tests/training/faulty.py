"""A run that may be killed at any moment, and goes on when it is started again: ``python -m tests.training.faulty FOLDER``."""

import os
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


def run(folder: Path, version: int, slow: float = 0.0) -> tuple[Rich, list]:
    """The run, from the last checkpoint on. Returns the module and the rows of the epochs that ended here."""

    class Slow(Rich):
        def training_step(self, batch, batch_idx):
            time.sleep(slow)
            return super().training_step(batch, batch_idx)

    torch.manual_seed(3)
    rows = Rows()
    module = Slow()
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
    if kill_after:
        threading.Thread(target=lambda: (time.sleep(kill_after), os.kill(os.getpid(), 9)), daemon=True).start()
    module, rows = run(folder, version, slow=0.002)
    torch.save({"weights": module.state_dict(), "rows": rows}, folder / "ended.pt")


if __name__ == "__main__":
    main()
