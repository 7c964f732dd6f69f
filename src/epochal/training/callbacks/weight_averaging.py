# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""WeightAveraging: a model that is the mean of those that training went through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from epochal.training import storage
from epochal.training.callbacks.callback import Callback


class WeightAveraging(Callback):
    """Keeps an average of the weights, validates with it, and leaves it in the module when training ends.

    The average is ``torch.optim.swa_utils.AveragedModel(module, device, use_buffers=use_buffers, **kwargs)``: the plain mean, or
    what ``avg_fn`` or ``multi_avg_fn`` make of it (``get_ema_multi_avg_fn(0.999)``). Without ``use_buffers`` buffers are those of
    the latest step. Override :meth:`should_update` to choose when: by default after each optimizer step. Checkpoints hold the
    average as ``state_dict``, and the weights that training goes on from as ``current_model_state``; files of weights alone hold
    these.
    """

    def __init__(self, device: torch.device | str | int | None = None, use_buffers: bool = True, **kwargs: Any) -> None:
        self._device, self._use_buffers, self._kwargs = device, use_buffers, kwargs
        self._average: AveragedModel | None = None
        self._seen = 0  # optimizer steps
        self._swapped = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Asked after each optimizer step with its index, and after each epoch with its own, both from 0."""
        return step_idx is not None

    # --- when ------------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            self._average, self._seen, self._swapped = None, trainer.global_step, False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """The module has all its layers, on their device."""
        self._begin(pl_module)

    def _begin(self, pl_module: nn.Module) -> AveragedModel:
        device: Any = self._device
        if self._average is None:
            self._average = AveragedModel(pl_module, device, use_buffers=self._use_buffers, **self._kwargs)
        return self._average

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step > self._seen:  # batches that accumulate are no step
            self._seen = trainer.global_step
            if self.should_update(step_idx=trainer.global_step - 1):
                self._begin(pl_module).update_parameters(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.should_update(epoch_idx=trainer.current_epoch):
            self._begin(pl_module).update_parameters(pl_module)

    # --- who has which -----------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self._swapped:
            self._swap(pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._swapped:
            self._swap(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """From here on the module is the average."""
        with torch.no_grad():
            for own, averaged in self._pairs(pl_module):
                own.copy_(averaged)

    def _swap(self, pl_module: nn.Module) -> None:
        """The module gets the average, and the average the module's weights; or back."""
        with torch.inference_mode(mode=False), torch.no_grad():  # tensors of inference could not be trained
            for own, averaged in self._pairs(pl_module):
                kept = own.clone()
                own.copy_(averaged)
                averaged.copy_(kept)
        self._swapped = not self._swapped

    def _pairs(self, pl_module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters and buffers with their averages; none before the first update."""
        if self._average is not None and self._average.n_averaged:
            yield from zip(_tensors(pl_module).values(), _tensors(self._average.module).values(), strict=True)

    # --- checkpoints -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seen = state_dict["latest_update_step"]

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """The average is what others load."""
        if self._average is None or not self._average.n_averaged:
            return
        mine, other = checkpoint["state_dict"], storage.plain_weights(checkpoint["state_dict"])
        for name, tensor in _tensors(self._average.module, twice=True).items():
            if name in other:
                other[name] = tensor.detach()
        averaged, current = (mine, other) if self._swapped else (other, mine)
        checkpoint.update(
            state_dict=averaged, current_model_state=current, averaging_state={"n_averaged": self._average.n_averaged}
        )

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """The module has loaded the average: it goes on from its own weights."""
        if "current_model_state" not in checkpoint:
            return
        average = self._begin(pl_module)
        average.n_averaged.copy_(checkpoint["averaging_state"]["n_averaged"])
        with torch.no_grad():
            for own, averaged in self._pairs(pl_module):
                averaged.copy_(own)
        pl_module.load_state_dict(checkpoint["current_model_state"], strict=pl_module.strict_loading)


def _tensors(module: nn.Module, twice: bool = False) -> dict[str, Tensor]:
    """Parameters and buffers; ``twice``: under each of their names, where they are shared."""
    parts = (module.named_parameters, module.named_buffers)
    return {name: tensor for part in parts for name, tensor in part(remove_duplicate=not twice)}
