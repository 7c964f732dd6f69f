"""A blog post on a wrong number, and its repair: here both give the right one, of each epoch's data, on one process and on two."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.seeds.blocks.auto_reduce import repaired, wrong
from tests.training.toys import Rows, ddp_trainer, rank_environment, trainer

SCORES = {"Accuracy": accuracy_score, "Precision": precision_score, "Recall": recall_score, "F1Score": f1_score}
SAMPLES, BATCH = 61, 8


def imbalanced() -> TensorDataset:
    generator = torch.Generator().manual_seed(5)
    y = (torch.rand(SAMPLES, generator=generator) < 0.2).float()
    return TensorDataset(torch.randn(SAMPLES, 4, generator=generator) + 0.6 * y[:, None], y)


class Filled:
    """What the post does not show: the network, the label and the loss. Weights stay as they are."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 0.5))

    def forward(self, batch):
        return torch.sigmoid(batch[0] @ self.weight)

    def get_label(self, batch):
        return batch[1]

    def loss_fn(self, out, label):
        return nn.functional.binary_cross_entropy(out, label)

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], 0.0)


class Wrong(Filled, wrong.BaseModule):
    pass


class Repaired(Filled, repaired.BaseModule):
    pass


def labels() -> tuple[torch.Tensor, torch.Tensor]:
    """What is true, and what is found in any epoch."""
    with torch.no_grad():
        return imbalanced().tensors[1].long(), (Wrong()(imbalanced().tensors) > 0.5).long()


def expected() -> dict[str, float]:
    truth, found = labels()
    return {key: pytest.approx(score(truth, found), abs=1e-6) for key, score in SCORES.items()}


@pytest.mark.parametrize("make", [Wrong, Repaired])
def test_each_epoch_has_the_right_numbers(make):
    rows = Rows()
    run = trainer(logger=rows, max_epochs=2)
    run.fit(make(), DataLoader(imbalanced(), BATCH))
    assert {key: value.item() for key, value in run.callback_metrics.items()} == expected()
    for key, value in expected().items():
        assert rows.of(key) == [(7, value), (15, value)]


def test_the_mean_of_batches_is_another_number():
    """But for the accuracy, as the post says: else the test above could not tell."""
    truth, found = (part.split(BATCH) for part in labels())
    for key, score in SCORES.items():
        options = {} if key == "Accuracy" else {"zero_division": 0}
        mean = sum(len(t) * score(t, f, **options) for t, f in zip(truth, found, strict=True)) / SAMPLES
        assert (mean == expected()[key]) == (key == "Accuracy")


def fitted(rank, size, make):
    with rank_environment(rank, size):
        run = ddp_trainer(size, use_distributed_sampler=False)
        share = torch.utils.data.Subset(imbalanced(), range(rank, SAMPLES, size))
        run.fit(make(), DataLoader(share, BATCH))
        return {key: value.item() for key, value in run.callback_metrics.items()}


@pytest.mark.parametrize("make", [Wrong, Repaired])
def test_two_processes_have_the_same_numbers(pair, make):
    assert pair.run(fitted, make) == [expected()] * 2
