"""Image metrics of real photographs against scikit-image and pytorch-msssim, over batches of any cut."""

from __future__ import annotations

import functools
import math
import pickle

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage import data, metrics

from epochal import functional as ef
from epochal import image as ei
from tests.errors.grammar import refused
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


@functools.cache
def photographs(side: int) -> torch.Tensor:
    """The upper left of each, ``(4, 3, side, side)``, uint8."""
    return torch.stack([torch.from_numpy(getattr(data, name)()[:side, :side].copy()).movedim(-1, 0) for name in PHOTOGRAPHS])


def noisy(target: torch.Tensor, scale: float = 20) -> torch.Tensor:
    noise = scale * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return (target + noise).round().clamp(0, 255).to(torch.uint8)


def pair(side: int, dtype: torch.dtype = torch.uint8) -> tuple[torch.Tensor, torch.Tensor]:
    target = photographs(side)
    return (noisy(target).to(dtype), target.to(dtype))


DTYPES = [torch.uint8, torch.float32, torch.float64, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_psnr(dtype):
    preds, target = pair(64, dtype)
    whole = metrics.peak_signal_noise_ratio(target.numpy(), preds.numpy().astype(target.numpy().dtype), data_range=255)
    for found in (computed(ei.PeakSignalNoiseRatio(255), cut(preds, target)), ef.peak_signal_noise_ratio(preds, target, 255)):
        assert found.item() == pytest.approx(whole, rel=1e-6)
    each = [metrics.peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=255) for p, t in zip(preds, target, strict=True)]
    for reduction, expected in (("elementwise_mean", np.mean(each)), ("sum", np.sum(each)), ("none", each)):
        metric = ei.PeakSignalNoiseRatio(255, reduction=reduction, dim=(1, 2, 3))
        assert computed(metric, cut(preds, target)).tolist() == pytest.approx(np.asarray(expected).tolist(), rel=1e-6)


def test_psnr_of_the_range_of_all_data():
    """Not of a batch, and of target alone; bounds clamp both."""
    preds, target = pair(64, torch.float64)
    expected = metrics.peak_signal_noise_ratio(target.numpy(), preds.numpy(), data_range=float(target.max() - target.min()))
    assert computed(ei.PeakSignalNoiseRatio(), cut(preds, target)).item() == pytest.approx(expected, rel=1e-12)
    clamped = metrics.peak_signal_noise_ratio(target.clamp(50, 150).numpy(), preds.clamp(50, 150).numpy(), data_range=100)
    assert ef.peak_signal_noise_ratio(preds, target, (50, 150)).item() == pytest.approx(clamped, rel=1e-12)
    bels = ef.peak_signal_noise_ratio(preds, target, 255.0, base=2.0) * math.log10(2)
    assert bels.item() == pytest.approx(ef.peak_signal_noise_ratio(preds, target, 255.0).item(), rel=1e-12)
    assert ef.peak_signal_noise_ratio(preds, preds, 255.0) == math.inf


@pytest.mark.parametrize("name", ["PeakSignalNoiseRatio", "StructuralSimilarityIndexMeasure"])
def test_images_of_sixteen_bits_have_a_range(name):
    preds, target = (image.to(torch.int64) * 257 for image in pair(64, torch.uint8))
    metric, narrow = getattr(ei, name)(), [image.to(torch.uint16) for image in (preds, target)]
    metric.update(*(image[:2] for image in narrow))
    metric = pickle.loads(pickle.dumps(metric))
    metric.update(*(image[2:] for image in narrow))
    assert metric.compute() == getattr(ei, name)().of(preds, target)


WINDOWS = {
    "gaussian": ({}, {"gaussian_weights": True, "sigma": 1.5}),
    "wide": ({"sigma": 2.5}, {"gaussian_weights": True, "sigma": 2.5}),
    "uniform": ({"gaussian_kernel": False, "kernel_size": 7}, {"win_size": 7}),
}


