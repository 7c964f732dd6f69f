"""Ratios of signals against fast-bss-eval and mir-eval; of real speech where Debian's pocketsphinx-testdata is installed."""

from __future__ import annotations

import functools
import itertools
import warnings
import wave
from pathlib import Path

import fast_bss_eval.torch as fast
import numpy as np
import pytest
import torch

from epochal import audio as ea
from epochal import functional as ef
from tests.reference.test_classification import computed
from tests.reference.test_regression import cut

SPEECH = Path("/usr/share/pocketsphinx/test/data/librivox")
G = torch.Generator().manual_seed(0)


def drawn(samples=60, length=800):
    """Coloured signals, and estimates with an echo and noise."""
    white = torch.randn(samples, length, generator=G, dtype=torch.float64)
    target = white.cumsum(1) - 0.9 * torch.nn.functional.pad(white, (1, 0))[:, :-1].cumsum(1)
    preds = 0.7 * target + 0.2 * target.roll(3, 1) + 0.3 * torch.randn(samples, length, generator=G, dtype=torch.float64) + 0.1
    return preds, target


PREDS, TARGET = drawn()
EXTENT = {"filter_length": 32}


def si_sdr(zero_mean):
    return lambda p, t: -fast.si_sdr_loss(torch.from_numpy(p)[None], torch.from_numpy(t)[None], zero_mean=zero_mean).item()


def snr(zero_mean):
    def oracle(p, t):
        p, t = (p - p.mean(), t - t.mean()) if zero_mean else (p, t)
        return 10 * np.log10((t**2).sum() / ((t - p) ** 2).sum())

    return oracle


def sdr(**arguments):
    return lambda p, t: -fast.sdr_loss(torch.from_numpy(p)[None], torch.from_numpy(t)[None], **arguments).item()


