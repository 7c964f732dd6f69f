"""Structural similarity: what the means, variances and covariance of two images say under a window that slides over both.

A window is separable: its weights stand for each dimension alone, so that it costs the sum of its sides, not their product.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.image.peak import hashed
from epochal.image.ranges import Ranged, positive
from epochal.metric import MetricOptions, State, fixed
from epochal.numeric import count, portions, signed, wide
from epochal.states import parts

Weights = Sequence[Sequence[float]]  # of the places of a window, for each dimension
TRUNCATE = 3.5  # standard deviations after which a gaussian window ends, as in scikit-image: 11 places for 1.5


def gaussian(sigma: float) -> list[float]:
    reach = int(TRUNCATE * sigma + 0.5)
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-reach, reach + 1)]
    return [weight / sum(weights) for weight in weights]


def uniform(size: int) -> list[float]:
    return [1 / size] * size


def filtered(x: Tensor, window: Weights) -> Tensor:
    """The weighted mean under a window at each place where it fits; of the last dimensions of ``x``."""
    for dim, weights in enumerate(window, -len(window)):
        room = x.shape[dim] - len(weights) + 1
        mean = x.narrow(dim, 0, room) * weights[0]
        for place, weight in enumerate(weights[1:], 1):
            mean = mean.add_(x.narrow(dim, place, room), alpha=weight)
        x = mean
    return x


def mirrored(x: Tensor, window: Weights) -> Tensor:
    """Continued over each border by its mirror image, so that the window fits at every place."""
    for dim, weights in enumerate(window, -len(window)):
        reach, size = len(weights) // 2, x.shape[dim]
        left, right = x.narrow(dim, 1, reach).flip(dim), x.narrow(dim, size - 1 - reach, reach).flip(dim)
        x = torch.cat([left, x, right], dim)
    return x


def similarity(preds: Tensor, target: Tensor, window: Weights, c1: Any, c2: Any) -> tuple[Tensor, Tensor]:
    """The similarity of planes ``(P, ...)`` at each place, and its factor of contrast and structure."""
    inside = tuple(range(1, preds.ndim))
    pivots = [plane.detach().mean(inside, keepdim=True) for plane in (preds, target)]  # near which squares lose no digits
    p, t = preds - pivots[0], target - pivots[1]
    near_p, near_t, squares, product = filtered(torch.stack([p, t, p * p + t * t, p * t]), window)
    contrast = (2 * (product - near_p * near_t) + c2) / (squares - near_p.square() - near_t.square() + c2)
    mean_p, mean_t = near_p + pivots[0], near_t + pivots[1]
    return contrast * (2 * mean_p * mean_t + c1) / (mean_p.square() + mean_t.square() + c1), contrast


class StructuralSimilarity(Ranged):
    """Base of what reads local similarity: a subclass says what an image has (:meth:`rated`).

    With a ``data_range`` the statistic is the scores' sum and number, or themselves where ``reduction`` is "none". Without one it
    is the images, in the precision that they came in: the formula depends on the range of all of them.

    Args:
        gaussian_kernel: a gaussian window, which ``sigma`` describes; False: a uniform one, of ``kernel_size``.
        sigma: standard deviation of the gaussian window in pixels, or one for each dimension; it ends after 3.5 of them.
        kernel_size: side of the uniform window in pixels, odd, or one for each dimension.
        reduction: over images: "elementwise_mean", "sum", or "none".
        data_range: L as a number; (low, high), to which values are clamped; None: the larger of the ranges of preds and of target.
        k1, k2: the constants, as parts of L.

    Raises:
        ValueError: images smaller than the window, or not ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    """

    plot_upper_bound = 1.0
    scales = 1  # halvings of the image that are looked at, and itself

    def __init__(
        self,
        gaussian_kernel: bool,
        sigma: float | Sequence[float],
        kernel_size: int | Sequence[int],
        reduction: str | None,
        data_range: float | tuple[float, float] | None,
        k1: float,
        k2: float,
        extra: str | None = None,  # what a value shows besides, for each image: "image", "contrast"
        **kwargs: Any,
    ) -> None:
        super().__init__(data_range, reduction, **kwargs)
        check.choice(self, "gaussian_kernel", gaussian_kernel, (True, False))
        for deviation in several(sigma):
            positive(self, "sigma", deviation)
        for side in several(kernel_size):
            check.whole(self, "kernel_size", side, 1)
            if side % 2 == 0:
                check.fail(self, f"kernel_size is {kernel_size!r}", "odd sides are needed", f"Pass {side + 1}, or {side - 1}.")
        check.number(self, "k1", k1, 0)
        check.number(self, "k2", k2, 0)
        self.gaussian_kernel, self.k1, self.k2, self.extra = gaussian_kernel, k1, k2, extra
        self.sigma, self.kernel_size = hashed(sigma), hashed(kernel_size)
        if self.data_range is None:
            self.add_state("images", [], dist_reduce_fx="cat")
            return
        if self.reduction == "none":
            self.add_state("scores", [], dist_reduce_fx="cat")
        else:
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
            self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        if extra is not None:
            self.add_state(extra, [], dist_reduce_fx="cat")

    def measured_by(self) -> Hashable:
        window = self.gaussian_kernel, self.sigma if self.gaussian_kernel else self.kernel_size
        shown = self.reduction == "none", self.extra
        return type(self).rated, window, shown, self.data_range, self.bounds, self.k1, self.k2

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """The scores of the images; or the images, pairs ``(N, 2, C, ...)``, where their range is not known yet."""
        check.pair(self, preds, target)
        self._fits(preds)
        if self.data_range is not None:
            preds, target = self.scaled(preds, target)
            return self.summed(self.rated(preds, target, self.data_range))
        preds, target = signed(preds), signed(target)
        dtype = torch.promote_types(preds.dtype, target.dtype)
        return {"images": torch.stack([preds.to(dtype), target.to(dtype)], 1)}

    def window(self, dims: int) -> Weights:
        """The weights for so many dimensions of space."""
        name, made = ("sigma", gaussian) if self.gaussian_kernel else ("kernel_size", uniform)
        sides = several(getattr(self, name))
        if len(sides) not in (1, dims):
            came, needed = f"{name} has {len(sides)} numbers", f"preds has {dims} dimensions of space"
            check.fail(self, came, needed, "Pass one number for all.")
        return [made(side) for side in (sides if len(sides) > 1 else sides * dims)]

    def _fits(self, images: Tensor) -> None:
        """The window has a place in the smallest scale of these images."""
        if images.ndim not in (4, 5):
            came = f"preds has shape {check.shape(images)}"
            check.fail(self, came, "(N, C, H, W) or (N, C, D, H, W) is needed", "A gray image has C = 1: preds.unsqueeze(1).")
        least = [(len(weights) - 1) * 2 ** (self.scales - 1) + 1 for weights in self.window(images.ndim - 2)]
        if any(size < need for size, need in zip(images.shape[2:], least, strict=True)):
            came, needed = f"preds has shape {check.shape(images)}", f"at least {tuple(least)} is needed for the window"
            check.fail(self, came, needed, f"Take larger images{', fewer betas' * (self.scales > 1)} or a smaller window.")

    def rated(self, preds: Tensor, target: Tensor, data_range: Any) -> State:
        """Of each image: ``scores``, ``(N,)``, and what ``extra`` names."""
        raise NotImplementedError(check.message(self, "rated is not defined", "a structural similarity defines it"))

    def similarity(self, preds: Tensor, target: Tensor, data_range: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of ``(N, C, ...)`` the means over each image, of similarity and contrast; the map of the whole image if it is shown."""
        window, map_ = self.window(preds.ndim - 2), self.extra == "image"
        constants = (self.k1 * data_range) ** 2, (self.k2 * data_range) ** 2
        planes = [mirrored(x, window) if map_ else x for x in (preds.flatten(0, 1), target.flatten(0, 1))]
        pairs = zip(*(portions(x) for x in planes), strict=True)
        found = [similarity(p, t, window, *constants) for p, t in pairs]
        maps = torch.cat([similar for similar, _ in found]).reshape(preds.shape) if map_ else None
        if map_:
            found = [(inside(similar, window), inside(contrast, window)) for similar, contrast in found]
        means = (torch.cat([x.flatten(1).mean(1) for x in column]) for column in zip(*found, strict=True))
        similar, contrast = (mean.reshape(preds.shape[:2]).mean(1) for mean in means)
        return similar, contrast, maps

    def summed(self, found: State) -> State:
        """The state of scores."""
        if self.reduction == "none":
            return found
        scores = found.pop("scores")
        return {**found, "total": scores.sum(), "count": count(scores.shape[0], scores)}

    def fields(self, state: State) -> State:
        """Images that are kept need not have one size."""
        return state if self.data_range is None else super().fields(state)

    def value(self, images: Any = None, **state: Any) -> Any:
        if images is not None:
            state = self._of(parts(images))
        score = state["scores"] if self.reduction == "none" else state["total"]
        if self.reduction == "elementwise_mean":
            score = score / state["count"]
        return score if self.extra is None else (score, state[self.extra])

    def _of(self, images: Sequence[Tensor]) -> State:
        """The state of all images at once, and by their range."""
        known = [pairs for pairs in images if pairs.numel()]
        if not known:
            none = torch.zeros(0, dtype=torch.float64)
            return self.summed({"scores": none, **({self.extra: none} if self.extra else {})})
        ends = [
            torch.stack(pairs.transpose(0, 1).flatten(1).aminmax(dim=1)) for pairs in known
        ]  # low and high, of preds and target
        low, high = torch.stack([wide(end) for end in ends]).unbind(1)
        data_range = (high.amax(0) - low.amin(0)).amax()
        found = [self.rated(wide(pairs[:, 0]), wide(pairs[:, 1]), data_range) for pairs in known]
        return self.summed({name: torch.cat([scores[name] for scores in found]) for name in found[0]})


