"""Examples of audio metrics."""

from __future__ import annotations

import torch

from epochal.functional import scale_invariant_signal_noise_ratio, signal_noise_ratio
from tests.laws.data import each, row


def mixed(*shape):
    """Targets, and estimates that hold some of them."""

    def one(n, g):
        target = torch.randn(n, *shape, generator=g)
        return target + 0.5 * torch.randn(n, *shape, generator=g), target

    return each(one)


def both(preds, target):
    """A score of all signals of a sample in one order."""
    return signal_noise_ratio(preds, target).mean(-1)


row("SignalNoiseRatio", "signals", mixed(20))
row("SignalNoiseRatio", "zero mean, channels", mixed(2, 20), {"zero_mean": True})
row("ScaleInvariantSignalDistortionRatio", "signals", mixed(20))
row("ScaleInvariantSignalDistortionRatio", "zero mean", mixed(20), {"zero_mean": True})
row("ScaleInvariantSignalNoiseRatio", "signals", mixed(20))
row("SignalDistortionRatio", "signals", mixed(60), {"filter_length": 4})
row("SignalDistortionRatio", "loaded, zero mean", mixed(2, 60), {"filter_length": 4, "load_diag": 1e-3, "zero_mean": True})
row("PermutationInvariantTraining", "speaker-wise", mixed(3, 20), {"metric_func": scale_invariant_signal_noise_ratio})
row(
    "PermutationInvariantTraining",
    "permutation-wise",
    mixed(3, 20),
    {"metric_func": both, "mode": "permutation-wise", "eval_func": "min"},
)
