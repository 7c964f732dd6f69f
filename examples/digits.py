"""Train a small network on scikit-learn's digits (real scans, no download), and check every number against scikit-learn.

    python examples/digits.py [--devices N] [--epochs 5] [--out DIR]

On two processes the global batch is the same, so the same network comes out, and the same numbers to four decimals. The metrics are
shared out over the processes and merged; scikit-learn's numbers come from all predictions at once, on one process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import epochal.training as pl
from epochal import MetricCollection
from epochal.classification import (
    MulticlassAccuracy,
    MulticlassCohenKappa,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
    MulticlassPrecision,
    MulticlassRecall,
)

SEED, GLOBAL_BATCH, CLASSES = 7, 64, 10


class Digits(pl.LightningModule):
    """Two layers, and a collection of metrics that is logged by one line."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
                "precision": MulticlassPrecision(CLASSES, average="macro"),
                "recall": MulticlassRecall(CLASSES, average="macro"),
                "f1": MulticlassF1Score(CLASSES, average="macro"),
                "kappa": MulticlassCohenKappa(CLASSES),
                "mcc": MulticlassMatthewsCorrCoef(CLASSES),
            },
            prefix="val_",
        )
        self.confusion = MulticlassConfusionMatrix(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        x, y = batch
        logits = self(x)
        self.log("val_loss", nn.functional.cross_entropy(logits, y), prog_bar=True)
        self.log_dict(self.metrics(logits, y), on_epoch=True)
        self.confusion.update(logits, y)
        self.log("confusion", self.confusion)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def data() -> tuple[TensorDataset, TensorDataset]:
    """Scans of 8 x 8 pixels in [0, 1]; a quarter is held out."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=0.25, random_state=SEED, stratify=labels)
    train_x, held_x, train_y, held_y = (torch.as_tensor(part) for part in parts)
    return TensorDataset(train_x.float(), train_y), TensorDataset(held_x.float(), held_y)


def by_scikit_learn(model: Digits, held_out: TensorDataset) -> dict[str, float]:
    """The same numbers from all predictions at once."""
    x, y = held_out.tensors
    with torch.no_grad():
        found = model(x).argmax(1).numpy()
    macro = {"average": "macro", "zero_division": 0}
    return {
        "val_accuracy": sklearn_metrics.accuracy_score(y, found),
        "val_precision": sklearn_metrics.precision_score(y, found, **macro),
        "val_recall": sklearn_metrics.recall_score(y, found, **macro),
        "val_f1": sklearn_metrics.f1_score(y, found, **macro),
        "val_kappa": sklearn_metrics.cohen_kappa_score(y, found),
        "val_mcc": sklearn_metrics.matthews_corrcoef(y, found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("demo_logs"))
    options = parser.parse_args()
    if GLOBAL_BATCH % options.devices:
        parser.error(f"--devices must divide the global batch of {GLOBAL_BATCH}")

    pl.seed_everything(SEED)
    torch.set_num_threads(1)
    train, held_out = data()
    batch = GLOBAL_BATCH // options.devices  # of each process
    model = Digits()
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        devices=options.devices,
        logger=pl.loggers.CSVLogger(options.out),
        log_every_n_steps=10,
    )
    trainer.fit(model, DataLoader(train, batch, shuffle=True, drop_last=True), DataLoader(held_out, batch))

    if trainer.is_global_zero:
        report(trainer, model, held_out, options.out)


def report(trainer: pl.Trainer, model: Digits, held_out: TensorDataset, out: Path) -> None:
    """The table, and the confusion matrix as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    values = trainer.callback_metrics
    print(f"\n{'held-out':15} {'epochal':>8} {'scikit-learn':>13}")
    for name, theirs in by_scikit_learn(model, held_out).items():
        print(f"{name:15} {values[name].item():8.4f} {theirs:13.4f}")
    figure, _ = model.confusion.plot(values["confusion"])
    figure.savefig(out / "confusion.png", dpi=120)
    print(f"\nmetrics: {trainer.log_dir}/metrics.csv\npicture: {out / 'confusion.png'}")


if __name__ == "__main__":
    main()
