"""Examples of image metrics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.laws.data import each, row


def pairs(*shape: int):
    """Smooth images, and what noise makes of them."""

    def drawn(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        target = torch.rand(n, *shape, generator=g).cumsum(-1) / shape[-1]
        return target + 0.1 * torch.randn(n, *shape, generator=g), target

    return each(drawn)


small, flat, deep = pairs(3, 4, 5), pairs(2, 10, 9), pairs(1, 5, 6, 7)
window = {"sigma": 0.5, "data_range": 1.0}  # of 5 places
psnr, ssim = "peak_signal_noise_ratio", "structural_similarity_index_measure"
multiscale = "multiscale_" + ssim

row("PeakSignalNoiseRatio", "number", small, {"data_range": 1.0}, function=psnr)
row("PeakSignalNoiseRatio", "range of the data", small, {"base": 2.0}, function=psnr)
row("PeakSignalNoiseRatio", "clamped", small, {"data_range": (0.1, 0.8)}, function=psnr)
for reduction in ("elementwise_mean", "sum", "none"):
    row(
        "PeakSignalNoiseRatio",
        f"slices, {reduction}",
        small,
        {"dim": (1, -1, 2), "reduction": reduction},
        psnr,
        rows=reduction == "none",
    )
row("StructuralSimilarityIndexMeasure", "number", flat, window, function=ssim)
row("StructuralSimilarityIndexMeasure", "range of the data", flat, {"sigma": 0.5}, function=ssim)
row("StructuralSimilarityIndexMeasure", "uniform", deep, {"gaussian_kernel": False, "kernel_size": (3, 5, 1), "data_range": (0, 1)})
for reduction in ("sum", "none"):
    row("StructuralSimilarityIndexMeasure", reduction, flat, {**window, "reduction": reduction}, ssim, rows=reduction == "none")
for extra in ("return_full_image", "return_contrast_sensitivity"):
    row("StructuralSimilarityIndexMeasure", extra, flat, {**window, extra: True}, ssim, rows=True)
    row("StructuralSimilarityIndexMeasure", f"{extra}, range of the data", flat, {"sigma": 0.5, extra: True}, ssim, rows=True)
row("MultiScaleStructuralSimilarityIndexMeasure", "relu", flat, {**window, "betas": (0.4, 0.6)}, function=multiscale)
row("MultiScaleStructuralSimilarityIndexMeasure", "simple", deep, {**window, "betas": (1.0,), "normalize": "simple"})
row(
    "MultiScaleStructuralSimilarityIndexMeasure",
    "range of the data",
    flat,
    {"sigma": 0.5, "betas": (0.4, 0.6)},
    function=multiscale,
)


def kinds() -> list[tuple[Tensor, bool]]:
    """Batches of real and of generated images, in turn."""
    images = [target for _, target in pairs(3, 5, 4)()] + [preds for preds, _ in pairs(3, 5, 4)()]
    return [(batch, i % 2 == 0) for i, batch in enumerate(images)]


means = nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten())
row("FrechetInceptionDistance", "a network", kinds, {"feature": means}, resplit=False)
row("FrechetInceptionDistance", "more features than images", kinds, {"feature": nn.Flatten()}, resplit=False)
