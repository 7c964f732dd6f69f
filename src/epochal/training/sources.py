"""Where the loaders of a run come from: the call, the datamodule, or the module; asked when needed, and again to reload."""

from __future__ import annotations

from typing import Any

from epochal import check
from epochal.training import data
from epochal.training.combined import CombinedLoader, members
from epochal.training.hooks import overridden
from epochal.training.module import DataHooks, LightningModule

LOADERS = {"fit": "train_dataloader", "validate": "val_dataloader", "test": "test_dataloader", "predict": "predict_dataloader"}
STEPS = {"fit": "training_step", "validate": "validation_step", "test": "test_step", "predict": "predict_step"}


class Sources:
    """The loaders of one run, by stage."""

    def __init__(self, module: LightningModule, datamodule: Any, given: dict[str, Any]) -> None:
        self.module, self.datamodule, self.given = module, datamodule, given
        self.held: dict[str, Any] = {}  # as the user handed them out

    def owner(self) -> Any:
        """Who moves batches to the device."""
        return self.datamodule or self.module

    def hands_out(self, stage: str) -> bool:
        """Whether anybody has data for a stage, as far as can be known without asking."""
        return self.given.get(stage) is not None or any(self._defines(who, stage) for who in (self.datamodule, self.module))

    def _defines(self, who: Any, stage: str) -> bool:
        base = DataHooks if isinstance(who, DataHooks) else object
        return who is not None and overridden(who, LOADERS[stage], base)

    def ask(self, stage: str) -> Any:
        """The loaders of a stage, as the user hands them out now; None if nobody has any."""
        found = self.given.get(stage)
        if found is None:
            for who in (self.datamodule, self.module):
                found = getattr(who, LOADERS[stage])() if who is not None else None
                if found is not None:
                    break
        self.held[stage] = found
        return found

    def training(self) -> Any:
        """One loader for training; several are combined, the shorter ones begin again until the longest has ended."""
        found = self.ask("fit")
        self.refuse(found, "fit")
        if isinstance(found, CombinedLoader) and found.mode == "sequential":
            fix = 'Choose "max_size_cycle", "max_size" or "min_size", or concatenate the data sets.'
            check.fail("Trainer.fit", "a CombinedLoader of mode 'sequential' came", "training takes batches side by side", fix)
        return CombinedLoader(found, "max_size_cycle") if data.is_several(found) else found

    def evaluation(self, stage: str) -> dict[str, Any] | None:
        """The loaders of a stage by the ending that their keys get."""
        found = self.ask(stage)
        if found is None:
            return None
        self.refuse(found, stage)
        if isinstance(found, CombinedLoader):
            return data.named_loaders(found.iterables) if found.mode == "sequential" else {"": found}
        return data.named_loaders(found)

    def refuse(self, loaders: Any, stage: str) -> None:
        """What hands out no batches is an error, in words for somebody who sees this for the first time."""
        verb = f"Trainer.{stage}"
        if loaders is None:
            check.fail(verb, "no data came", "a loader is needed", f"Pass dataloaders, or define {LOADERS[stage]}.")
        for loader in members(CombinedLoader(loaders) if data.is_several(loaders) else loaders):
            data.check_loader(verb, loader)

    def refuse_gaps(self, stage: str) -> None:
        """What a verb cannot do without: a step, an optimizer, data."""
        verb, name = f"Trainer.{stage}", type(self.module).__name__
        steps = [] if stage == "predict" else [f"{STEPS[stage]}(self, batch, batch_idx)"]
        for signature in [*steps, "configure_optimizers(self)"] if stage == "fit" else steps:
            method = signature.split("(")[0]
            if not overridden(self.module, method, LightningModule):
                check.fail(verb, f"{name} has no {method}", "it is needed", f"Define {signature}.")
        if not self.hands_out(stage):
            self.refuse(None, stage)