TABLE = {
    "snr": (ea.SignalNoiseRatio, ef.signal_noise_ratio, {}, snr(False)),
    "snr, zero mean": (ea.SignalNoiseRatio, ef.signal_noise_ratio, {"zero_mean": True}, snr(True)),
    "si-sdr": (ea.ScaleInvariantSignalDistortionRatio, ef.scale_invariant_signal_distortion_ratio, {}, si_sdr(False)),
    "si-sdr, zero mean": (
        ea.ScaleInvariantSignalDistortionRatio,
        ef.scale_invariant_signal_distortion_ratio,
        {"zero_mean": True},
        si_sdr(True),
    ),
    "si-snr": (ea.ScaleInvariantSignalNoiseRatio, ef.scale_invariant_signal_noise_ratio, {}, si_sdr(True)),
    "sdr": (ea.SignalDistortionRatio, ef.signal_distortion_ratio, EXTENT, sdr(**EXTENT)),
    "sdr, zero mean": (
        ea.SignalDistortionRatio,
        ef.signal_distortion_ratio,
        {**EXTENT, "zero_mean": True},
        sdr(**EXTENT, zero_mean=True),
    ),
    "sdr, loaded": (
        ea.SignalDistortionRatio,
        ef.signal_distortion_ratio,
        {**EXTENT, "load_diag": 0.01},
        sdr(**EXTENT, load_diag=0.01),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("name", TABLE)
def test_equals_the_oracle(name, dtype):
    cls, function, arguments, oracle = TABLE[name]
    preds, target = PREDS.to(dtype), TARGET.to(dtype)
    expected = np.array([oracle(p, t) for p, t in zip(preds.double().numpy(), target.double().numpy(), strict=True)])
    found = function(preds, target, **arguments)
    double = dtype == torch.float64
    assert found.dtype == (torch.float64 if double else torch.float32)
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-6 if double else 1e-4)
    channels = function(preds.reshape(6, 10, -1), target.reshape(6, 10, -1), **arguments)
    assert torch.allclose(channels.flatten(), found)
    mean = computed(cls(**arguments), cut(preds, target))
    assert mean.item() == pytest.approx(expected.mean(), abs=1e-6 if double else 1e-4)


def test_sdr_is_that_of_bss_eval():
    """Of one source; mir-eval solves the same projection with 512 taps by its own code."""
    from mir_eval.separation import bss_eval_sources

    preds, target = drawn(2, 4000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [bss_eval_sources(t[None], p[None])[0][0] for p, t in zip(preds.numpy(), target.numpy(), strict=True)]
    assert ef.signal_distortion_ratio(preds, target).tolist() == pytest.approx(expected, abs=1e-6)


def speech():
    recordings = []
    for path in sorted(SPEECH.glob("*.wav"))[:3]:
        with wave.open(str(path)) as file:
            recordings.append(np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 2**15)
    length = min(map(len, recordings))
    return torch.stack([torch.from_numpy(x[:length].copy()) for x in recordings])


@pytest.mark.skipif(not SPEECH.exists(), reason="Debian's pocketsphinx-testdata is not installed")
def test_speech():
    """Two speakers mixed with noise, in one order and in the other."""
    target = speech()[:2]
    noise = 0.01 * torch.randn(target.shape, generator=G)
    preds = target + 0.1 * target.flip(0) + noise
    expected = [sdr()(p, t) for p, t in zip(preds.double().numpy(), target.double().numpy(), strict=True)]
    assert ef.signal_distortion_ratio(preds, target).tolist() == pytest.approx(expected, abs=1e-3)
    score = ef.scale_invariant_signal_noise_ratio
    best, order = ef.permutation_invariant_training(preds.flip(0)[None], target[None], score)
    assert order.tolist() == [[1, 0]]
    assert best.item() == pytest.approx(score(preds, target).mean().item(), abs=1e-5)


# --- the best order ------------------------------------------------------------------------------------------------------------


def together(preds, target):
    return ef.signal_noise_ratio(preds, target).mean(-1)


@pytest.mark.parametrize("speakers", [1, 2, 3, 5])
@pytest.mark.parametrize("eval_func", ["max", "min"])
def test_the_best_of_all_orders(eval_func, speakers):
    preds, target = (torch.randn(7, speakers, 30, generator=G) for _ in range(2))
    orders = list(itertools.permutations(range(speakers)))
    scores = torch.stack([together(preds[:, list(order)], target) for order in orders], 1)
    best = scores.max(1) if eval_func == "max" else scores.min(1)
    for mode, score in (("speaker-wise", ef.signal_noise_ratio), ("permutation-wise", together)):
        if mode == "permutation-wise" and speakers == 5:
            continue  # 120 orders, to no other end
        found, order = ef.permutation_invariant_training(preds, target, score, mode, eval_func)
        assert torch.allclose(found, best.values, atol=1e-5)
        assert order.tolist() == [list(orders[i]) for i in best.indices]
        assert torch.allclose(together(ef.pit_permutate(preds, order), target), best.values, atol=1e-5)
        metric = ea.PermutationInvariantTraining(score, mode, eval_func)
        assert computed(metric, cut(preds, target)).item() == pytest.approx(best.values.mean().item(), abs=1e-5)


def test_arguments_go_to_the_score():
    metric = ea.PermutationInvariantTraining(ef.signal_noise_ratio, zero_mean=True, sync_on_compute=False)
    assert not metric.sync_on_compute
    found = metric(PREDS.reshape(30, 2, -1), TARGET.reshape(30, 2, -1))
    expected, _ = ef.permutation_invariant_training(
        PREDS.reshape(30, 2, -1), TARGET.reshape(30, 2, -1), ef.signal_noise_ratio, zero_mean=True
    )
    assert found.item() == pytest.approx(expected.mean().item(), rel=1e-9)


def test_as_a_loss():
    """Gradients reach the estimates through the best order alone."""
    preds, target = (torch.randn(2, 3, 20, generator=G, dtype=torch.float64) for _ in range(2))
    preds.requires_grad_()
    for function in (ef.signal_noise_ratio, ef.scale_invariant_signal_noise_ratio):
        assert torch.autograd.gradcheck(lambda p, f=function: f(p, target), (preds,))
        assert torch.autograd.gradcheck(lambda p, f=function: ef.permutation_invariant_training(p, target, f)[0], (preds,))
    assert torch.autograd.gradcheck(lambda p: ef.signal_distortion_ratio(p, target, filter_length=3), (preds,))


def test_a_score_that_averages_over_samples():
    with pytest.raises(ValueError, match=r"PermutationInvariantTraining: metric_func returned \(\), but a score of each of 2"):
        ef.permutation_invariant_training(
            PREDS[:4].reshape(2, 2, -1), TARGET[:4].reshape(2, 2, -1), lambda p, t: (p - t).square().mean()
        )
    with pytest.raises(ValueError, match=r"preds has shape \(2, 2, 800\), but target has shape \(2, 1, 800\)"):
        ef.permutation_invariant_training(PREDS[:4].reshape(2, 2, -1), TARGET[:2].reshape(2, 1, -1), ef.signal_noise_ratio)


# --- edges -------------------------------------------------------------------------------------------------------------------


def test_perfect_and_silent_signals():
    signal, silence = TARGET[:1], torch.zeros(1, 800, dtype=torch.float64)
    for function in (ef.signal_noise_ratio, ef.scale_invariant_signal_distortion_ratio):
        assert function(signal, signal) == torch.inf
    assert ef.signal_noise_ratio(signal, silence) == -torch.inf
    for function in (ef.scale_invariant_signal_distortion_ratio, ef.scale_invariant_signal_noise_ratio):
        assert function(signal, silence).isnan()
    assert ef.signal_distortion_ratio(signal, silence, filter_length=4).isnan()
    assert ef.signal_distortion_ratio(signal, signal, filter_length=4) > 120


@pytest.mark.parametrize("speakers", [3, 5])
def test_the_best_order_of_perfect_and_silent_signals(speakers):
    """However many, infinite scores are scores, and NaN gives NaN."""
    target = torch.randn(1, speakers, 30, generator=torch.Generator().manual_seed(1))
    train = functools.partial(ef.permutation_invariant_training, metric_func=ef.signal_noise_ratio)
    found, order = train(target.flip(1), target)
    assert found == torch.inf
    if speakers == 5:  # of few all orders with one perfect signal are alike
        assert order.tolist() == [[4, 3, 2, 1, 0]]
    silent = target.clone()
    silent[:, 1] = 0
    assert train(target, silent)[0].isnan()  # one is as bad as can be, others are perfect
    assert train(target + 1, silent)[0] == -torch.inf
    assert train(target + 1, silent * torch.nan)[0].isnan()


def test_loud_and_quiet_signals_have_the_same_ratio():
    """A constant added to the powers, as others do, would not leave it."""
    for function in (ef.signal_noise_ratio, ef.scale_invariant_signal_distortion_ratio):
        quiet = function(1e-9 * PREDS, 1e-9 * TARGET)
        assert torch.allclose(quiet, function(PREDS, TARGET), rtol=1e-9)
