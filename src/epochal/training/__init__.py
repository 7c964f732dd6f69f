"""Training on Lightning Fabric, under the names of Lightning: ``import epochal.training as pl``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["callbacks", "loggers", "profilers"],
    submod_attrs={
        "callbacks.callback": ["Callback"],
        "combined": ["CombinedLoader"],
        "datamodule": ["LightningDataModule"],
        "loop": ["Logbook"],
        "module": ["LightningModule"],
        "rank_zero": ["rank_zero_only"],
        "seed": ["seed_everything"],
        "trainer": ["Trainer"],
    },
)
