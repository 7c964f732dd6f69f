"""Structural similarity and squared errors beside torchmetrics, Fréchet's distance beside scipy's matrix square root."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import scipy.linalg
import torch
import torchmetrics.functional.image as peer

import epochal
from benchmarks.timing import Row, row

SSIM, FRECHET = 1.3, 3.0
EQUAL = 1.0  # not slower


def pairs(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.rand(shape)
    return (target + 0.1 * torch.randn(shape)).clamp(0, 1), target


def once(function: Callable[[], Any]) -> float:
    """Seconds of one call, of what takes a minute."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def frechet() -> Row:
    """What is left for compute: scipy is given the covariances."""
    torch.manual_seed(0)
    mixed = torch.randn(2048, 2048) / 2048**0.5
    metric = epochal.image.FrechetInceptionDistance(torch.nn.Flatten(), compute_with_cache=False)
    for real in (True, False):
        metric.update((torch.randn(5000, 2048) @ mixed)[..., None, None], real=real)
    a, b = (metric.metric_state[f"{kind}_comoments"] / 4999 for kind in ("real", "fake"))
    ours, peers = once(metric.compute), once(lambda: scipy.linalg.sqrtm((a @ b).numpy()).trace())
    return Row("FID of 5,000 features of 2,048: compute, scipy", ours, peers, FRECHET)


def rows() -> Iterator[Row]:
    ours = epochal.functional
    images = pairs(8, 3, 256, 256)
    yield row(
        "SSIM of 8 x 3 x 256 x 256",
        lambda: ours.structural_similarity_index_measure(*images, data_range=1.0),
        lambda: peer.structural_similarity_index_measure(*images, data_range=1.0),
        SSIM,
    )
    yield row(
        "SSIM of 8 x 3 x 256 x 256, 7 x 7 uniform",
        lambda: ours.structural_similarity_index_measure(*images, gaussian_kernel=False, kernel_size=7, data_range=1.0),
        lambda: peer.structural_similarity_index_measure(*images, gaussian_kernel=False, kernel_size=7, data_range=1.0),
        EQUAL,
    )
    yield row(
        "MS-SSIM of 8 x 3 x 256 x 256",
        lambda: ours.multiscale_structural_similarity_index_measure(*images, data_range=1.0),
        lambda: peer.multiscale_structural_similarity_index_measure(*images, data_range=1.0),
        SSIM,
    )
    small = pairs(64, 3, 32, 32)
    yield row(
        "SSIM of 64 x 3 x 32 x 32",
        lambda: ours.structural_similarity_index_measure(*small, data_range=1.0),
        lambda: peer.structural_similarity_index_measure(*small, data_range=1.0),
        SSIM,
    )
    yield row(
        "PSNR of 8 x 3 x 256 x 256",
        lambda: ours.peak_signal_noise_ratio(*images, 1.0),
        lambda: peer.peak_signal_noise_ratio(*images, 1.0),  # 1 or 7 ms, as its memory is at hand or not
    )
    yield frechet()
