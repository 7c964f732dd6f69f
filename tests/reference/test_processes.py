"""Two processes whose data differ in form: what one process says of all of it."""

from __future__ import annotations

import pytest
import torch

from epochal.detection import MeanAveragePrecision
from epochal.image import MultiScaleStructuralSimilarityIndexMeasure, PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from tests.reference.test_detection import images

MEASURES = [PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure, MultiScaleStructuralSimilarityIndexMeasure]


def pictures(rank: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of another size and another range on each rank; the second rank has one more."""
    seed = torch.Generator().manual_seed(rank)
    sizes = [(2, 1, 180, 190)] if rank == 0 else [(1, 1, 200, 177), (3, 1, 180, 190)]
    targets = [(1 + rank) * torch.rand(size, generator=seed) for size in sizes]
    return [((target + 0.1 * torch.rand(target.shape, generator=seed)), target) for target in targets]


def measured(rank, size, kind):
    metric = kind(data_range=None)
    for batch in pictures(rank):
        metric.update(*batch)
    return metric.compute().item()


@pytest.mark.parametrize("kind", MEASURES)
def test_images_of_other_sizes_have_the_range_of_all(pair, kind):
    alone = kind(data_range=None)
    for rank in range(2):
        for batch in pictures(rank):
            alone.update(*batch)
    assert pair.run(measured, kind) == pytest.approx([alone.compute().item()] * 2, rel=1e-6)


def summarised(rank, size, parts):
    metric = MeanAveragePrecision(extended_summary=True, class_metrics=True)
    preds, target = parts[rank]
    if preds:
        metric.update(preds, target)
    return metric.compute()


@pytest.mark.parametrize("share", [0, 4])  # of the images that the first rank has
def test_an_extended_summary_is_that_of_all_images(pair, share):
    preds, target = images(0)
    parts = [(preds[:share], target[:share]), (preds[share:], target[share:])]
    alone = MeanAveragePrecision(extended_summary=True, class_metrics=True)
    alone.update(preds, target)
    wanted = alone.compute()
    for found in pair.run(summarised, parts):
        torch.testing.assert_close(found, wanted, equal_nan=True)
