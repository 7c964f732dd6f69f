"""What the loops ask for: the module on its device, its optimizers, gradients; the hardware's work is Lightning Fabric's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric.plugins.precision import Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import Tensor

from epochal import check, dist
from epochal.training.facts import Facts
from epochal.training.module import LightningModule
from epochal.training.optimizers import SchedulerConfig, read
from epochal.training.sharded import is_sharded


class Engine(Facts):
    """Places a module, and computes and clips gradients as the strategy and the precision need it."""

    global_step: int
    sync_batchnorm: bool
    optimizers: list[Any]
    raw_optimizers: list[Any]
    optimizer_frequencies: list[int]
    step_handles: list[Any]
    lr_scheduler_configs: list[SchedulerConfig]
    max_steps: int
    min_steps: int | None
    min_epochs: int | None
    current_epoch: int
    batches_done: int
    should_stop: bool

    def _place(self, module: LightningModule) -> None:
        """Put the module on its device, in its wrapper, with its optimizers."""
        if self.sync_batchnorm and self.world_size > 1:
            if self.device.type == "cpu":
                fix = "Leave it out: each process then normalises by its own batch."
                check.fail("Trainer", "sync_batchnorm is True on CPUs", "torch has it for GPUs alone", fix)
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # so it is in torch
        self._wrapped = self.fabric.setup_module(module)
        self.raw_optimizers, self.lr_scheduler_configs, self.optimizer_frequencies = read(module.configure_optimizers())
        self.optimizers = list(self.raw_optimizers)
        if self.optimizers and not self.is_plain:
            wrapped = self.fabric.setup_optimizers(*self.optimizers)
            self.optimizers = list(wrapped) if isinstance(wrapped, tuple | list) else [wrapped]
        for handle in self.step_handles:  # of an earlier run
            handle.remove()
        self.step_handles.clear()

    @property
    def shards(self) -> torch.nn.Module | None:
        """The module in its strategy's wrapper, where that gives each rank a part of the weights; None otherwise."""
        return next(self._wrapped.children()) if self._wrapped is not None and is_sharded(self.fabric.strategy) else None

    @property
    def is_plain(self) -> bool:
        """Whether steps need neither a wrapper nor another precision: the bare module is called, the bare optimizer stepped."""
        return isinstance(self.fabric.strategy, SingleDeviceStrategy) and self._is_full_precision

    @property
    def _is_full_precision(self) -> bool:
        return type(self.fabric.strategy.precision) is Precision

    def training_call(self) -> Callable[..., Any]:
        """``training_step`` as the strategy needs it."""
        module = self._module
        assert module is not None
        if isinstance(self.fabric.strategy, SingleDeviceStrategy):
            return self.precise(module.training_step)
        if module.automatic_optimization and len(self.optimizers) <= 1:
            called: Callable[..., Any] = self._wrapped.training_step
            return called
        if not isinstance(self.fabric.strategy, DDPStrategy):
            came = f"strategy is {type(self.fabric.strategy).__name__}"
            needed = "manual optimization and several optimizers are built for one process or ddp"
            raise NotImplementedError(check.message("Trainer.fit", came, needed, "Pass strategy='ddp'."))
        return self.precise(module.training_step)  # gradients are averaged after each backward, which the wrapper takes no part in

    def evaluation_call(self, step: str) -> Callable[..., Any]:
        """A step of evaluation: of the bare module, but where each process has a part of it alone."""
        called: Callable[..., Any] = self.precise(getattr(self._module, step))
        return called if self.shards is None else getattr(self._wrapped, step)

    def precise(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step in the run's precision, by the bare module."""
        if self._is_full_precision:
            return step
        precision = self.fabric.strategy.precision

        def converted(*args: Any) -> Any:
            args = precision.convert_input(args)
            with precision.forward_context():
                output = step(*args)
            return precision.convert_output(output)

        return converted

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients, as the strategy and the precision need them."""
        if self.is_plain:
            loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]  # so it is in torch
        else:
            self.fabric.backward(loss, *args, model=self._wrapped, **kwargs)

    def average_gradients(self) -> None:
        """After a backward outside of the strategy's wrapper: each gradient is the mean over the ranks."""
        if self.world_size > 1:
            assert self._module is not None
            dist.average_gradients([p for p in self._module.parameters() if p.requires_grad])

    def clip_gradients(self, optimizer: Any, value: float | None = None, algorithm: str | None = None) -> None:
        """Clip by norm or by value; None clips nothing."""
        if value is None:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.is_plain:
            if algorithm == "value":
                torch.nn.utils.clip_grad_value_(parameters, value)
            else:
                torch.nn.utils.clip_grad_norm_(parameters, value)
        elif algorithm == "value":
            self.fabric.clip_gradients(self._wrapped, optimizer, clip_val=value)
        else:
            self.fabric.clip_gradients(self._wrapped, optimizer, max_norm=value, error_if_nonfinite=False)

    def unsynchronised(self, enabled: bool) -> AbstractContextManager[Any]:
        """Accumulating batches need no exchange of gradients."""
        if not enabled or self.world_size == 1:
            return nullcontext()
        context: AbstractContextManager[Any] = self.fabric.no_backward_sync(self._wrapped)
        return context

    def on_any_rank(self, fact: bool) -> bool:
        """Whether something holds on any rank: what decides if all take part must be the same on all."""
        return fact if self.world_size == 1 else dist.any_rank(fact)[0]

    def first_writes(self, write: Callable[[], Any]) -> None:
        """Write files on the first rank while the others wait; where that fails, it fails on all."""
        failure: OSError | None = None
        if self.is_global_zero:
            try:
                write()
            except OSError as error:
                failure = error
        if self.world_size > 1 and not dist.is_alone():
            failure = self.fabric.broadcast(failure)
        if failure is not None:
            raise failure

    def share_stop(self) -> None:
        """A stop that one rank asked for is everybody's, or the others would wait for it; so is a signal."""
        self.share_facts()

    def share_facts(self, *more: bool) -> list[bool]:
        """Among several processes: whether one is to stop, which signals came, and more that holds on any rank."""
        if self.world_size == 1:
            return list(more)
        signals = self.signals
        facts = (self.should_stop, signals.terminated, signals.interrupted, *more)
        self.should_stop, terminated, interrupted, *found = dist.any_rank(*facts)
        signals.share(terminated, interrupted)
        return found

    def should_stop_now(self) -> bool:
        """After a batch: enough steps, or somebody asked to stop and the minimum is reached."""
        if self.max_steps != -1 and self.global_step >= self.max_steps:
            return True
        if not self.should_stop:
            return False
        return self.current_epoch >= (self.min_epochs or 0) and self.global_step >= (self.min_steps or 0)

    @property
    def has_schedulers(self) -> bool:
        return bool(self.lr_scheduler_configs)

    @property
    def row_step(self) -> int:
        """The x of an epoch's row: the last step in a fit, after it the number of all."""
        return max(0, self.batches_done - self.fitting)