def several(argument: Any) -> tuple[Any, ...]:
    return tuple(argument) if isinstance(argument, list | tuple) else (argument,)


def inside(x: Tensor, window: Weights) -> Tensor:
    """Without the places whose window reaches over a border."""
    for dim, weights in enumerate(window, -len(window)):
        x = x.narrow(dim, len(weights) // 2, x.shape[dim] - len(weights) + 1)
    return x


class StructuralSimilarityIndexMeasure(StructuralSimilarity):
    r"""Structural similarity: how alike two images are in mean, contrast and structure, under a window at each place.

    .. math:: \frac{(2 \mu_{\hat y} \mu_y + c_1)(2 \sigma_{\hat y y} + c_2)}
        {(\mu_{\hat y}^2 + \mu_y^2 + c_1)(\sigma_{\hat y}^2 + \sigma_y^2 + c_2)}, \qquad c_i = (k_i L)^2

    ``update(preds, target)``: numbers ``(N, C, H, W)`` or ``(N, C, D, H, W)``; NaN gives NaN. ``compute()``: the mean over the
    places where the window fits and over the channels, averaged over images, at most 1; NaN without data. Arguments as in
    :class:`~epochal.image.structure.StructuralSimilarity`. As a loss: ``1 - metric(preds, target)``.

    Args:
        return_full_image: also the similarity at each place, ``(N, C, ...)``; beyond its borders an image is mirrored.
        return_contrast_sensitivity: also the mean of the second factors, ``(N,)``.

    Source: Z. Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.

    >>> metric = StructuralSimilarityIndexMeasure(data_range=1.0)
    >>> target = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20)
    >>> metric(target * 0.75, target)
    tensor(0.9252)
    """

    def __init__(
        self,
        gaussian_kernel: bool = True,
        sigma: float | Sequence[float] = 1.5,
        kernel_size: int | Sequence[int] = 11,
        reduction: str | None = "elementwise_mean",
        data_range: float | tuple[float, float] | None = None,
        k1: float = 0.01,
        k2: float = 0.03,
        return_full_image: bool = False,
        return_contrast_sensitivity: bool = False,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check.choice(self, "return_full_image", return_full_image, (True, False))
        check.choice(self, "return_contrast_sensitivity", return_contrast_sensitivity, (True, False))
        if return_full_image and return_contrast_sensitivity:
            came = "return_full_image and return_contrast_sensitivity are both True"
            check.fail(self, came, "one of them is needed", "Make a metric for each.")
        extra = "image" if return_full_image else "contrast" if return_contrast_sensitivity else None
        super().__init__(gaussian_kernel, sigma, kernel_size, reduction, data_range, k1, k2, extra, **kwargs)
        self.return_full_image, self.return_contrast_sensitivity = return_full_image, return_contrast_sensitivity

    def rated(self, preds: Tensor, target: Tensor, data_range: Any) -> State:
        similar, contrast, maps = self.similarity(preds, target, data_range)
        shown = {"image": maps, "contrast": contrast}
        return {"scores": similar, **({self.extra: shown[self.extra]} if self.extra else {})}


def structural_similarity_index_measure(
    preds: Tensor,
    target: Tensor,
    gaussian_kernel: bool = True,
    sigma: float | Sequence[float] = 1.5,
    kernel_size: int | Sequence[int] = 11,
    reduction: str | None = "elementwise_mean",
    data_range: float | tuple[float, float] | None = None,
    k1: float = 0.01,
    k2: float = 0.03,
    return_full_image: bool = False,
    return_contrast_sensitivity: bool = False,
) -> Any:
    """Functional form of :class:`StructuralSimilarityIndexMeasure`."""
    window = gaussian_kernel, hashed(sigma), hashed(kernel_size)
    shown = return_full_image, return_contrast_sensitivity
    return fixed(StructuralSimilarityIndexMeasure, *window, reduction, hashed(data_range), k1, k2, *shown).of(preds, target)


BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
NORMALIZE = ("relu", "simple", None)


class MultiScaleStructuralSimilarityIndexMeasure(StructuralSimilarity):
    r"""Structural similarity of an image and its halvings: of the smallest all factors, of the others contrast and structure.

    .. math:: \mathrm{SSIM}_M^{\beta_M} \prod_{j=1}^{M-1} \mathrm{CS}_j^{\beta_j}

    ``update(preds, target)``: numbers ``(N, C, H, W)`` or ``(N, C, D, H, W)``, at least 161 in each direction by default; NaN gives
    NaN. ``compute()``: averaged over images, at most 1; NaN without data. Arguments as in
    :class:`~epochal.image.structure.StructuralSimilarity`. Each factor of an image is the mean over places and channels.

    Args:
        betas: the exponents, of the whole image first.
        normalize: what becomes of a negative mean, whose power is NaN: "relu": 0; "simple": (x + 1) / 2 of every mean, which has a
            gradient everywhere; None: nothing.

    Source: Z. Wang, E. Simoncelli and A. Bovik, Multi-scale structural similarity for image quality assessment, 2003.

    >>> metric = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, betas=(0.5, 0.5))
    >>> target = torch.linspace(0, 1, 900).reshape(1, 1, 30, 30)
    >>> metric(target * 0.75, target)
    tensor(0.9453)
    """

    def __init__(
        self,
        gaussian_kernel: bool = True,
        kernel_size: int | Sequence[int] = 11,
        sigma: float | Sequence[float] = 1.5,
        reduction: str | None = "elementwise_mean",
        data_range: float | tuple[float, float] | None = None,
        k1: float = 0.01,
        k2: float = 0.03,
        betas: tuple[float, ...] = BETAS,
        normalize: str | None = "relu",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(gaussian_kernel, sigma, kernel_size, reduction, data_range, k1, k2, **kwargs)
        check.choice(self, "normalize", normalize, NORMALIZE)
        if not isinstance(betas, list | tuple) or not betas or not all(isinstance(beta, float | int) for beta in betas):
            check.fail(self, f"betas is {betas!r}", "a number for each scale is needed", f"Pass betas={BETAS}.")
        self.betas, self.normalize, self.scales = tuple(betas), normalize, len(betas)

    def measured_by(self) -> Hashable:
        return super().measured_by(), self.betas, self.normalize

    def rated(self, preds: Tensor, target: Tensor, data_range: Any) -> State:
        score = preds.new_ones(preds.shape[0])
        for scale, beta in enumerate(self.betas):
            preds, target = (halved(x) if scale else x for x in (preds, target))
            similar, contrast, _ = self.similarity(preds, target, data_range)
            mean = similar if scale == len(self.betas) - 1 else contrast
            mean = mean.relu() if self.normalize == "relu" else (mean + 1) / 2 if self.normalize == "simple" else mean
            score = score * mean**beta
        return {"scores": score}


def halved(x: Tensor) -> Tensor:
    """The means of two by two pixels; the last one of an odd side has no other, as in Wang's implementation."""
    pool = torch.nn.functional.avg_pool2d if x.ndim == 4 else torch.nn.functional.avg_pool3d
    return pool(x, 2, ceil_mode=True)


def multiscale_structural_similarity_index_measure(
    preds: Tensor,
    target: Tensor,
    gaussian_kernel: bool = True,
    sigma: float | Sequence[float] = 1.5,
    kernel_size: int | Sequence[int] = 11,
    reduction: str | None = "elementwise_mean",
    data_range: float | tuple[float, float] | None = None,
    k1: float = 0.01,
    k2: float = 0.03,
    betas: tuple[float, ...] = BETAS,
    normalize: str | None = "relu",
) -> Tensor:
    """Functional form of :class:`MultiScaleStructuralSimilarityIndexMeasure`."""
    window = gaussian_kernel, hashed(kernel_size), hashed(sigma)
    arguments = reduction, hashed(data_range), k1, k2, hashed(betas), normalize
    return fixed(MultiScaleStructuralSimilarityIndexMeasure, *window, *arguments).of(preds, target)
