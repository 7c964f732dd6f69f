"""A script whose Trainer starts its second process by itself, as on a user's machine; run by test_flags.py.

``python -m tests.training.launched report strategy [kill]``: rank 0 writes what it trained; with ``kill`` rank 1 dies in mid-epoch.
"""

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from lightning_fabric.strategies import DDPStrategy

from tests.training.toys import Model, loader, trainer


class Net(Model):
    kill = ""

    def training_step(self, batch, batch_idx):
        if self.kill == "train" and self.global_rank == 1 and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        if self.kill == "validate" and self.global_rank == 1 and not self.trainer.sanity_checking:
            os.kill(os.getpid(), signal.SIGKILL)
        self.log("val_loss", super().training_step(batch, batch_idx))


def main(report: str, strategy: str, kill: str = "") -> None:
    how = DDPStrategy(timeout=timedelta(seconds=20), process_group_backend="gloo") if kill else strategy
    module, run = Net(lr=0.1), trainer(devices=2, strategy=how, max_epochs=2)
    module.kill = kill
    run.fit(module, loader(48, 4), loader(13, 4, seed=1))
    if run.is_global_zero:
        found = {"weights": module.layer.weight.tolist(), "val_loss": float(run.callback_metrics["val_loss"])}
        Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
