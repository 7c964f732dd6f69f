"""Ratios of the power of a signal and of what differs from it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from epochal.audio.signals import OfMeans, decibels, each, signals
from epochal.metric import fixed


class SignalNoiseRatio(OfMeans):
    r"""Signal-to-noise ratio, in dB.

    .. math:: 10 \log_{10} \frac{\|y\|^2}{\|y - \hat y\|^2}

    ``update(preds, target)`` as in :class:`~epochal.audio.signals.MeanOverSignals`. ``compute()``: the mean over signals; infinite
    of a perfect one, minus infinite of a silent target.

    Args:
        zero_mean: whether the mean of each signal is taken out of it first.

    >>> metric = SignalNoiseRatio()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(16.1805)
    """

    def scores(self, preds: Tensor, target: Tensor) -> Tensor:
        preds, target = signals(self, preds, target, self.zero_mean)
        return decibels(target.square().sum(-1), (target - preds).square().sum(-1))


class ScaleInvariantSignalDistortionRatio(OfMeans):
    r"""Scale-invariant signal-to-distortion ratio (SI-SDR), in dB: of the target scaled as fits best, and of what is left.

    .. math:: 10 \log_{10} \frac{\|\alpha y\|^2}{\|\alpha y - \hat y\|^2}, \qquad \alpha = \frac{\hat y^T y}{\|y\|^2}

    ``update(preds, target)`` as in :class:`~epochal.audio.signals.MeanOverSignals`. ``compute()``: the mean over signals; infinite
    of a perfect one, NaN of a silent target.

    Args:
        zero_mean: whether the mean of each signal is taken out of it first.

    Source: J. Le Roux et al., SDR: half-baked or well done?, 2019.

    >>> metric = ScaleInvariantSignalDistortionRatio()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(18.4030)
    """

    def scores(self, preds: Tensor, target: Tensor) -> Tensor:
        preds, target = signals(self, preds, target, self.zero_mean)
        scale = (preds * target).sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True)
        fitting = scale * target
        return decibels(fitting.square().sum(-1), (fitting - preds).square().sum(-1))


class ScaleInvariantSignalNoiseRatio(ScaleInvariantSignalDistortionRatio):
    """Scale-invariant signal-to-noise ratio (SI-SNR), in dB: the SI-SDR of signals less their means.

    ``update(preds, target)`` as in :class:`~epochal.audio.signals.MeanOverSignals`. ``compute()``: the mean over signals; infinite
    of a perfect one, NaN of a constant target.

    Source: Y. Luo and N. Mesgarani, TasNet, 2018.

    >>> metric = ScaleInvariantSignalNoiseRatio()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(15.0918)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(True, **kwargs)


def signal_noise_ratio(preds: Tensor, target: Tensor, zero_mean: bool = False) -> Tensor:
    """The scores that :class:`SignalNoiseRatio` averages: of signals ``(..., T)`` a tensor ``(...)``."""
    return each(fixed(SignalNoiseRatio, zero_mean), preds, target)


def scale_invariant_signal_distortion_ratio(preds: Tensor, target: Tensor, zero_mean: bool = False) -> Tensor:
    """The scores that :class:`ScaleInvariantSignalDistortionRatio` averages: of signals ``(..., T)`` a tensor ``(...)``."""
    return each(fixed(ScaleInvariantSignalDistortionRatio, zero_mean), preds, target)


def scale_invariant_signal_noise_ratio(preds: Tensor, target: Tensor) -> Tensor:
    """The scores that :class:`ScaleInvariantSignalNoiseRatio` averages: of signals ``(..., T)`` a tensor ``(...)``."""
    return each(fixed(ScaleInvariantSignalNoiseRatio), preds, target)
