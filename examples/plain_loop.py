"""A training loop of one's own on scikit-learn's digits, without a Trainer: a Logbook keeps the numbers, scikit-learn checks them.

    python examples/plain_loop.py [--epochs 5] [--out DIR]
    torchrun --nproc-per-node 2 examples/plain_loop.py

On two processes the global batch is the same, so the same network comes out, and the same numbers: what the processes have seen is
merged at the end of an epoch and of an evaluation.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch.utils.data import DataLoader, TensorDataset

from epochal import MetricCollection
from epochal.aggregation import MaxMetric
from epochal.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassMatthewsCorrCoef
from epochal.training import Logbook
from epochal.training.loggers import CSVLogger

SEED, GLOBAL_BATCH, CLASSES = 7, 64, 10
WORLD, RANK = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))


class Network(nn.Module):
    """Two layers; the norm of what lies between them is logged from inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        if self.training:
            self.log("hidden", hidden.detach().norm(dim=1))  # a value for each sample
        return self.second(hidden)


def data() -> tuple[TensorDataset, TensorDataset]:
    """Scans of 8 x 8 pixels in [0, 1]; a quarter is held out."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=0.25, random_state=SEED, stratify=labels)
    train_x, held_x, train_y, held_y = (torch.as_tensor(part) for part in parts)
    return TensorDataset(train_x.float(), train_y), TensorDataset(held_x.float(), held_y)


def share(dataset: TensorDataset, order: Tensor) -> DataLoader:
    """This process's part of each global batch."""
    return DataLoader(dataset, GLOBAL_BATCH // WORLD, sampler=order[RANK::WORLD].tolist())


def train(network: Network, epochs: int, out: Path) -> Logbook:
    """The loop, as one would write it, and what is logged in it."""
    scores = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
            "f1": MulticlassF1Score(CLASSES, average="macro"),
            "mcc": MulticlassMatthewsCorrCoef(CLASSES),
        },
        prefix="val_",
    )
    train_f1, best = MulticlassF1Score(CLASSES, average="macro"), MaxMetric()
    train_data, held_out = data()
    model = nn.parallel.DistributedDataParallel(network) if WORLD > 1 else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    with Logbook(network, scores, train_f1, best, logger=CSVLogger(out), log_every_n_steps=10) as book:
        for _ in range(epochs):
            order = torch.randperm(len(train_data) // GLOBAL_BATCH * GLOBAL_BATCH)
            network.train()
            for x, y in book.batches(share(train_data, order)):
                logits = model(x)
                loss = nn.functional.cross_entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                book.log("loss", loss, on_step=True, on_epoch=True)
                book.log("f1", train_f1(logits, y))  # the epoch's, over all processes

            network.eval()
            with book.evaluation(), torch.no_grad():
                for x, y in book.batches(share(held_out, torch.arange(len(held_out)))):
                    logits = network(x)
                    book.log("val_loss", nn.functional.cross_entropy(logits, y))  # weighted by the sizes of the batches
                    book.log_dict(scores(logits, y))
                best.update(scores["f1"].compute())  # no step does, so it belongs to the run
                book.log("val_f1_best", best)
            book.end_epoch()
    return book


def report(network: Network, book: Logbook) -> None:
    """The numbers, and scikit-learn's from all predictions at once."""
    x, y = data()[1].tensors
    with torch.no_grad():
        logits = network(x)
    found = logits.argmax(1).numpy()
    theirs = {
        "val_accuracy": sklearn_metrics.accuracy_score(y, found),
        "val_f1": sklearn_metrics.f1_score(y, found, average="macro"),
        "val_mcc": sklearn_metrics.matthews_corrcoef(y, found),
        "val_loss": sklearn_metrics.log_loss(y, logits.double().softmax(1).numpy()),
    }
    print(f"{'held-out':15} {'epochal':>8} {'scikit-learn':>13}")
    for name, value in theirs.items():
        print(f"{name:15} {book[name]:8.4f} {value:13.4f}")
    print(f"{'val_f1_best':15} {book['val_f1_best']:8.4f} {max(book.history['val_f1']):13.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("demo_logs"))
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    if WORLD > 1:
        torch_dist.init_process_group("gloo")
    network = Network()
    book = train(network, options.epochs, options.out)
    if RANK == 0:
        report(network, book)
    if WORLD > 1:
        torch_dist.destroy_process_group()


if __name__ == "__main__":
    main()
