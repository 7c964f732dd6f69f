"""Text metrics."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(__name__, "cer edit mer sacre_bleu wer wil wip")
