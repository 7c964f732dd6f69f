"""Audio metrics: how much of an estimated signal is the one that was meant."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(__name__, "pit sdr snr")
