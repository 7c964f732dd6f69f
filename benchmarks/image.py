"""Structural similarity beside torchmetrics, Fréchet's distance beside scipy's matrix square root."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torchmetrics.functional.image as peer

import epochal
from benchmarks.timing import Row, row

SSIM = 1.3
EQUAL = 1.0  # not slower


def pairs(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.rand(shape)
    return (target + 0.1 * torch.randn(shape)).clamp(0, 1), target


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
        lambda: peer.peak_signal_noise_ratio(*images, 1.0),
        None,
    )
