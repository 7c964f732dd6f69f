"""What a checkpoint holds, and how a run goes on from one.

The keys that users read are Lightning's: ``state_dict``, ``epoch``, ``global_step``, ``optimizer_states``, ``lr_schedulers``,
``callbacks``, ``hyper_parameters``. Beside them: ``loops``, the place in the epoch; ``metrics``, their states merged over the
ranks; ``ranks``, what each rank alone has: random states and the keys that it logged in this epoch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from epochal import check, dist
from epochal.training import data, foreign, resume, sharded, storage
from epochal.training.combined import members
from epochal.training.history import History
from epochal.training.position import Position

if TYPE_CHECKING:
    from epochal.training.fit import Fit
    from epochal.training.module import LightningModule
    from epochal.training.trainer import Trainer

VERSION = 1
SCHEMA = "epochal_schema"
LAYOUT = {"pytorch-lightning_version": "2.0.0"}  # whose keys these are; Lightning loads weights from no file that does not say


# --- writing -------------------------------------------------------------------------------------------------------------


def of_run(trainer: Trainer, weights_only: bool = False) -> dict[str, Any]:
    """The checkpoint of a run as it is now; all ranks call it, inside of :func:`dist.alone` one for itself."""
    module = trainer.lightning_module
    if module is None:
        check.fail(
            "Trainer.save_checkpoint", "it was called before any run", "a module is needed", "Call trainer.fit(module) first."
        )
    settled, merged = _metrics(trainer)
    with _holding(trainer, settled, merged):
        weights = storage.plain_weights(module.state_dict() if trainer.shards is None else sharded.weights_of(trainer.shards))
    content: dict[str, Any] = {
        SCHEMA: VERSION,
        **LAYOUT,
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "state_dict": weights,
        "loops": _loops(trainer),
    }
    for owner in (trainer.datamodule, module):
        if owner is not None:
            content.update(owner.hparams_to_save())
    if not weights_only:
        content.update(_of_training(trainer, settled, merged))
        for callback in trainer.callbacks:
            if hasattr(callback, "on_save_checkpoint"):
                callback.on_save_checkpoint(trainer, module, content)
    module.on_save_checkpoint(content)
    return {key: value if key == "state_dict" else storage.plain(value, key) for key, value in content.items()}


def _of_training(trainer: Trainer, settled: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """All but the weights."""
    apart = {
        name: resume.packed(kept) for name, kept in settled.items() if not resume.merges(trainer.logbook.parking.metrics[name])
    }
    mine = {"rank": trainer.global_rank, "random": _random(trainer), "book": trainer.logbook.saved(), "apart": apart}
    content: dict[str, Any] = {
        "optimizer_states": [_optimizer_state(trainer, optimizer) for optimizer in trainer.raw_optimizers],
        "lr_schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
        "metrics": {name: resume.packed(kept) for name, kept in merged.items()},
        "history": _history(trainer),
        "ranks": {part["rank"]: part for part in ([mine] if dist.is_alone() else dist.gather(mine))},
        "precision": trainer.strategy.precision.state_dict(),
        "gradients": _gradients(trainer),
    }
    if trainer.datamodule is not None:
        content[type(trainer.datamodule).__qualname__] = trainer.datamodule.state_dict()
    content["callbacks"] = callback_states(trainer.callbacks)
    return content


def _optimizer_state(trainer: Trainer, optimizer: Any) -> dict[str, Any]:
    if trainer.shards is not None:
        return sharded.optimizer_state_of(trainer.shards, optimizer)
    state: dict[str, Any] = optimizer.state_dict()
    return state


def callback_states(callbacks: list[Any]) -> dict[str, Any]:
    """Those that have one, by their keys."""
    found = {callback.state_key: callback.state_dict() for callback in callbacks if hasattr(callback, "state_key")}
    return {key: state for key, state in found.items() if state}


def load_callback_states(callbacks: list[Any], states: Mapping[str, Any]) -> None:
    """The counterpart of :func:`callback_states`."""
    for callback in callbacks:
        if getattr(callback, "state_key", None) in states:
            callback.load_state_dict(states[callback.state_key])


def _random(trainer: Trainer) -> dict[str, Any]:
    """The random states to go on with: those before a validation that comes again."""
    if trainer.loop is not None and _within(trainer.loop, trainer) == "validation":
        return trainer.loop.position.random
    return resume.random_states()


def _within(fit: Fit, trainer: Trainer) -> str:
    """Where in the batch: a validation whose values are out is done."""
    within = fit.position.within
    return "" if within == "validation" and trainer.logbook.parking.is_over() else within


def _history(trainer: Trainer) -> dict[str, Any]:
    """Less the rows of a validation that comes again."""
    fit, history = trainer.loop, trainer.history
    again = fit is not None and _within(fit, trainer) == "validation"
    return history.saved(history.since(fit.position.row) if fit is not None and again else 0)


def _metrics(trainer: Trainer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of all metrics as they are once the stages that are open are over: this rank's, and those merged over all."""
    book = trainer.logbook
    book.parking.refresh()
    settled = {name: kept for name, kept in book.parking.settled().items() if _has_data(kept)}
    parts = {(0, name): kept for name, kept in settled.items() if resume.merges(book.parking.metrics[name])}
    if dist.is_alone():
        return settled, {name: kept for (_, name), kept in parts.items()}
    _, merged = book.ranks.merge("checkpoint", {}, parts)
    return settled, {name: kept for (_, name), kept in merged.items()}


