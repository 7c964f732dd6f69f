# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""ModelCheckpoint: when a checkpoint is written, under which name, and which are kept.

Long, since the names, the triggers and the ranking of one callback stand here together, as users of Lightning know them.
"""

from __future__ import annotations

import math
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from epochal import check
from epochal.training import storage
from epochal.training.callbacks.callback import Callback

FIELD = re.compile(r"\{([^{}:]*)((?::[^{}]*)?)\}")


class ModelCheckpoint(Callback):
    """Writes checkpoints, the best ``save_top_k`` by ``monitor``, or the latest.

    ``dirpath``: the folder, or a fsspec address; by default ``checkpoints`` in the folder of the first logger's run.
    ``filename``: a template, ``"{epoch}-{val_loss:.2f}"`` gives ``epoch=3-val_loss=0.12.ckpt``, without the names if not
    ``auto_insert_metric_name``; a "/" in a key makes a folder. ``monitor``: a logged key; None keeps the latest
    (``save_top_k=1``) or all (``-1``). A value that was logged before the latest step never decides: a save that is due then waits
    until the key is logged again. ``save_last``: ``last.ckpt`` is written whenever a save is due, as a file (True) or a link to the
    newest ("link"). When: every
    ``every_n_epochs`` (1), ``every_n_train_steps`` or ``train_time_interval``; epochs at the end of training's
    (``save_on_train_epoch_end``, by default if validation runs once an epoch) or of validation. ``save_on_exception``: also when a
    run fails. ``enable_version_counter``: a name that exists gets ``-v1``, ``-v2``. All ranks decide alike; the first writes.
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1

    monitors = True

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | str | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        self.monitor, self.verbose, self.save_last, self.save_top_k = monitor, verbose, save_last, save_top_k
        self.save_on_exception, self.save_weights_only, self.mode = save_on_exception, save_weights_only, mode
        self.auto_insert_metric_name, self.enable_version_counter = auto_insert_metric_name, enable_version_counter
        triggers = {"every_n_train_steps": every_n_train_steps, "every_n_epochs": every_n_epochs}
        self._check(triggers, train_time_interval)
        epochs = 1 if every_n_epochs is None and not every_n_train_steps and train_time_interval is None else every_n_epochs
        self._every_n_epochs, self._every_n_train_steps = epochs or 0, every_n_train_steps or 0
        self._train_time_interval = train_time_interval
        self._save_on_train_epoch_end = save_on_train_epoch_end
        self.filename = filename
        self.dirpath = self._given = None if dirpath is None else _absolute(os.fspath(dirpath))
        self.current_score: Tensor | None = None
        self.best_k_models: dict[str, Tensor] = {}
        self.kth_best_model_path = self.best_model_path = self.last_model_path = ""
        self.best_model_score: Tensor | None = None
        self.kth_value = torch.tensor(math.inf if mode == "min" else -math.inf)
        self._saved_at = self._last_at = 0  # steps
        self._put_off = False
        self._superseded: list[str] = []  # files that go when the new ones are there
        self._clock: float | None = None

    def _check(self, counts: Mapping[str, int | None], interval: timedelta | None) -> None:
        check.whole(self, "save_top_k", self.save_top_k, -1)
        check.choice(self, "mode", self.mode, ("min", "max"))
        if self.save_last not in (None, True, False, "link"):
            check.fail(self, f"save_last is {self.save_last!r}", "True, False or 'link' is needed")
        if self.monitor is None and self.save_top_k not in (-1, 0, 1):
            fix = "Pass monitor='val_loss', or save_top_k=-1 to keep all."
            check.fail(self, f"save_top_k is {self.save_top_k} without a monitor", "a key is needed to rank by", fix)
        for name, count in counts.items():
            if count is not None:
                check.whole(self, name, count, 0)
        given = [name for name, count in counts.items() if count] + ["train_time_interval"] * (interval is not None)
        if len(given) > 1:
            check.fail(self, f"{' and '.join(given)} came together", "one of them says when", "Use one callback for each.")

    # --- what is kept ----------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """Several of them have their own states, by what they monitor and when they save."""
        about = {
            "monitor": self.monitor,
            "mode": self.mode,
            "every_n_train_steps": self._every_n_train_steps,
            "every_n_epochs": self._every_n_epochs,
            "train_time_interval": self._train_time_interval,
        }
        return f"{type(self).__qualname__}{about!r}"

    @property
    def every_n_epochs(self) -> int | None:
        return self._every_n_epochs

    def state_dict(self) -> dict[str, Any]:
        """Which files there are, and their scores."""
        return {
            "monitor": self.monitor,
            "best_model_score": self.best_model_score,
            "best_model_path": self.best_model_path,
            "current_score": self.current_score,
            "dirpath": self.dirpath,
            "best_k_models": dict(self.best_k_models),
            "kth_best_model_path": self.kth_best_model_path,
            "kth_value": self.kth_value,
            "last_model_path": self.last_model_path,
            "saved_at": (self._saved_at, self._last_at, self._put_off),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """With another folder only the best path and score are taken over."""
        self.best_model_path, self.best_model_score = state_dict["best_model_path"], state_dict["best_model_score"]
        if state_dict["dirpath"] != self.dirpath and self.dirpath is not None:
            return
        self.dirpath = state_dict["dirpath"]
        self.best_k_models = {path: score for path, score in state_dict["best_k_models"].items() if storage.exists(path)}
        self.last_model_path, self.current_score = state_dict["last_model_path"], state_dict["current_score"]
        self._rank()
        self._saved_at, self._last_at, self._put_off = state_dict.get("saved_at", (0, 0, False))

    def to_yaml(self, filepath: str | os.PathLike[str] | None = None) -> None:
        """The kept files and their scores, one a line."""
        target = os.fspath(filepath) if filepath is not None else storage.join(self.dirpath or "", "best_k_models.yaml")
        storage.write_text(storage.as_table({path: score.item() for path, score in self.best_k_models.items()}), target)

    # --- when ------------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find the folder, the same on all ranks."""
        if stage != "fit":
            return
        folder = self._given or storage.join(_folder_of_run(trainer), "checkpoints")
        self.dirpath = _absolute(trainer.fabric.broadcast(folder) if trainer.world_size > 1 else folder)
        if self.save_last == "link" and not storage.is_local(self.dirpath):
            check.fail(self, f"save_last is 'link' and dirpath is {self.dirpath!r}", "links are local", "Pass save_last=True.")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._clock = time.monotonic()

    def _at_epoch_end(self, trainer: Any) -> bool:
        given = self._save_on_train_epoch_end
        return bool(trainer.validates_once_an_epoch if given is None else given)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._every_n_train_steps and self._train_time_interval is None:
            return
        if trainer.loop.accumulates():
            return  # the step is not whole: the next batches come soon
        by_step = self._every_n_train_steps and trainer.global_step % self._every_n_train_steps == 0
        if by_step or (self._train_time_interval is not None and self._time_is_up(trainer)):
            self._due(trainer)

    def _time_is_up(self, trainer: Any) -> bool:
        assert self._train_time_interval is not None
        assert self._clock is not None
        up = time.monotonic() - self._clock >= self._train_time_interval.total_seconds()
        if not trainer.on_any_rank(up):
            return False
        self._clock = time.monotonic()
        return True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        by_epoch = self._every_n_epochs and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        if self._put_off or (by_epoch and not self._at_epoch_end(trainer)):
            self._due(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        by_epoch = self._every_n_epochs and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        if self._put_off or (by_epoch and self._at_epoch_end(trainer)):
            self._due(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """With ``save_on_exception``: what there is, on one process; the batch that failed is trained again by who goes on."""
        if self.save_on_exception and trainer.loop is not None and trainer.world_size == 1 and not trainer.signals.came:
            with self._or_warned(trainer):
                self._save(trainer, self.format_checkpoint_name(self._values(trainer)))

    def save_interrupted(self, trainer: Any) -> None:
        """A signal ends the run: it can go on from the "last" checkpoint."""
        if self._allowed(trainer) and (self._last_at != trainer.global_step or trainer.loop.position.within):
            with self._or_warned(trainer):
                self._save_last(trainer, self._values(trainer), "")

    def _allowed(self, trainer: Any) -> bool:
        return bool(trainer.fitting and not trainer.fast_dev_run and not trainer.sanity_checking)

    def _due(self, trainer: Any) -> None:
        """A trigger: rank, save, clear away. Never twice at one step."""
        if not self._allowed(trainer):
            return
        with self._or_warned(trainer):
            values, saved = self._values(trainer), ""
            if self._saved_at != trainer.global_step and self.save_top_k != 0:
                if self.monitor is None:
                    saved = self._save_latest(trainer, values)
                elif self._decides(trainer, values):
                    saved = self._save_ranked(trainer, values)
            if self.save_last and (saved or self._last_at != trainer.global_step):
                self._save_last(trainer, values, saved)
            self._clear_away(trainer)

    @contextmanager
    def _or_warned(self, trainer: Any) -> Iterator[None]:
        """A remote address that does not answer costs a checkpoint, not the run: those before it stay, the next may succeed."""
        before = dict(self.__dict__, best_k_models=dict(self.best_k_models), _superseded=list(self._superseded))
        try:
            yield
        except storage.Unreachable as failure:
            self.__dict__.update(before)
            if trainer.is_global_zero:
                needed = "the run goes on without this checkpoint; the next one is tried when it is due"
                warnings.warn(check.message(self, failure.came, needed, failure.fix), RuntimeWarning, stacklevel=3)

    def _values(self, trainer: Any) -> dict[str, Any]:
        """What names may hold, and the score: those of the first rank on all."""
        values = {key: value for key, value in trainer.callback_metrics.items() if isinstance(value, Tensor) and value.numel() == 1}
        values.setdefault("epoch", torch.tensor(trainer.current_epoch))
        values.setdefault("step", torch.tensor(trainer.global_step))
        if self.monitor is not None:
            values[""] = trainer.logbook.is_current(self.monitor)
        shared: dict[str, Any] = trainer.fabric.broadcast(values) if trainer.world_size > 1 else values
        return shared

    def _decides(self, trainer: Any, values: dict[str, Any]) -> bool:
        """Whether the monitored value is of these weights; else the save is put off until it is logged again."""
        if self.monitor in values and values[""]:
            self._put_off = False
            return True
        if self.monitor not in values and not trainer.awaits_validation:
            came = f"it monitors {self.monitor!r}"
            known = sorted(key for key in values if key not in ("", "epoch", "step"))
            check.fail(self, came, f"logged so far are {known}", "Log it, or rename it.")
        self._put_off = True
        return False

    # --- saving ----------------------------------------------------------------------------------------------------------

    def _save(self, trainer: Any, path: str) -> None:
        writer = trainer.logbook.writer
        writer.now("flush")  # a run that goes on from the file does not send again what came before it
        trainer.save_checkpoint(path, self.save_weights_only)
        writer.now("after_save_checkpoint", self)

    def _save_latest(self, trainer: Any, values: Mapping[str, Any]) -> str:
        before = self.best_model_path
        path = self._new_path(trainer, values, before)
        if self.save_top_k == 1 and before and before != path:
            self._superseded.append(before)
        self.best_model_path, self._saved_at = path, trainer.global_step
        self._save(trainer, path)
        return path

    def check_monitor_top_k(self, trainer: Any, current: Tensor | None = None) -> bool:
        """Whether a score is among the best so far. Ties do not replace, and NaN is the worst."""
        if current is None or self.save_top_k == 0:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        return self._key(current) < self._key(self.best_k_models[self.kth_best_model_path])

    def _key(self, score: Tensor) -> float:
        """For sorting: the lower the better."""
        value = float(score)
        return math.inf if math.isnan(value) else value if self.mode == "min" else -value

    def _save_ranked(self, trainer: Any, values: Mapping[str, Any]) -> str:
        assert self.monitor is not None
        score = torch.as_tensor(values[self.monitor]).detach().cpu().clone()
        self.current_score = score
        if not self.check_monitor_top_k(trainer, score):
            self._tell(trainer, f"{self.monitor!r} was not among the best {self.save_top_k}")
            return ""
        full = self.save_top_k != -1 and len(self.best_k_models) >= self.save_top_k
        leaving = self.kth_best_model_path if full else ""
        path = self._new_path(trainer, values, leaving)
        if leaving:
            self.best_k_models.pop(leaving)
            if leaving != path:
                self._superseded.append(leaving)
        self.best_k_models[path] = score if not torch.isnan(score) else torch.tensor(math.inf if self.mode == "min" else -math.inf)
        self._rank()
        self._saved_at = trainer.global_step
        self._save(trainer, path)
        self._tell(trainer, f"{self.monitor!r} reached {score.item():.5f} (best {float(self.best_model_score or 0):.5f}): {path}")
        return path

    def _rank(self) -> None:
        """The best and the worst of those that are kept."""
        if not self.best_k_models:
            return
        order = sorted(self.best_k_models, key=lambda path: self._key(self.best_k_models[path]))  # stable: the older first
        self.best_model_path, self.best_model_score = order[0], self.best_k_models[order[0]]
        self.kth_best_model_path, self.kth_value = order[-1], self.best_k_models[order[-1]]

    def _save_last(self, trainer: Any, values: Mapping[str, Any], saved: str) -> None:
        """``last.ckpt``: a link to, or a copy of, what was saved right now, or a file of its own."""
        before = self.last_model_path
        path = self._free(trainer, lambda version: self._named_last(values, version), before)
        self.last_model_path, self._last_at = path, trainer.global_step
        if before and before != path:
            self._superseded.append(before)
        if not saved:
            self._save(trainer, path)
        else:
            trainer.first_writes(lambda: (storage.link if self.save_last == "link" else storage.copy)(saved, path))

    def _named_last(self, values: Mapping[str, Any], version: int | None) -> str:
        return self.format_checkpoint_name(values, self.CHECKPOINT_NAME_LAST, version)

    def _clear_away(self, trainer: Any) -> None:
        leaving, self._superseded = self._superseded, []
        for path in leaving:
            resumed = trainer.ckpt_path is not None and _absolute(trainer.ckpt_path) == path
            inside = self.dirpath is not None and path.startswith(self.dirpath.rstrip("/") + "/")
            if trainer.is_global_zero and inside and not resumed and path != self.last_model_path:
                with suppress(storage.Unreachable):  # it is too much, not too little
                    storage.remove(path)

    def _tell(self, trainer: Any, text: str) -> None:
        if self.verbose:
            trainer.print(f"Epoch {trainer.current_epoch}, step {trainer.global_step}: {text}")

    def find_last(self) -> str | None:
        """The newest "last" checkpoint of this run or in the folder."""
        if self.last_model_path and storage.exists(self.last_model_path):
            return self.last_model_path
        beginning = FIELD.split(self.CHECKPOINT_NAME_LAST)[0]
        return None if self.dirpath is None else storage.newest(self.dirpath, beginning, self.FILE_EXTENSION)

    # --- names -----------------------------------------------------------------------------------------------------------

    def format_checkpoint_name(
        self, metrics: Mapping[str, Any], filename: str | None = None, ver: int | None = None, prefix: str | None = None
    ) -> str:
        """The path that a template gives; a key that was not logged is 0."""
        join, equals = self.CHECKPOINT_JOIN_CHAR, self.CHECKPOINT_EQUALS_CHAR
        template = filename or self.filename or f"{{epoch}}{join}{{step}}"

        def filled(field: re.Match[str]) -> str:
            name, form = field.group(1), field.group(2).removeprefix(":")
            value = metrics.get(name, 0)
            value = value.item() if isinstance(value, Tensor) else value
            text = format(value, form)
            return f"{name}{equals}{text}" if self.auto_insert_metric_name else text

        name = FIELD.sub(filled, template)
        name = join.join([prefix, name]) if prefix else name
        name = f"{name}{join}v{ver}" if ver is not None else name
        name += self.FILE_EXTENSION
        return storage.join(self.dirpath, name) if self.dirpath else name

    def _new_path(self, trainer: Any, values: Mapping[str, Any], leaving: str) -> str:
        return self._free(trainer, lambda version: self.format_checkpoint_name(values, None, version), leaving)

    def _free(self, trainer: Any, named: Any, leaving: str = "") -> str:
        """A name that no file has but the one that goes anyway."""
        path: str = named(None)
        version = self.STARTING_VERSION
        while self.enable_version_counter and path != leaving and self.file_exists(path, trainer):
            path, version = named(version), version + 1
        return path

    def file_exists(self, filepath: str, trainer: Any) -> bool:
        """Whether the first rank sees the file."""
        found = False
        if trainer.is_global_zero:
            with suppress(storage.Unreachable):  # as writing it will say
                found = storage.exists(filepath)
        return bool(trainer.fabric.broadcast(found)) if trainer.world_size > 1 else found


def _folder_of_run(trainer: Any) -> str:
    """No other run has it: where the first logger writes, or what its name and version make of where it saves."""
    logger = trainer.logger
    if logger is None or getattr(logger, "log_dir", None):
        return str(trainer.log_dir or trainer.default_root_dir)
    version = getattr(logger, "version", None)
    parts = [getattr(logger, "name", None), version if isinstance(version, str | None) else f"version_{version}"]
    folder = str(getattr(logger, "save_dir", None) or trainer.default_root_dir)
    for part in filter(None, parts):
        folder = storage.join(folder, str(part))
    return folder


def _absolute(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path)) if storage.is_local(path) and "://" not in path else path
