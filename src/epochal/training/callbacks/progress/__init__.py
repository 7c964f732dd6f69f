"""Progress bars, under their names of today and of old."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(__name__, "progress_bar rich_progress tqdm_progress")
