"""The Trainer: settings and verbs. The loops are in ``fit.py`` and ``evaluate.py``; hardware is Lightning Fabric's work.

Longer than other files: a third is the flags and the arguments of the verbs, which stand literally as users type them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from epochal import check, dist
from epochal.training import data, optimizers, profilers, settings, states, storage
from epochal.training.callbacks import choice
from epochal.training.callbacks.callback import Callback
from epochal.training.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from epochal.training.callbacks.prediction_writer import BasePredictionWriter
from epochal.training.checkpoint import Resumption, callback_states, load_callback_states, load_weights, of_run
from epochal.training.combined import each
from epochal.training.engine import Engine
from epochal.training.evaluate import Evaluation, table
from epochal.training.fit import Fit
from epochal.training.hooks import Listeners, warn_of_gone
from epochal.training.log import take_back
from epochal.training.logbook import Book
from epochal.training.loggers.csv import CSVLogger
from epochal.training.loggers.logger import Logger
from epochal.training.loggers.tensorboard import TensorBoardLogger
from epochal.training.module import LightningModule
from epochal.training.signals import TERMINATED, Signals
from epochal.training.sources import Sources
from epochal.training.states import TrainerFn, TrainerStatus
from epochal.training.steps import Steps

ORDERS_APART = 1_000_003  # between the seeds of loaders side by side; within one an epoch's seed is the next number
CARRIED = ("current_epoch", "global_step", "batches_done", "should_stop")  # back from a process that was started for a run


class Trainer(Engine):
    """Runs a :class:`LightningModule` on any number of devices, and logs what it logs.

    Flags are Lightning's. ``logger``: a logger, several, True or None for a :class:`TensorBoardLogger` in ``default_root_dir``
    (a :class:`CSVLogger` where tensorboard is not installed), False for none. ``devices=2`` on a CPU means two processes.
    """

    def __init__(
        self,
        *,
        accelerator: Any = "auto",
        strategy: Any = "auto",
        devices: Any = "auto",
        num_nodes: int = 1,
        precision: Any = None,
        logger: Any = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: Any = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | Mapping[str, float] | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: bool | str | None = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        profiler: Any = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        plugins: Any = None,
        sync_batchnorm: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: str | os.PathLike[str] | None = None,
        enable_autolog_hparams: bool = True,
        model_registry: Any = None,
        suggest_integrations: bool = True,  # nothing is ever suggested
        flush_logs_every_n_steps: int = 100,
        **unknown: Any,
    ) -> None:
        """Read the flags and start nothing. Long, since the flags that users type stand here once, each with its default."""
        flags = {name: value for name, value in locals().items() if name not in ("self", "unknown")}
        settings.refuse_unknown(unknown, sorted(flags))
        settings.refuse_foreign(flags)
        settings.refuse_out_of_range(flags)
        self.fast_dev_run = int(fast_dev_run)
        self.max_epochs, self.min_epochs, self.max_steps, self.min_steps = max_epochs, min_epochs, max_steps, min_steps
        if max_epochs is None and max_steps == -1 and max_time is None:
            self.max_epochs = 1000
        self.limit_train_batches = 1.0 if limit_train_batches is None else limit_train_batches
        self.limit_val_batches = 1.0 if limit_val_batches is None else limit_val_batches
        self.limit_test_batches = 1.0 if limit_test_batches is None else limit_test_batches
        self.limit_predict_batches = 1.0 if limit_predict_batches is None else limit_predict_batches
        by_time = val_check_interval if settings.is_duration(val_check_interval) else None
        self.validate_after = settings.duration_of("val_check_interval", by_time)
        self.val_check_interval = 1.0 if val_check_interval is None else val_check_interval
        self.check_val_every_n_epoch = check_val_every_n_epoch
        self.num_sanity_val_steps: float = 2 if num_sanity_val_steps is None else num_sanity_val_steps
        self.log_every_n_steps = 50 if log_every_n_steps is None else log_every_n_steps
        self.accumulate_grad_batches = accumulate_grad_batches
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.inference_mode, self.use_distributed_sampler = inference_mode, use_distributed_sampler
        self.overfit_batches, self.reload_dataloaders_every_n_epochs = overfit_batches, reload_dataloaders_every_n_epochs
        if overfit_batches:
            self.limit_train_batches = self.limit_val_batches = overfit_batches
        self.detect_anomaly, self.deterministic, self.benchmark = detect_anomaly, deterministic, benchmark
        self.sync_batchnorm, self.profiler = sync_batchnorm, profilers.chosen(profiler)
        self.default_root_dir = os.fspath(default_root_dir) if default_root_dir is not None else os.getcwd()
        self.enable_autolog_hparams = enable_autolog_hparams
        if self.fast_dev_run:
            self._limit_to(self.fast_dev_run)
        settings.refuse_unknown_hardware(strategy, accelerator, precision)
        self.fabric = Fabric(
            accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=num_nodes, precision=precision, plugins=plugins
        )
        self.flush_logs_every_n_steps = flush_logs_every_n_steps
        self.loggers = self._choose_loggers(logger, flush_logs_every_n_steps)
        self.callbacks = choice.of_flags(flags)
        self.stage = ""
        self.fn: TrainerFn | None = None
        self.status = TrainerStatus.INITIALIZING
        self.current_epoch = self.global_step = self.batches_done = 0
        self.should_stop = self.sanity_checking = self.is_last_batch = False
        self.num_training_batches: float = 0
        self.val_limits: list[float] = []
        self.optimizers: list[Any] = []
        self.raw_optimizers: list[Any] = []
        self.optimizer_frequencies: list[int] = []
        self.step_handles: list[Any] = []
        self.steps: Steps | None = None  # while a fit runs
        self.lr_scheduler_configs: list[optimizers.SchedulerConfig] = []
        self.logbook = Book(torch.nn.Module())
        self.share = data.Share()
        self.listeners: Listeners
        self.sources: Sources | None = None
        self.limits_of: dict[str, list[float]] = {}
        self._training_loader: Any = None
        self._datamodule: Any = None
        self._module: LightningModule | None = None
        self._wrapped: Any = None
        self.signals = Signals()
        self._ends_together = False  # a signal ends all processes
        self.ckpt_path: str | None = None
        self.loop: Fit | None = None
        self.predict_loop: Evaluation | None = None
        self.resumption = Resumption(self, None)

    def _limit_to(self, batches: int) -> None:
        """``fast_dev_run``: one epoch of a few batches, and nothing is written."""
        self.max_epochs, self.max_steps, self.num_sanity_val_steps = 1, batches, 0
        self.limit_train_batches = self.limit_val_batches = self.limit_test_batches = self.limit_predict_batches = batches

    def _choose_loggers(self, logger: Any, flush: int) -> list[Any]:
        if logger is False or self.fast_dev_run:
            return []
        if logger is None or logger is True:
            if importlib.util.find_spec("tensorboard") is not None:
                return [TensorBoardLogger(self.default_root_dir)]
            return [CSVLogger(self.default_root_dir, flush_logs_every_n_steps=flush)]
        return settings.several("logger", logger, "log_metrics")

    # --- verbs -----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train: on ``train_dataloaders``, those of the datamodule, or those of the module.

        ``ckpt_path``: go on from this checkpoint, from the "last" one in the folder of the ModelCheckpoint (from the start where
        there is none), or from the "best" one. ``weights_only=False`` reads files that hold more than numbers and tensors.
        """
        if hasattr(train_dataloaders, "train_dataloader"):
            train_dataloaders, datamodule = None, train_dataloaders
        self._go(self._fit, model, datamodule, "fit", train_dataloaders, val_dataloaders, (ckpt_path, weights_only))

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """One run over the validation data. Returns the epoch's values, a dict for each loader, and prints them."""
        source = self._weights_for(model, ckpt_path), weights_only
        return self._results(self._go(self._evaluate, model, datamodule, "validate", dataloaders, source), verbose)

    def test(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """One run over the test data. Returns the epoch's values, a dict for each loader, and prints them."""
        source = self._weights_for(model, ckpt_path), weights_only
        return self._results(self._go(self._evaluate, model, datamodule, "test", dataloaders, source), verbose)

    def predict(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        return_predictions: bool | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> list[Any] | None:
        """What ``predict_step`` returned for each batch: a list, or a list of lists for several loaders; this rank's share."""
        keep, source = return_predictions is not False, (self._weights_for(model, ckpt_path), weights_only)
        return self._go(self._predict, model, datamodule, "predict", dataloaders, source, keep)  # type: ignore[no-any-return]

    def init_module(self, empty_init: bool | None = None) -> AbstractContextManager[Any]:
        """A block in which a module is built on the device and in the precision of the run; ``empty_init`` leaves weights unset."""
        context: AbstractContextManager[Any] = self.fabric.init_module(empty_init=empty_init)
        return context

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Write the run as it is now: on all ranks together, of which the first writes; the file is whole or absent.

        ``weights_only``: the weights and hyperparameters, without what a run needs to go on.
        """
        if dist.is_alone() and self.world_size > 1 and (self.shards is not None or not weights_only):
            fix = "Call it on all ranks, or pass weights_only=True."
            check.fail("Trainer.save_checkpoint", "it was called on one rank alone", "the ranks merge what they have", fix)
        content = of_run(self, bool(weights_only))
        self.first_writes(lambda: storage.write(content, filepath, storage_options))

    def _weights_for(self, model: Any, ckpt_path: Any) -> Any:
        """Without a model and a path the best weights of the last fit are evaluated, as users of Lightning know it."""
        best = next((c.best_model_path for c in self.checkpoint_callbacks if c.best_model_path), None)
        if model is None and ckpt_path is None and self._module is not None and best:
            self.print(f"The best checkpoint of the last fit is evaluated: {best}")
            return best
        return ckpt_path

    def _path_of(self, ckpt_path: Any) -> str | None:
        """The file that "best", "last" or a path means, on all ranks the same."""
        if ckpt_path is None:
            return None
        found = self._find(ckpt_path) if self.is_global_zero else None
        shared: str | None = self.fabric.broadcast(found) if self.world_size > 1 else found
        return shared

    def _find(self, ckpt_path: Any) -> str | None:
        callbacks = self.checkpoint_callbacks
        if ckpt_path not in ("best", "last"):
            return str(os.fspath(ckpt_path))
        if not callbacks:
            check.fail("Trainer", f"ckpt_path is {ckpt_path!r}", "there is no ModelCheckpoint", "Pass the path of a file.")
        found = [c.best_model_path if ckpt_path == "best" else c.find_last() for c in callbacks]
        path: str | None = next((path for path in found if path), None)
        if path is None and ckpt_path == "best":
            check.fail("Trainer", "ckpt_path is 'best'", "no checkpoint was saved yet", "Call fit first, or pass a path.")
        if path is None:
            self.print("ckpt_path is 'last', and there is no checkpoint yet: nothing is loaded.")
        return path

    def _read(self, source: tuple[Any, bool | None]) -> dict[str, Any] | None:
        """The checkpoint that a verb was given; None if there is none."""
        ckpt_path, weights_only = source
        self.ckpt_path = self._path_of(ckpt_path)
        return None if self.ckpt_path is None else storage.read(self.ckpt_path, "cpu", weights_only)

    def _results(self, results: list[dict[str, float]], verbose: bool) -> list[dict[str, float]]:
        if verbose and self.is_global_zero and any(results):
            self.print(table(results))
        return results

    # --- a run -----------------------------------------------------------------------------------------------------------

    def _go(self, verb: Callable[..., Any], model: LightningModule | None, datamodule: Any, stage: str, *rest: Any) -> Any:
        """Start the processes of the strategy, and run the verb in each."""
        module = model if model is not None else self._module
        if module is None:
            raise TypeError(check.message(f"Trainer.{stage}", "no model came", "a LightningModule is needed", "Pass it as model=."))
        if not isinstance(module, LightningModule):
            compiled = isinstance(getattr(module, "_orig_mod", None), LightningModule)
            fix = "Derive it from epochal.training.LightningModule, and pass an object of it."
            fix = "Call model.compile(), which leaves it a LightningModule, not torch.compile(model)." if compiled else fix
            came = f"model is a {type(module).__name__}"
            raise TypeError(check.message(f"Trainer.{stage}", came, "an epochal LightningModule is needed", fix))
        launcher = self.fabric.strategy.launcher
        if isinstance(launcher, _MultiProcessingLauncher):
            self._open_book(module)
            for logger in self.loggers:
                getattr(logger, "version", None)  # settled here, or each run's processes would begin a version of their own
            started: Callable[..., Any] = _in_process
            with self.signals.passed_on():
                report = self.fabric.launch(started, self, verb.__name__, module, datamodule, stage, *rest)
            return self._back_from(report, module)
        if not isinstance(launcher, _SubprocessScriptLauncher) or not getattr(self, "_launched", False):
            self.fabric.launch()
            self._launched = True
        return verb(module, datamodule, stage, *rest)

    def _back_from(self, report: bytes, module: LightningModule) -> Any:
        """Rank 0's weights, values and progress, out of the process that was started for the run."""
        found = torch.load(io.BytesIO(report), weights_only=False)
        module.load_state_dict(found["weights"])
        self.logbook.parking.take(found["metrics"])
        self.__dict__.update(found["progress"])
        self.logbook.adopt(found["values"])
        load_callback_states(self.callbacks, found["callbacks"])
        self._module = module
        return found["result"]

    def report(self, result: Any) -> bytes:
        """What goes back to the process that started this one."""
        assert self._module is not None
        buffer = io.BytesIO()
        progress = {name: self.__dict__[name] for name in CARRIED}
        weights, metrics = self._module.state_dict(), self.logbook.parking.holdings()
        report = {"weights": weights, "metrics": metrics, "progress": progress, "values": self.logbook.values(), "result": result}
        torch.save({**report, "callbacks": callback_states(self.callbacks)}, buffer)
        return buffer.getvalue()

    def _open_book(self, module: LightningModule) -> None:
        if self.logbook.parking.root is not module:
            self.logbook = Book(module)

    def _agree_on_versions(self) -> None:
        """The loggers of all ranks name the run as rank 0 does, which alone writes."""
        if self.world_size > 1:
            mine = [getattr(logger, "version", None) for logger in self.loggers] if self.is_global_zero else []
            for logger, version in zip(self.loggers, self.fabric.broadcast(mine), strict=True):
                if isinstance(logger, Logger):
                    logger.follow(version)

    def _begin(self, module: LightningModule, datamodule: Any, stage: str) -> None:
        """All that comes before the loops, in the order that users rely on."""
        self.fn, self.status = TrainerFn(stage), TrainerStatus.RUNNING
        self.stage = "train" if stage == "fit" else stage
        self._open_book(module)
        self._module, self._datamodule = module, datamodule
        self.should_stop = False
        book = self.logbook
        book.clear()
        book.close_scopes()
        book.parking.stages.clear()  # of a run that failed
        book.epoch, book.step = self.current_epoch, self.batches_done
        self._agree_on_versions()
        book.open_loggers(self.loggers if self.is_global_zero else [], self.flush_logs_every_n_steps)
        module.attach(self, book)
        self._settle_callbacks(module)
        if self.profiler is not None:
            self.profiler.setup(stage=stage, local_rank=self.local_rank, log_dir=self.log_dir)
        warn_of_gone([module, *self.callbacks])
        for owner in (datamodule, module):
            if owner is not None and self.local_rank == 0:
                owner.prepare_data()
        self.fabric.barrier()
        if datamodule is not None:
            datamodule.trainer = self
            datamodule.setup(stage)
        self.listeners = Listeners(self, module, self.callbacks, LightningModule, Callback, book)
        self.listeners.hook("setup", module=False)(stage)
        module.setup(stage)
        module.configure_sharded_model()
        module.configure_model()
        module.attach(self, book)  # what was built there logs, too
        if self.deterministic is not None:
            if self.deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which cuBLAS refuses
            torch.use_deterministic_algorithms(bool(self.deterministic), warn_only=self.deterministic == "warn")
        if self.benchmark is not None:
            torch.backends.cudnn.benchmark = self.benchmark
        if stage != "fit":
            module.to(self.device)
            self._wrapped = None

    def _settle_callbacks(self, module: LightningModule) -> None:
        self.callbacks = choice.with_those_of(module, self.callbacks)
        for callback in self.callbacks:
            callback.log, callback.log_dict = module.log, module.log_dict

    def _end(self, stage: str) -> None:
        assert self._module is not None
        if self._datamodule is not None:
            self._datamodule.teardown(stage)
        self.listeners.hook("teardown", module=False)(stage)
        self._module.teardown(stage)
        self._report_profile(stage)
        self.logbook.tell("finalize", "success")
        self.stage, self.status = "", TrainerStatus.FINISHED

    def _report_profile(self, stage: str) -> None:
        if self.profiler is not None:
            if self.is_global_zero:
                self.profiler.describe()
            self.profiler.teardown(stage)

    def interrupt(self) -> None:
        """A signal came, and the step is whole: save, where checkpoints are enabled, and end."""
        for callback in self.checkpoint_callbacks[:1]:
            callback.save_interrupted(self)
        self._ends_together = self.fitting and self.world_size > 1
        if self.signals.interrupted:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)

    def _failed(self, error: BaseException) -> None:
        if hasattr(self, "listeners"):
            self.logbook.scope = None
            self.listeners.hook("on_exception", module=False)(error)
            if hasattr(self._datamodule, "on_exception"):
                self._datamodule.on_exception(error)
            self._report_profile(self.fn or "")
        self.logbook.tell("finalize", "failed")
        self.status = TrainerStatus.INTERRUPTED
        if self._ends_together:  # who starts processes may kill those that are left when one has ended
            self.fabric.barrier()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """A run whose errors reach callbacks and loggers. Ctrl-C ends the program, as users of Lightning know it."""
        self._ends_together = False
        try:
            yield
        except KeyboardInterrupt as interrupt:
            self._failed(interrupt)
            self.print(f"Interrupted in epoch {self.current_epoch}.")
            raise SystemExit(1) from interrupt
        except BaseException as error:
            self._failed(error)
            self._explain(error)
            raise
        finally:
            if self._module is not None:
                take_back(self._module)

    def _heeded(self, shared: bool = False) -> AbstractContextManager[None]:
        return self.signals.heeded(shared, among=self.world_size > 1, speaks=self.is_global_zero)

    def _explain(self, error: BaseException) -> None:
        """An error of devices names the part of the batch that is elsewhere, where there is one."""
        if isinstance(error, RuntimeError) and "device" in str(error):
            elsewhere = data.elsewhere(self.logbook.batch, self.device)
            if elsewhere:
                came, needed = ", ".join(elsewhere[:5]), f"the model is on {self.device}"
                fix = "Move it in transfer_batch_to_device, or give the batch's class a method to(device)."
                raise RuntimeError(check.message("Trainer", came, needed, fix)) from error

    def _fit(
        self, module: LightningModule, datamodule: Any, stage: str, train: Any, val: Any, source: tuple[Any, bool | None]
    ) -> None:
        with self._watched(), self._heeded(shared=self.world_size > 1):
            self.loop = None
            sources = self.sources = Sources(module, datamodule, {"fit": train, "validate": val})
            self._begin(module, datamodule, stage)
            sources.refuse_gaps(stage)
            self._training_loader = None
            resumption = self.resumption = Resumption(self, self._read(source))
            seed = self._draw_seed() if resumption.seed is None else resumption.seed
            self.share = data.Share(self.global_rank, self.world_size, seed, bool(self.overfit_batches))
            self._place(module)
            resumption.load()
            self.listeners.hook("on_fit_start")()
            self._log_hyperparameters()
            with torch.autograd.set_detect_anomaly(True) if self.detect_anomaly else nullcontext():
                self.loop = Fit(self, module)
                self.loop.run()
            self.listeners.hook("on_fit_end")()
            self._end(stage)

    def training_loader(self, anew: bool = False) -> Any:
        """The training data with this process's share of each epoch; asked for at the first need, or anew."""
        if self._training_loader is not None and not anew:
            return self._training_loader

        orders = itertools.count(self.share.seed, ORDERS_APART)
        position, before = self.resumption.position, iter(self.resumption.seeds)
        replace = self.use_distributed_sampler or self.share.in_order

        def divided(loader: Any) -> Any:
            share = dataclasses.replace(self.share, seed=next(orders))  # loaders of one length are shuffled each in its way
            if position is None:
                return data.for_training(loader, share, replace)
            share = dataclasses.replace(share, seed=next(before, share.seed))
            return data.for_resumption(loader, share, replace, position.world != share.world)

        assert self.sources is not None
        self._training_loader = each(self.sources.training(), divided)
        total = data.length(self._training_loader)
        self.num_training_batches = data.limited(total, self.limit_train_batches, "limit_train_batches")
        return self._training_loader

    @property
    def estimated_stepping_batches(self) -> float:
        """How many optimizer steps a fit will take; ``configure_optimizers`` may ask. Infinity where nobody knows."""
        if self.max_epochs in (None, -1):
            return math.inf if self.max_steps == -1 else self.max_steps
        if self.sources is None:
            fix = "Ask in configure_optimizers, or in a hook of fit."
            check.fail("Trainer.estimated_stepping_batches", "no fit runs", "its loader's length is needed", fix)
        self.training_loader()
        batches = self.num_training_batches
        schedulers = [callback for callback in self.callbacks if isinstance(callback, GradientAccumulationScheduler)]
        of_epoch = schedulers[0].get_accumulate_grad_batches if schedulers else lambda _: self.accumulate_grad_batches
        steps = batches if math.isinf(batches) else sum(-(-batches // of_epoch(epoch)) for epoch in range(self.max_epochs))
        return steps if self.max_steps == -1 else min(steps, self.max_steps)

    def new_validation(self, module: LightningModule) -> Evaluation | None:
        """The validation of a fit; None if there is nothing to do on any rank."""
        sources = self.sources
        loaders = sources.evaluation("validate") if sources is not None and self.validates(module) else None
        if sources is None or loaders is None:
            return None
        validation = Evaluation(self, module, "validate", loaders, sources.owner())
        self.val_limits = validation.limits(self.limit_val_batches, "limit_val_batches")
        return validation if self.on_any_rank(any(self.val_limits)) else None

    def _evaluate(
        self, module: LightningModule, datamodule: Any, stage: str, loaders: Any, source: tuple[Any, bool | None]
    ) -> list[dict[str, float]]:
        with self._watched(), self._heeded():
            evaluation, limits = self._prepare(module, datamodule, stage, loaders, source)
            results = evaluation.run(limits)
            self._end(stage)
        return results

    def _predict(
        self, module: LightningModule, datamodule: Any, stage: str, loaders: Any, source: tuple[Any, bool | None], keep: bool
    ) -> list[Any] | None:
        with self._watched(), self._heeded():
            evaluation, limits = self._prepare(module, datamodule, stage, loaders, source)
            self.predict_loop = evaluation
            writers = [callback for callback in self.callbacks if isinstance(callback, BasePredictionWriter)]
            if writers:
                evaluation.note_indices()
            evaluation.run(limits, keep or any(writer.on_epoch for writer in writers))
            self._end(stage)
            self.predict_loop = None
        return evaluation.found() if keep else None

    def _prepare(
        self, module: LightningModule, datamodule: Any, stage: str, loaders: Any, source: tuple[Any, bool | None]
    ) -> tuple[Evaluation, list[float]]:
        sources = self.sources = Sources(module, datamodule, {stage: loaders})
        self._begin(module, datamodule, stage)
        content = self._read(source)
        if content is not None:
            load_weights(module, content)
        sources.refuse_gaps(stage)
        named = sources.evaluation(stage)
        if named is None:
            sources.refuse(None, stage)
        self.share = data.Share(self.global_rank, self.world_size)
        self._log_hyperparameters()
        evaluation = Evaluation(self, module, stage, named or {}, sources.owner())
        limit = {"validate": self.limit_val_batches, "test": self.limit_test_batches, "predict": self.limit_predict_batches}[stage]
        limits = evaluation.limits(limit, f"limit_{'val' if stage == 'validate' else stage}_batches")
        self.limits_of[stage] = limits
        if stage == "validate":
            self.val_limits = limits
        return evaluation, limits

    def _draw_seed(self) -> int:
        """The seed of the training order: one draw from torch's generator, rank 0's on all ranks."""
        seed = int(torch.randint(0, 2**31, ()).item())
        return int(self.fabric.broadcast(seed)) if self.world_size > 1 else seed

    def _log_hyperparameters(self) -> None:
        parts = [owner.hparams_to_log for owner in (self._datamodule, self._module) if owner is not None]
        merged = {name: value for part in parts for name, value in part.items()}
        if merged and self.enable_autolog_hparams:
            self.logbook.tell("log_hyperparams", merged)
        self.logbook.writer.now("log_graph", self._module)


def _in_process(fabric: Fabric, trainer: Trainer, verb: str, *rest: Any) -> bytes:  # noqa: ARG001  # Fabric's signature
    """One process of a run; what rank 0 reports goes back."""
    trainer.signals.leave_parent()
    result = getattr(trainer, verb)(*rest)
    return trainer.report(result)


# Lightning's paths
sys.modules[f"{__name__}.trainer"], sys.modules[f"{__name__}.states"] = sys.modules[__name__], states
