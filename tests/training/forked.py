"""What a notebook's cells do with ``devices=2``: processes are forked for each verb, and what they found comes back.

Run by test_newcomers.py in a process of its own, since a fork wants a parent without threads.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

import epochal.training as pl
from epochal.aggregation import MaxMetric
from tests.training.toys import Model, loader


class Notebook(Model):
    def __init__(self):
        super().__init__(lr=0.1)
        self.best = MaxMetric()  # of the run: no step updates it

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", super().training_step(batch, batch_idx))

    def on_validation_epoch_end(self):
        self.best.update(-self.trainer.callback_metrics["val_loss"])
        self.log("best", self.best)


def main() -> None:
    torch.nn.functional.mse_loss(torch.ones(2, requires_grad=True), torch.zeros(2)).backward()  # an earlier cell trained by hand
    folder = tempfile.mkdtemp()
    module = Notebook()
    before = module.layer.weight.sum().item()
    logger = pl.loggers.CSVLogger(folder)
    run = pl.Trainer(
        devices=2, accelerator="cpu", strategy="ddp_fork", max_epochs=2, default_root_dir=folder, log_every_n_steps=1, logger=logger
    )
    run.fit(module, loader(48, 8), loader(29, 8, seed=1))
    found = {
        "metrics": {key: float(value) for key, value in run.callback_metrics.items()},
        "progress": [run.current_epoch, run.global_step],
        "moved": module.layer.weight.sum().item() != before,
        "best": float(module.best.compute()),
        "log_dir": run.log_dir,
        "rows": len(Path(run.log_dir, "metrics.csv").read_text().splitlines()) - 1,
    }
    (found["validated"],) = run.validate(module, loader(29, 8, seed=1), verbose=False)
    found["history"] = run.history["val_loss"]
    found["log_dir_after"] = run.log_dir
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
