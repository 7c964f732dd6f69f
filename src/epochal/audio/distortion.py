"""The signal-to-distortion ratio of BSS Eval: the target may pass through any short filter."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.audio.signals import MeanOverSignals, decibels, each, signals
from epochal.metric import MetricOptions, fixed


class SignalDistortionRatio(MeanOverSignals):
    r"""Signal-to-distortion ratio (SDR) of BSS Eval, in dB: of what a filter of the target can explain, and of the rest.

    .. math:: 10 \log_{10} \frac{\|h * y\|^2}{\|h * y - \hat y\|^2}, \qquad h = \arg\min_h \|h * y - \hat y\|^2

    with h of ``filter_length`` taps. Its normal equations are a Toeplitz system of the target's autocorrelation, solved in float64.
    ``update(preds, target)`` as in :class:`~epochal.audio.signals.MeanOverSignals`. ``compute()``: the mean over signals; infinite
    of a perfect one, NaN of a silent one.

    Args:
        use_cg_iter: taken for compatibility: the system is always solved exactly, where some steps of an iteration would
            approximate it.
        filter_length: the number of taps.
        zero_mean: whether the mean of each signal is taken out of it first.
        load_diag: added to the diagonal of the system, of signals scaled to norm 1, for the sake of targets with silent bands.

    Source: E. Vincent, R. Gribonval and C. Févotte, Performance measurement in blind audio source separation, 2006;
    R. Scheibler, SDR: medium rare with fast computations, 2022.

    >>> t = torch.arange(400.0)
    >>> metric = SignalDistortionRatio(filter_length=2)
    >>> metric((t / 5).sin() + 0.1 * (t * t).cos(), (t / 5).sin())
    tensor(19.9810)
    """

    def __init__(
        self,
        use_cg_iter: int | None = None,
        filter_length: int = 512,
        zero_mean: bool = False,
        load_diag: float | None = None,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        if use_cg_iter is not None:
            check.whole(self, "use_cg_iter", use_cg_iter, 1)
        check.whole(self, "filter_length", filter_length, 1)
        if load_diag is not None:
            check.number(self, "load_diag", load_diag, 0)
        self.use_cg_iter, self.filter_length, self.zero_mean, self.load_diag = use_cg_iter, filter_length, zero_mean, load_diag

    def measured_by(self) -> Hashable:
        return self.filter_length, self.zero_mean, self.load_diag

    def scores(self, preds: Tensor, target: Tensor) -> Tensor:
        preds, target = (x / x.norm(dim=-1, keepdim=True) for x in signals(self, preds, target, self.zero_mean))
        if not preds.numel():
            return preds.new_full(preds.shape[:-1], torch.nan)  # no signal, or none with a sample: nothing to transform
        taps, length = self.filter_length, preds.shape[-1]
        padded = 1 << (length + taps - 1).bit_length()  # a power of two, so long that the correlation does not wrap
        of_preds, of_target = torch.fft.rfft(preds, padded), torch.fft.rfft(target, padded)
        own = torch.fft.irfft(of_target.abs().square(), padded)[..., :taps]
        with_preds = torch.fft.irfft(of_target.conj() * of_preds, padded)[..., :taps]
        if self.load_diag is not None:
            own = torch.cat([own[..., :1] + self.load_diag, own[..., 1:]], -1)
        lag = torch.arange(taps, device=preds.device)
        system = own[..., (lag[:, None] - lag).abs()]
        filters = torch.linalg.solve_ex(system, with_preds.unsqueeze(-1)).result.squeeze(-1)
        explained = (with_preds * filters).sum(-1).clamp(max=1)  # of a power of 1
        return decibels(explained, 1 - explained)


def signal_distortion_ratio(
    preds: Tensor,
    target: Tensor,
    use_cg_iter: int | None = None,
    filter_length: int = 512,
    zero_mean: bool = False,
    load_diag: float | None = None,
) -> Tensor:
    """The scores that :class:`SignalDistortionRatio` averages: of signals ``(..., T)`` a tensor ``(...)``."""
    return each(fixed(SignalDistortionRatio, use_cg_iter, filter_length, zero_mean, load_diag), preds, target)