def _has_data(kept: Any) -> bool:
    return bool(getattr(kept, "updates", True))


@contextmanager
def _holding(trainer: Trainer, settled: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[None]:
    """Inside, metrics hold what they will hold: those that ``state_dict`` keeps must not be of an epoch that is over."""
    metrics = trainer.logbook.parking.metrics
    now = {name: foreign.snapshot(metric) for name, metric in metrics.items()}
    try:
        for name, metric in metrics.items():
            metric.reset()
            if name in merged or name in settled:
                foreign.restore(metric, merged.get(name) or settled[name])
        yield
    finally:
        for name, kept in now.items():
            foreign.restore(metrics[name], kept)


def _loops(trainer: Trainer) -> dict[str, Any]:
    """Where the loops are."""
    counts: dict[str, Any] = {
        "seed": trainer.share.seed,
        "batches_done": trainer.batches_done,
        "world": trainer.world_size,
    }
    fit = trainer.loop
    if fit is None or trainer.sanity_checking:
        return {**counts, "position": {"epoch": trainer.current_epoch}, "seeds": [], "validated": []}
    within = _within(fit, trainer)
    position = {**fit.position.saved(fit.loader, trainer.share, fit.limit), "within": within}
    done = fit.validation.batches if fit.validation is not None else []
    validated = list(fit.position.validated if within == "validation" else done)
    seeds = [data.seed_of(loader, trainer.share) for loader in members(fit.loader)]
    return {**counts, "position": position, "seeds": seeds, "validated": validated}


def _gradients(trainer: Trainer) -> dict[str, Any]:
    """What was accumulated for a step that is not taken yet, the mean over the ranks; of weights in parts it is left out."""
    fit, module = trainer.loop, trainer.lightning_module
    if fit is None or module is None or not fit.accumulates() or trainer.shards is not None:
        return {}
    found = {name: p.grad.detach().clone() for name, p in module.named_parameters() if p.grad is not None}
    if trainer.world_size > 1 and not dist.is_alone():
        for gradient in found.values():
            mean: Any = trainer.fabric.all_reduce(gradient, reduce_op="mean")
            gradient.copy_(mean)
    return found


# --- going on ------------------------------------------------------------------------------------------------------------


def load_weights(module: LightningModule, content: dict[str, Any], strict: bool | None = None) -> None:
    """The module's ``on_load_checkpoint``, then its ``state_dict``."""
    module.on_load_checkpoint(content)
    module.load_state_dict(content["state_dict"], strict=module.strict_loading if strict is None else strict)


class Resumption:
    """A run that goes on from a checkpoint, or begins anew if there is none."""

    def __init__(self, trainer: Trainer, content: dict[str, Any] | None) -> None:
        self.trainer, self.content = trainer, content
        self.position: Position | None = None
        self.seed: int | None = None  # of the order of the training data
        self.seeds: list[int] = []  # and of each loader
        if content is None:
            return
        loops = content.get("loops", {})
        if "position" not in loops or "ranks" not in content:
            known = "It holds weights alone" if SCHEMA in content else "It is not of this trainer"
            fix = f"{known}: pass it to load_from_checkpoint, and fit without ckpt_path."
            check.fail("Trainer.fit", "ckpt_path is a file without the state of a run", "a whole checkpoint is needed", fix)
        if content[SCHEMA] > VERSION:
            came = f"the checkpoint has the schema {content[SCHEMA]}"
            check.fail("Trainer.fit", came, f"{VERSION} is the newest that this release reads", "Upgrade epochal.")
        self.position = Position.of(loops["position"], loops["world"])
        self.seed, self.seeds = loops["seed"], loops["seeds"]
        self.same_world = loops["world"] == trainer.world_size and trainer.global_rank in content["ranks"]

    def load(self) -> None:
        """Weights, optimizers, schedulers, callbacks, metrics and counters; before ``on_fit_start``."""
        trainer, content, position = self.trainer, self.content, self.position
        if content is None or position is None:
            return
        module = trainer.lightning_module
        assert module is not None
        if trainer.shards is None:
            load_weights(module, content)
        else:
            module.on_load_checkpoint(content)
            sharded.load_weights(trainer.shards, content["state_dict"], module.strict_loading)
        for optimizer, state in _pairs("optimizers", trainer.raw_optimizers, content["optimizer_states"]):
            _load_optimizer(trainer, module, optimizer, state)
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        for scheduler, state in _pairs("schedulers", schedulers, content["lr_schedulers"]):
            scheduler.load_state_dict(state)
        trainer.strategy.precision.load_state_dict(content["precision"])
        for callback in trainer.callbacks:
            if hasattr(callback, "on_load_checkpoint"):
                callback.on_load_checkpoint(trainer, module, content)
        load_callback_states(trainer.callbacks, content["callbacks"])
        name = type(trainer.datamodule).__qualname__
        if trainer.datamodule is not None and name in content:
            trainer.datamodule.load_state_dict(content[name])
        trainer.global_step = content["global_step"]
        trainer.current_epoch = position.epoch + position.ended
        trainer.batches_done = content["loops"]["batches_done"]
        book = trainer.logbook
        book.epoch, book.step = trainer.current_epoch, trainer.batches_done
        book.load(self._book())
        book.history = History.of(content["history"])
        self._load_metrics()
        for name, parameter in module.named_parameters():
            if name in content["gradients"]:
                parameter.grad = content["gradients"][name].to(parameter.device)

    def begin(self) -> None:
        """Right before the loop: what an epoch that is not broken off needs."""
        if self.content is not None and self.trainer.loop is not None:
            if self.trainer.loop.validation is not None and self.content["loops"]["validated"]:
                self.trainer.loop.validation.batches = list(self.content["loops"]["validated"])
            self._load_random()
            if self.position is not None and not self.position.broken_off:
                self.content = None

    def take_up_epoch(self) -> None:
        """Inside of an epoch that was broken off, behind its first hooks: its metrics and keys as they were."""
        self._load_metrics()
        self.trainer.logbook.parking.begin_steps()
        self.trainer.logbook.load_epoch(self._book())
        self._load_random()
        self.content = None

    def _book(self) -> dict[str, Any]:
        """What this rank has of the logged keys: its own, or of another number of ranks those of all on the first."""
        assert self.content is not None
        ranks = self.content["ranks"]
        if self.same_world:
            found: dict[str, Any] = ranks[self.trainer.global_rank]["book"]
            return found
        whole = resume.one_of([ranks[rank]["book"] for rank in sorted(ranks)])
        return whole if self.trainer.is_global_zero else resume.nothing_of(whole)

    def _load_metrics(self) -> None:
        assert self.content is not None
        ranks, rank = self.content["ranks"], self.trainer.global_rank
        apart = [ranks[rank]["apart"]] if self.same_world else [part["apart"] for part in ranks.values() if rank == 0]
        lost = resume.load_metrics(self.trainer.logbook.parking, self.content["metrics"], apart, first=rank == 0)
        if lost:
            text = check.message("Trainer.fit", f"the checkpoint has the metrics {lost}", "the module has none of these names")
            warnings.warn(text, stacklevel=2)

    def _load_random(self) -> None:
        """This rank's random states; a rank that is new keeps those that it has."""
        assert self.content is not None
        own = self.content["ranks"].get(self.trainer.global_rank)
        if own is not None:
            resume.set_random_states(own["random"])


def _pairs(kind: str, holders: list[Any], states: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(holders) != len(states):
        came = f"the checkpoint has {len(states)} {kind}"
        check.fail("Trainer.fit", came, f"configure_optimizers returned {len(holders)}", "Return what the run began with.")
    return zip(holders, states, strict=True)


def _load_optimizer(trainer: Trainer, module: LightningModule, optimizer: Any, state: dict[str, Any]) -> None:
    """Of the same kind of run, or of a sharded one in any."""
    if trainer.shards is not None:
        sharded.refuse_numbered(state)
    if sharded.is_by_name(state):
        sharded.load_optimizer_state(trainer.shards or module, optimizer, state)
    else:
        optimizer.load_state_dict(state)
