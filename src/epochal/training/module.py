# ruff: noqa: ARG002, ARG004  # hooks have the signatures that users of Lightning override
"""LightningModule: a model, its steps, and ``self.log``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from epochal import check
from epochal.training import storage
from epochal.training.exports import Exports
from epochal.training.hyperparameters import HyperParameters
from epochal.training.log import Logging, OfReplica, lend

if TYPE_CHECKING:
    from epochal.training.logbook import Book
    from epochal.training.trainer import Trainer

STATE_OF_RUN = ("_trainer", "_logbook", "_warned")  # of one run, never copied with the module


class DataHooks:
    """The hooks that prepare and hand out data; shared by modules and datamodules."""

    def prepare_data(self) -> None:
        """Download and the like: on one process of each machine."""

    def setup(self, stage: str) -> None:
        """Called on every process at the start of "fit", "validate", "test", "predict"."""

    def teardown(self, stage: str) -> None:
        """The counterpart of :meth:`setup`."""

    def train_dataloader(self) -> Any:
        """The training data."""

    def val_dataloader(self) -> Any:
        """One loader, or a list of them."""

    def test_dataloader(self) -> Any:
        """One loader, or a list of them."""

    def predict_dataloader(self) -> Any:
        """One loader, or a list of them."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; overridden for batches that are not made of tensors."""
        from lightning_fabric.utilities import move_data_to_device

        return move_data_to_device(batch, device)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch on the CPU."""
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch on the device."""
        return batch


