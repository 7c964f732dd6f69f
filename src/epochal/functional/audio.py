"""The functions of :mod:`epochal.audio`."""

from epochal.audio.distortion import signal_distortion_ratio
from epochal.audio.noise import (
    scale_invariant_signal_distortion_ratio,
    scale_invariant_signal_noise_ratio,
    signal_noise_ratio,
)
from epochal.audio.permutation import permutation_invariant_training, pit_permutate
from epochal.paths import answer_to

__all__ = [
    "permutation_invariant_training",
    "pit_permutate",
    "scale_invariant_signal_distortion_ratio",
    "scale_invariant_signal_noise_ratio",
    "signal_distortion_ratio",
    "signal_noise_ratio",
]

answer_to(__name__, "pit sdr snr")