def skimage_ssim(preds, target, data_range, **window):
    """Of each image; the mean over its valid places."""
    return [
        metrics.structural_similarity(
            t.double().numpy(), p.double().numpy(), channel_axis=0, data_range=data_range, use_sample_covariance=False, **window
        )
        for p, t in zip(preds, target, strict=True)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_ssim(window, dtype):
    ours, theirs = WINDOWS[window]
    preds, target = pair(48, dtype)
    each = skimage_ssim(preds, target, 255, **theirs)
    make = functools.partial(ei.StructuralSimilarityIndexMeasure, **ours)
    assert computed(make(data_range=255), cut(preds, target)).item() == pytest.approx(np.mean(each), rel=1e-6)
    assert computed(make(data_range=255, reduction="sum"), cut(preds, target)).item() == pytest.approx(np.sum(each), rel=1e-6)
    assert make(data_range=255, reduction=None).of(preds, target).tolist() == pytest.approx(each, rel=1e-6)
    spread = max(float(x.max().double() - x.min().double()) for x in (preds, target))
    of_all = np.mean(skimage_ssim(preds, target, spread, **theirs))
    assert computed(make(), cut(preds, target)).item() == pytest.approx(of_all, rel=1e-6)


def test_ssim_of_volumes():
    preds, target = (x.movedim(1, 0).unsqueeze(0)[:, :1].tile(1, 2, 3, 1, 1)[..., :20, :22].double() for x in pair(48))
    expected = [
        metrics.structural_similarity(
            target[0, c].numpy(), preds[0, c].numpy(), data_range=255, gaussian_weights=True, sigma=0.8, use_sample_covariance=False
        )
        for c in range(2)
    ]
    assert preds.shape == (1, 2, 12, 20, 22)
    found = ef.structural_similarity_index_measure(preds, target, sigma=0.8, data_range=255)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_the_whole_image_and_the_contrast():
    preds, target = pair(48, torch.float64)
    score, image = ef.structural_similarity_index_measure(preds, target, data_range=255, return_full_image=True)
    plain = ef.structural_similarity_index_measure(preds, target, data_range=255)
    assert score.item() == pytest.approx(plain.item(), rel=1e-12)
    _, full = metrics.structural_similarity(
        target[1].numpy(), preds[1].numpy(), channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    assert np.allclose(image[1, :, 5:-5, 5:-5].numpy(), full[:, 5:-5, 5:-5], rtol=1e-12)  # its borders repeat the last pixel
    flat = torch.full_like(target, 0.5)
    score, contrast = ef.structural_similarity_index_measure(
        target / 255, target / 255 + flat, data_range=1.0, return_contrast_sensitivity=True
    )
    assert contrast.tolist() == pytest.approx([1.0] * 4, rel=1e-12)
    assert score < 0.9


def test_images_far_from_0():
    """A hundred million and a few gray levels: squares would have lost the levels."""
    preds, target = pair(48, torch.float64)
    near = [ef.structural_similarity_index_measure(preds, target, data_range=255, return_contrast_sensitivity=True)[1]]
    far = ef.structural_similarity_index_measure(preds + 1e8, target + 1e8, data_range=255, return_contrast_sensitivity=True)[1]
    assert far.tolist() == pytest.approx(near[0].tolist(), rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_multiscale(channels):
    """Sides that halve evenly: pytorch-msssim adds rows of zeros to others. Its window is of float32."""
    preds, target = (x[:, :channels].double() for x in pair(176))
    expected = pytorch_msssim.ms_ssim(preds[:, :1], target[:, :1], data_range=255, size_average=False)
    metric = ei.MultiScaleStructuralSimilarityIndexMeasure(data_range=255)
    if channels == 1:
        assert computed(metric, cut(preds, target)).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    of_all = ei.MultiScaleStructuralSimilarityIndexMeasure().of(preds, target)
    assert of_all.item() == pytest.approx(metric.of(preds, target).item(), rel=1e-3)
    gray = ef.multiscale_structural_similarity_index_measure(preds[:, :1], target[:, :1], data_range=255, reduction="none")
    assert gray.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_an_image_with_itself():
    target = photographs(48)
    assert ef.structural_similarity_index_measure(target, target, data_range=255).item() == 1
    assert ef.multiscale_structural_similarity_index_measure(target, target, data_range=255, betas=(0.5, 0.5)).item() == 1


def test_a_negative_mean_is_what_normalize_says():
    target = noisy(torch.full((2, 1, 48, 48), 128), 60).double()
    negative = 255 - target
    found = {
        how: ef.multiscale_structural_similarity_index_measure(negative, target, data_range=255, betas=(0.5, 0.5), normalize=how)
        for how in ("relu", "simple", None)
    }
    assert found["relu"] == 0
    assert 0 < found["simple"] < 0.5
    assert found[None].isnan()


def test_ssim_is_a_loss():
    target = photographs(32)[:1].float() / 255
    preds = torch.full_like(target, 0.5, requires_grad=True)
    metric = ei.StructuralSimilarityIndexMeasure(data_range=1.0)
    optimizer = torch.optim.Adam([preds], lr=0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = 1 - metric(preds, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not metric.compute().requires_grad


def test_images_of_several_sizes():
    """With and without a range that is known beforehand."""
    batches = [pair(48), tuple(x[:2] for x in pair(64))]
    sums = [ei.StructuralSimilarityIndexMeasure(data_range=255, reduction="sum").of(*batch).item() for batch in batches]
    assert computed(ei.StructuralSimilarityIndexMeasure(data_range=255), batches).item() == pytest.approx(sum(sums) / 6, rel=1e-6)
    spread = max(float(x.max()) - float(x.min()) for batch in batches for x in batch)
    assert computed(ei.StructuralSimilarityIndexMeasure(), batches).item() == pytest.approx(
        computed(ei.StructuralSimilarityIndexMeasure(data_range=spread), batches).item(), rel=1e-6
    )


def test_no_images():
    none = torch.zeros(0, 3, 16, 16)
    for metric in (ei.PeakSignalNoiseRatio(), ei.PeakSignalNoiseRatio(1.0), ei.StructuralSimilarityIndexMeasure()):
        assert metric.of(none, none).isnan()
    assert ei.StructuralSimilarityIndexMeasure(data_range=1.0).of(none, none).isnan()
    assert ei.StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none").of(none, none).shape == (0,)


def test_images_that_do_not_fit():
    ssim, multiscale = ei.StructuralSimilarityIndexMeasure(), ei.MultiScaleStructuralSimilarityIndexMeasure()
    small, gray = torch.rand(2, 3, 8, 20), torch.rand(20, 20)
    name = "StructuralSimilarityIndexMeasure"
    refused(lambda: ssim.update(small, small), ValueError, name, ("(2, 3, 8, 20)", "(11, 11)"))
    refused(lambda: ssim.update(gray, gray), ValueError, name, ("(20, 20)", "unsqueeze(1)"))
    large = torch.rand(1, 1, 161, 160)
    refused(lambda: multiscale.update(large, large), ValueError, f"MultiScale{name}", ("(161, 161)", "fewer betas"))
    assert multiscale.of(torch.rand(1, 1, 161, 161), torch.rand(1, 1, 161, 161)).isfinite()
    three = ei.StructuralSimilarityIndexMeasure(sigma=(1.0, 1.0, 1.0))
    refused(lambda: three.update(small, small), ValueError, name, ("sigma has 3 numbers", "2 dimensions"))
    both = {"return_full_image": True, "return_contrast_sensitivity": True}
    refused(lambda: ei.StructuralSimilarityIndexMeasure(**both), ValueError, name, ("both True",))
    psnr = ei.PeakSignalNoiseRatio(1.0, dim=(0, 1))
    refused(lambda: psnr.update(small, small), ValueError, "PeakSignalNoiseRatio", ("dim is (0, 1)", "dim=None"))
    refused(lambda: ei.PeakSignalNoiseRatio(1.0, base=1), ValueError, "PeakSignalNoiseRatio", ("base is 1",))