class LightningModule(Logging, DataHooks, HyperParameters, Exports):
    """A model with its training, under the names that users of Lightning know.

    Define ``training_step``, ``configure_optimizers``, and what else is needed. Submodules may be set before
    ``super().__init__()``, which may also be left out.
    """

    if TYPE_CHECKING:  # torch.jit reads what stands in the class, and knows none of this
        _trainer: Trainer | None
        __jit_unused_properties__: list[str]
        automatic_optimization: bool
    strict_loading = True  # whether a checkpoint must have all weights, and no others

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        nn.Module.__init__(self)
        self.__dict__.update(_trainer=None, _logbook=None, _warned=False, automatic_optimization=True, example_input_array=None)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is left to do, and nothing is undone: ``__new__`` has prepared the module."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **dict.fromkeys(STATE_OF_RUN)}

    def _replicate_for_data_parallel(self) -> Self:
        """What strategy "dp" makes for each device at each step."""
        replica: Self = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]  # so it is in torch
        replica.__dict__["_logbook"] = OfReplica()
        return replica

    # --- the steps -------------------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One batch: return the loss, a dict with the key ``loss``, or None to skip the batch."""

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """One batch of validation."""

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """One batch of the test."""

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """One batch of prediction; ``forward`` by default."""
        batch = args[0] if args else next(iter(kwargs.values()))
        try:
            return self(batch)
        except (TypeError, AttributeError) as error:
            if not isinstance(batch, list | tuple | dict):
                raise
            raise TypeError(
                check.message(
                    f"{type(self).__name__}.predict_step",
                    f"forward got a {type(batch).__name__} of {len(batch)} and failed: {error}",
                    "by default it gets the batch as it is",
                    "Define predict_step(self, batch, batch_idx) and call self with the part that it takes.",
                )
            ) from error

    def configure_optimizers(self) -> Any:
        """An optimizer; ``[optimizers], [schedulers]``; or a dict with ``optimizer`` and ``lr_scheduler``."""

    def configure_callbacks(self) -> Any:
        """More callbacks for the run; one of a class that the Trainer has replaces it."""
        return []

    def configure_model(self) -> None:
        """Build large layers here, once the strategy is known."""

    def configure_sharded_model(self) -> None:
        """The name of :meth:`configure_model` in Lightning 1.x."""

    # --- the run ---------------------------------------------------------------------------------------------------------

    @property
    def trainer(self) -> Trainer:
        """The Trainer of the current run."""
        if self.__dict__.get("_trainer") is None:
            raise RuntimeError(
                check.message(type(self).__name__, "trainer was asked for", "the module is in no run", "Call trainer.fit(module).")
            )
        found: Trainer = self.__dict__["_trainer"]
        return found

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        self.attach(trainer, trainer.logbook if trainer is not None else None)

    def attach(self, trainer: Trainer | None, logbook: Book | None) -> None:
        """Enter a run: this module, and all modules in it, log there."""
        lend(self, logbook)
        for module in self.modules():
            if isinstance(module, LightningModule):
                module.__dict__["_trainer"] = trainer

    @property
    def fabric(self) -> Any:
        """Lightning Fabric's object, which does the hardware's work."""
        return self.trainer.fabric

    @property
    def device_mesh(self) -> Any:
        """The mesh of devices of a strategy that has one; None otherwise."""
        return getattr(self._trainer.strategy, "device_mesh", None) if self._trainer else None

    @property
    def current_epoch(self) -> int:
        """The training epoch, from 0."""
        return self._trainer.current_epoch if self._trainer else 0

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken."""
        return self._trainer.global_step if self._trainer else 0

    @property
    def global_rank(self) -> int:
        return self._trainer.global_rank if self._trainer else 0

    @property
    def local_rank(self) -> int:
        return self._trainer.local_rank if self._trainer else 0

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        first = next(self.parameters(), None)
        return first.device if first is not None else torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        first = next(self.parameters(), None)
        return first.dtype if first is not None else torch.get_default_dtype()

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def logger(self) -> Any:
        return self._trainer.logger if self._trainer else None

    @property
    def loggers(self) -> list[Any]:
        return self._trainer.loggers if self._trainer else []

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:  # Lightning's name; both are the same here
        """The optimizer, or the list of them."""
        found = self.trainer.optimizers
        return found[0] if len(found) == 1 else found

    def lr_schedulers(self) -> Any:
        """The scheduler, or the list of them, or None."""
        found = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        return found[0] if len(found) == 1 else found or None

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank 0, above the progress bar."""
        self.trainer.print(*args, **kwargs)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """Tensors of all ranks, stacked."""
        return self.fabric.all_gather(data, group=group, sync_grads=sync_grads)

    def freeze(self) -> Self:
        """No gradients, and evaluation mode."""
        return self.requires_grad_(False).eval()

    def unfreeze(self) -> Self:
        """Gradients for all, and training mode."""
        return self.requires_grad_(True).train()

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """A module with the hyperparameters and the weights of a checkpoint, of this trainer or of Lightning's.

        ``kwargs`` count more than the hyperparameters that were saved, and give those that were not. ``map_location``: the CPU by
        default. ``hparams_file``: a YAML file instead of what was saved. ``strict``: ``strict_loading`` of the module by default.
        ``weights_only=False`` reads files that hold more than numbers and tensors: only if you trust them.
        """
        from epochal.training.checkpoint import load_weights

        content = storage.read(checkpoint_path, map_location or "cpu", weights_only)
        module = cls.built_from(content, hparams_file, kwargs)
        module.configure_model()
        load_weights(module, content, strict)
        return module

    # --- optimization ----------------------------------------------------------------------------------------------------

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """``loss.backward()`` as the strategy and the precision need it; over several processes gradients are averaged."""
        steps = self.trainer.steps
        (steps.manual_backward if steps is not None else self.trainer.backward)(loss, *args, **kwargs)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """How the loop computes gradients."""
        self.trainer.backward(loss, *args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """How the loop steps an optimizer; the closure runs ``training_step`` and ``backward``."""
        optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """How the loop clears gradients."""
        optimizer.zero_grad()

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """How the loop steps a scheduler."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """How the loop clips gradients."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def clip_gradients(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradients of an optimizer's parameters, by "norm" or by "value"."""
        self.trainer.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def toggle_optimizer(self, optimizer: Any, optimizer_idx: int | None = None) -> None:  # the index is of Lightning 1.x
        """Gradients for this optimizer's parameters alone."""
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        others = [
            p for other in self.trainer.optimizers for group in other.param_groups for p in group["params"] if id(p) not in mine
        ]
        self.__dict__["_toggled"] = [(p, p.requires_grad) for p in others]
        for parameter in others:
            parameter.requires_grad = False

    def untoggle_optimizer(self, optimizer: Any) -> None:  # Lightning's signature; in 1.x the index
        """Gradients as they were before :meth:`toggle_optimizer`."""
        for parameter, required in self.__dict__.pop("_toggled", []):
            parameter.requires_grad = required

    @contextmanager
    def toggled_optimizer(self, optimizer: Any) -> Iterator[None]:
        """:meth:`toggle_optimizer` for a block."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

    # --- hooks: they do nothing until somebody overrides them ------------------------------------------------------------

    def on_fit_start(self) -> None: ...
    def on_fit_end(self) -> None: ...
    def on_train_start(self) -> None: ...
    def on_train_end(self) -> None: ...
    def on_train_epoch_start(self) -> None: ...
    def on_train_epoch_end(self) -> None: ...
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any: ...
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None: ...
    def on_validation_start(self) -> None: ...
    def on_validation_end(self) -> None: ...
    def on_validation_epoch_start(self) -> None: ...
    def on_validation_epoch_end(self) -> None: ...
    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_test_start(self) -> None: ...
    def on_test_end(self) -> None: ...
    def on_test_epoch_start(self) -> None: ...
    def on_test_epoch_end(self) -> None: ...
    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_predict_start(self) -> None: ...
    def on_predict_end(self) -> None: ...
    def on_predict_epoch_start(self) -> None: ...
    def on_predict_epoch_end(self) -> None: ...
    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...
    def on_before_zero_grad(self, optimizer: Any) -> None: ...
    def on_before_backward(self, loss: Tensor) -> None: ...
    def on_after_backward(self) -> None: ...
    def on_before_optimizer_step(self, optimizer: Any) -> None: ...
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None: ...
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None: ...

    def on_validation_model_eval(self) -> None:
        """Into evaluation mode."""
        self.eval()

    def on_test_model_eval(self) -> None:
        """Into evaluation mode."""
        self.eval()

    def on_predict_model_eval(self) -> None:
        """Into evaluation mode."""
        self.eval()

    def on_validation_model_train(self) -> None:
        """What comes after instead of the modes from before the validation, which come back by themselves."""

    def on_test_model_train(self) -> None:
        """What comes after instead of the modes from before the test, which come back by themselves."""

    def on_validation_model_zero_grad(self) -> None: ...


# what torch.jit leaves alone: of a run, not of the model
LightningModule.__jit_unused_properties__ = [
    name for base in LightningModule.__mro__ for name, member in vars(base).items() if isinstance(member, property)
]
