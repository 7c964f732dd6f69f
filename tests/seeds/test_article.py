"""An article on metrics: what it describes in words, its own metric and its example of a rare disease, computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_squared_error

from tests.seeds.blocks.article.converting import torchmetrics


def test_a_function_and_a_module():
    """Called for each batch, the module returns the batch's value and keeps all that it has seen; ``reset`` begins anew."""
    generator = torch.Generator().manual_seed(0)
    metric, batches = torchmetrics.Accuracy(), []
    for _ in range(2):
        for n in (10, 10, 4):
            preds, target = torch.randn(n, 5, generator=generator).softmax(-1), torch.randint(5, (n,), generator=generator)
            batches.append((preds, target))
            of_batch = accuracy_score(target, preds.argmax(-1))
            assert torchmetrics.functional.accuracy(preds, target).item() == pytest.approx(of_batch)
            assert metric(preds, target).item() == pytest.approx(of_batch)
        preds, target = (torch.cat(part) for part in zip(*batches, strict=True))
        assert metric.compute().item() == pytest.approx(accuracy_score(target, preds.argmax(-1)))
        metric.reset()
        batches.clear()


class RootMeanSquaredError(torchmetrics.Metric):
    """The article's example of a metric of one's own: two states, by ``update`` and ``compute``."""

    def __init__(self):
        super().__init__()
        self.add_state("sum_squared_error", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("n_observations", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds, target):
        self.sum_squared_error += torch.sum((preds - target) ** 2)
        self.n_observations += preds.numel()

    def compute(self):
        return torch.sqrt(self.sum_squared_error / self.n_observations)


def in_parts(rank, size, preds, target):
    metric = RootMeanSquaredError()
    for part in range(rank, 3, size):
        metric.update(preds[part::3], target[part::3])
    return metric.compute().item()


def test_a_root_of_all_data_is_no_mean_of_roots(pair):
    """In batches, and over two processes that have two batches and one."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=50)
    preds = target + rng.normal(size=50) * np.where(np.arange(50) % 3, 0.1, 2.0)
    expected = mean_squared_error(target, preds) ** 0.5
    assert in_parts(0, 1, torch.tensor(preds), torch.tensor(target)) == pytest.approx(expected, rel=1e-6)
    assert pair.run(in_parts, torch.tensor(preds), torch.tensor(target)) == [pytest.approx(expected, rel=1e-6)] * 2
    roots = [mean_squared_error(target[i::3], preds[i::3]) ** 0.5 for i in range(3)]
    assert sum(roots) / 3 != pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"task": "binary"}], ids=["of old", "today"])
def test_a_rare_disease(options):
    """7 of 5000 are ill, and 5 of them are missed: 99.9 % are right, and recall is 0.28."""
    target = torch.zeros(5000, dtype=torch.long)
    target[:7] = 1
    preds = torch.zeros(5000)
    preds[:2] = 0.9
    scores = torchmetrics.MetricCollection([getattr(torchmetrics, n)(**options) for n in ("Accuracy", "Precision", "Recall")])
    got = {name: value.item() for name, value in scores(preds, target).items()}
    name = "Binary" if options else ""
    assert got == {f"{name}Accuracy": pytest.approx(0.999), f"{name}Precision": 1.0, f"{name}Recall": pytest.approx(2 / 7)}
    matrix = torchmetrics.ConfusionMatrix(task="binary")(preds, target)
    assert matrix.tolist() == [[4993, 0], [5, 2]]
