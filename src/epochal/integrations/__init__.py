"""Epochal inside of other libraries, none of which is imported from here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lightning": ["LoggingMixin"],
        "torchmetrics": ["recognised_as"],
    },
)
