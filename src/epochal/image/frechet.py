"""Moments of the features of real and of generated images, and how far apart they are."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from epochal import check
from epochal.image.inception import FEATURES, inception
from epochal.metric import MetricOptions, State
from epochal.moments import FIELDS, Moments, moments
from epochal.numeric import count

KINDS = "real_", "fake_"


class FeatureMoments(Moments):
    """Base of distances between real and generated images that read means and covariances of features, in float64.

    ``update(imgs, real)``: images ``(N, 3, H, W)``, all of them real or all generated: bytes, or floats in [0, 1] with
    ``normalize``. What a network of yours takes is up to it, and so are the images.

    Args:
        feature: a network from images to features ``(N, D)``, kept in evaluation mode; or 64, 192, 768 or 2048 for those of
            InceptionV3.
        reset_real_features: False: ``reset`` keeps what is known of real images.
        normalize: images are floats in [0, 1], and become bytes for InceptionV3.
        input_img_size: the size to which images are scaled for InceptionV3.
        feature_extractor_weights_path: the weights of InceptionV3, pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``; None:
            the file that the environment's EPOCHAL_INCEPTION_WEIGHTS names, or the one that pytorch-fid has downloaded.
        antialias: whether scaling to a smaller size filters.

    Raises:
        FileNotFoundError: there is no such file of weights.
    """

    is_differentiable = False
    higher_is_better = False
    feature_network = "inception"
    uncompiled = "its network may be anything, and its value an eigenvalue problem that is left out of a batch of one kind"
    plot_lower_bound = 0.0

    def __init__(
        self,
        feature: int | nn.Module = 2048,
        reset_real_features: bool = True,
        normalize: bool = False,
        input_img_size: tuple[int, int, int] = (3, 299, 299),
        feature_extractor_weights_path: str | os.PathLike[str] | None = None,
        antialias: bool = True,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        options = {"reset_real_features": reset_real_features, "normalize": normalize, "antialias": antialias}
        for name, option in options.items():
            check.choice(self, name, option, (True, False))
        if not isinstance(feature, nn.Module):
            if isinstance(feature, bool) or not isinstance(feature, int):
                raise TypeError(
                    check.message(self, f"feature is {feature!r}", f"a torch.nn.Module, or one of {FEATURES}, is needed")
                )
            check.choice(self, "feature", feature, FEATURES)
        sizes = input_img_size if isinstance(input_img_size, list | tuple) else ()
        if len(sizes) != 3 or sizes[0] != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
            check.fail(self, f"input_img_size is {input_img_size!r}", "(3, height, width) is needed")
        self.reset_real_features, self.normalize, self.bytes = reset_real_features, normalize, not isinstance(feature, nn.Module)
        if not isinstance(feature, nn.Module):
            height, width = input_img_size[1:]
            feature = inception(self, feature, feature_extractor_weights_path, (height, width), antialias)
        self.inception = feature.eval()
        for kind in KINDS:
            self.add_moments(1, prefix=kind)  # of as many features as the first batch has

    def train(self, mode: bool = True) -> Any:
        """The network stays in evaluation mode: features must not depend on the other images of a batch."""
        super().train(mode)
        self.inception.eval()
        return self

    def measure(self, imgs: Tensor, real: bool) -> State:
        """The moments of one kind; of the other kind nothing."""
        check.tensors(self, imgs=imgs)
        check.real(self, imgs=imgs)
        with torch.no_grad():
            features = self.inception(self._prepared(imgs))
        if not isinstance(features, Tensor) or features.ndim != 2 or features.shape[0] != imgs.shape[0]:
            came = f"the network returned {check.shape(features) if isinstance(features, Tensor) else type(features).__name__}"
            check.fail(self, came, f"features ({imgs.shape[0]}, D) are needed", "Pool and flatten them in the network.")
        mine, other = KINDS if real else KINDS[::-1]
        found = moments(features, mine)
        return {**found, f"{mine}count": count(imgs.shape[0], features), **self._nothing(other)}

    def _prepared(self, imgs: Tensor) -> Tensor:
        if imgs.ndim != 4:
            check.fail(self, f"imgs has shape {check.shape(imgs)}", "(N, C, H, W) is needed", "One image is imgs.unsqueeze(0).")
        if not self.bytes:
            return imgs
        if imgs.shape[1] != 3:
            check.fail(self, f"imgs has shape {check.shape(imgs)}", "InceptionV3 needs (N, 3, H, W)", "Repeat a gray channel.")
        if self.normalize:
            check.floating(self, imgs=imgs)
            exact = imgs.to(torch.promote_types(imgs.dtype, torch.float32))
            return (exact * 255).clamp(0, 255).floor()  # the values of bytes, and NaN, which no byte is
        if imgs.dtype != torch.uint8:
            came, fix = f"imgs has dtype {imgs.dtype}", "Pass bytes from 0 to 255, or floats in [0, 1] and normalize=True."
            raise TypeError(check.message(self, came, "torch.uint8 is needed", fix))
        return imgs

    def _nothing(self, kind: str) -> State:
        return {kind + field: self.slots[kind + field].identity() for field in FIELDS}

    def merge(self, a: State, b: State) -> State:
        for kind in KINDS:
            mine, its = a[f"{kind}mean"].shape[0], b[f"{kind}mean"].shape[0]
            if mine != its and 1 not in (mine, its):  # the identity has one
                check.fail(self, f"{mine} and {its} features meet", "one number is needed", "Use one network.")
        return super().merge(*({k: torch.as_tensor(v) for k, v in state.items()} for state in (a, b)))

    def reset(self) -> None:
        """Back to the identity; without what is known of real images where ``reset_real_features`` is False."""
        if self._parked is not None:
            self.unsync()
        names = () if self.reset_real_features else [f"real_{field}" for field in FIELDS]
        kept = {name: self.metric_state[name] for name in names}
        super().reset()
        for name, field in kept.items():
            setattr(self, name, field)


class FrechetInceptionDistance(FeatureMoments):
    r"""Fréchet distance between the features of real and generated images, each set taken for a normal distribution.

    .. math:: |\mu_r - \mu_g|^2 + \operatorname{tr}(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2})

    ``update(imgs, real)`` and arguments as in :class:`~epochal.image.frechet.FeatureMoments`. ``compute()``: a scalar of at least
    0, in squares of the features' unit; NaN with fewer than two images of a kind, and so for the batch that ``forward`` adds, which
    is of one kind.

    Source: M. Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, 2017.

    >>> metric = FrechetInceptionDistance(feature=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    >>> metric.update(torch.arange(24.0).reshape(2, 3, 2, 2), real=True)
    >>> metric.update(torch.arange(24.0).reshape(2, 3, 2, 2) + 1, real=False)
    >>> metric.compute()
    tensor(3.)
    """

    def value(
        self,
        real_count: Any,
        real_mean: Tensor,
        real_comoments: Tensor,
        fake_count: Any,
        fake_mean: Tensor,
        fake_comoments: Tensor,
    ) -> Tensor:
        n, m = int(real_count), int(fake_count)
        if min(n, m) < 2:
            return real_mean.new_full((), torch.nan)
        covariances = real_comoments / (n - 1), fake_comoments / (m - 1)
        trace = sum(covariance.trace() for covariance in covariances) - 2 * trace_of_root(*covariances, min(n, m) - 1)
        return ((real_mean - fake_mean).square().sum() + trace).clamp(min=0)  # rounding may leave less


def trace_of_root(a: Tensor, b: Tensor, rank: int) -> Tensor:
    r"""tr((AB)^½) of covariances, the smaller of which is of this rank at most.

    With any R for which :math:`A = R R^T`, AB has the eigenvalues of :math:`R^T B R`, which is symmetric: they are real, and found
    without a matrix root. Beyond the rank they are rounding, whose roots would not be small.
    """
    if not (a.isfinite().all() and b.isfinite().all()):  # of which LAPACK finds no eigenvalues
        return a.new_full((), torch.nan)
    root, failed = torch.linalg.cholesky_ex(a)  # a root like any other, and the cheapest, where A is not singular
    if failed:
        values, vectors = torch.linalg.eigh(a)
        root = vectors * values.clamp(min=0).sqrt()
    roots: Tensor = torch.linalg.eigvalsh(root.mT @ b @ root)[-rank:].clamp(min=0).sqrt()
    return roots.sum()
