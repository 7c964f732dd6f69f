"""Every metric as a function, flat and by domain: ``epochal.functional.classification.binary_accuracy``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
