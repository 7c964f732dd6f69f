"""Logs and checkpoints at a real S3 server, which may also be gone, or lack the bucket."""

from __future__ import annotations

import csv
import io
import math
import sys
import warnings

import fsspec
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import epochal.training as pl
from epochal.training import storage
from epochal.training.loggers import CSVLogger, TensorBoardLogger
from epochal.training.loggers.mirror import Mirror
from tests.training.toys import Model, ddp_trainer, loader, rank_environment, trainer


class Logs(Model):
    def __init__(self, lr: float = 0.25) -> None:
        super().__init__(lr)
        self.save_hyperparameters()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", super().training_step(batch, batch_idx))


def rows_of(files, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files.cat_file(path).decode())))


def written(board: EventAccumulator, key: str) -> list:
    """In the order of writing: files that began in one second are read by their names, the tenth before the ninth."""
    return sorted(board.Scalars(key), key=lambda event: event.wall_time)


def board_of(files, address: str, folder) -> EventAccumulator:
    files.get(address, str(folder), recursive=True)
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def test_a_run_that_is_all_in_a_bucket(s3, tmp_path):
    """The example of the older documentation, with rows beside it and checkpoints where they go by themselves."""
    loggers = [TensorBoardLogger(save_dir="s3://my_bucket/logs/"), CSVLogger("s3://my_bucket/rows")]
    run = trainer(logger=loggers, enable_checkpointing=True, log_every_n_steps=1, max_epochs=2)
    run.fit(Logs(), loader(), loader(29, seed=1))
    folder = "my_bucket/logs/lightning_logs/version_0"
    assert run.log_dir == f"s3://{folder}"
    board = board_of(s3, folder, tmp_path / "board")
    assert [event.step for event in written(board, "loss")] == list(range(14))
    assert [event.value for event in written(board, "val")] == pytest.approx(run.history["val"])
    rows = rows_of(s3, "my_bucket/rows/lightning_logs/version_0/metrics.csv")
    assert [float(row["loss"]) for row in rows if row["loss"]] == pytest.approx(run.history["loss"])
    assert [path.rsplit("/")[-1] for path in s3.ls("my_bucket/rows/lightning_logs/version_0")] == [
        "hparams.yaml", "metrics.csv", "metrics.jsonl",
    ]  # fmt: skip
    assert yaml.safe_load(s3.cat_file(f"{folder}/hparams.yaml")) == {"lr": 0.25}

    best = run.checkpoint_callback.best_model_path
    assert best == f"s3://{folder}/checkpoints/epoch=1-step=14.ckpt"
    again = Logs.load_from_checkpoint(best)
    assert again.hparams.lr == 0.25
    assert torch.equal(again.layer.weight, run.lightning_module.layer.weight)
    assert Logs.load_from_checkpoint(best, hparams_file=f"s3://{folder}/hparams.yaml").hparams.lr == 0.25

    assert TensorBoardLogger("s3://my_bucket/logs").version == 1


def test_a_run_goes_on_from_a_bucket(s3, tmp_path):
    whole = Logs()
    trainer(max_epochs=3).fit(whole, loader(), loader(29, seed=1))

    def part(epochs: int) -> pl.Trainer:
        checkpoints = pl.callbacks.ModelCheckpoint(
            "s3://my_bucket/run", "{epoch}", monitor="val", save_top_k=1, save_last=True, every_n_epochs=1
        )
        loggers = [CSVLogger("s3://my_bucket/rows", version=0), TensorBoardLogger("s3://my_bucket/board", version=0)]
        run = trainer(logger=loggers, callbacks=checkpoints, enable_checkpointing=True, max_epochs=epochs, log_every_n_steps=1)
        run.fit(Logs(), loader(), loader(29, seed=1), ckpt_path="last")
        return run

    part(1)
    run = part(3)
    assert torch.equal(run.lightning_module.layer.weight, whole.layer.weight)
    kept = {path.rsplit("/")[-1] for path in s3.ls("my_bucket/run")}
    assert kept == {"epoch=2.ckpt", "last-v1.ckpt", "last.ckpt"}  # what a run went on from stays
    rows = rows_of(s3, "my_bucket/rows/lightning_logs/version_0/metrics.csv")
    assert [row["step"] for row in rows if row["loss"]] == [str(step) for step in range(21)]
    board = board_of(s3, "my_bucket/board/lightning_logs/version_0", tmp_path / "board")
    assert [event.step for event in written(board, "loss")] == list(range(21))


@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
def test_a_bucket_that_is_missing_is_said_once_and_never_made(s3, kind):
    run = trainer(logger=kind("s3://misspelt/logs"), max_epochs=2, log_every_n_steps=1)
    needed = "the run goes on; rows wait, and are sent when it answers"
    text = rf"{kind.__name__}: s3://misspelt/logs\S* cannot be written .*bucket does not exist.*, but {needed}. Create the bucket"
    with pytest.warns(RuntimeWarning, match=text) as caught:
        run.fit(Logs(), loader(), loader())
    assert len(caught) == 1
    assert run.global_step == 14
    assert not s3.exists("misspelt")


def test_checkpoints_without_their_bucket_cost_no_run(s3):
    checkpoints = pl.callbacks.ModelCheckpoint("s3://misspelt/run", save_last=True)
    run = trainer(callbacks=checkpoints, enable_checkpointing=True, max_epochs=2)
    with pytest.warns(
        RuntimeWarning, match="ModelCheckpoint: s3://misspelt/run.*without this checkpoint; .* Create the bucket"
    ) as caught:
        run.fit(Logs(), loader())
    assert len(caught) == 2  # each names its file
    assert (checkpoints.best_model_path, checkpoints.last_model_path) == ("", "")
    with pytest.raises(storage.Unreachable, match="Create the bucket"):
        run.save_checkpoint("s3://misspelt/mine.ckpt")


class Outage(pl.Callback):
    """Nobody answers from one epoch to another."""

    def __init__(self, lead, begins: int, ends: int | None) -> None:
        self.lead, self.begins, self.ends = lead, begins, ends

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch in (self.begins, self.ends):
            self.lead(trainer.current_epoch == self.ends)


@pytest.mark.parametrize("ends", [2, None])
def test_a_server_that_is_gone_in_the_middle(s3, outage, tmp_path, ends):
    """Until it is back the rows wait, and checkpoints before it stay; if it never is, the run ends as well as it can."""
    loggers = [CSVLogger("s3://my_bucket/rows"), TensorBoardLogger("s3://my_bucket/board")]
    checkpoints = pl.callbacks.ModelCheckpoint("s3://my_bucket/run", "{epoch}")
    outage = Outage(outage, 1, ends)
    run = trainer(
        logger=loggers, callbacks=[outage, checkpoints], enable_checkpointing=True, max_epochs=4 if ends else 2, log_every_n_steps=1
    )
    with pytest.warns(RuntimeWarning) as caught:
        run.fit(Logs(), loader())
    said = sorted(str(warning.message) for warning in caught)
    assert [text.split(":")[0] for text in said] == ["CSVLogger", "ModelCheckpoint", "TensorBoardLogger"]
    assert all("Check the network and the endpoint." in text for text in said)
    assert run.global_step == (28 if ends else 14)
    kept = [path.rsplit("/")[-1] for path in s3.ls("my_bucket/run", refresh=True)]
    assert kept == (["epoch=3.ckpt"] if ends else ["epoch=0.ckpt"])
    assert checkpoints.best_model_path == f"s3://my_bucket/run/{kept[0]}"
    steps = [str(step) for step in range(run.global_step if ends else 7)]
    rows = rows_of(s3, "my_bucket/rows/lightning_logs/version_0/metrics.csv")
    assert [row["step"] for row in rows] == steps
    board = board_of(s3, "my_bucket/board/lightning_logs/version_0", tmp_path / "board")
    assert [str(event.step) for event in written(board, "loss")] == steps


def losing_one(rank: int, size: int, folder: str) -> tuple[list[str], str, str, list[str]]:
    """The first rank, which alone writes, cannot write a checkpoint of the second epoch, nor copy one of the third."""
    write, copy, said = storage.write, storage.copy, []

    def refuse(really, word):
        def refused(*args):
            if any(word in str(arg) for arg in args[:2]):
                raise storage.Unreachable("nobody answers", "Wait.")
            return really(*args)

        return refused

    checkpoints = pl.callbacks.ModelCheckpoint(folder, "{epoch}", monitor="val", save_top_k=3, save_last=True)
    with pytest.MonkeyPatch.context() as patch, rank_environment(rank, size), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(storage, "write", refuse(write, "epoch=1") if rank == 0 else write)
        patch.setattr(storage, "copy", refuse(copy, "epoch=2") if rank == 0 else copy)
        run = ddp_trainer(size, callbacks=checkpoints, enable_checkpointing=True, max_epochs=4)
        run.fit(Logs(), loader(48), loader(29, seed=1))
        said = [str(warning.message) for warning in caught if "ModelCheckpoint" in str(warning.message)]
    kept = [path.rsplit("/")[-1] for path in sorted(checkpoints.best_k_models)]
    return kept, checkpoints.best_model_path, checkpoints.last_model_path, said


def test_a_checkpoint_that_one_rank_cannot_write_is_lost_on_all(pair, tmp_path):
    (*first, said), (*second, silence) = pair.run(losing_one, str(tmp_path))
    assert first == second
    assert first[0] == ["epoch=0.ckpt", "epoch=3.ckpt"]
    assert first[2] == str(tmp_path / "last.ckpt")
    assert said == ["ModelCheckpoint: nobody answers, but the run goes on without this checkpoint; "
                    "the next one is tried when it is due. Wait."] * 2  # fmt: skip
    assert silence == []


def test_a_server_that_never_answers_cannot_say_which_run_this_is(s3, outage):
    outage(False)
    logger = CSVLogger("s3://my_bucket/rows")
    assert logger.version.startswith("20")  # the time: no other run is written over
    assert logger.log_dir == f"s3://my_bucket/rows/lightning_logs/{logger.version}"
    with pytest.raises(storage.Unreachable, match="Check the network and the endpoint"):
        storage.read("s3://my_bucket/last.ckpt")


def test_a_dead_address_is_asked_again_after_a_rest(s3, outage, monkeypatch):
    outage(False)
    logger = CSVLogger("s3://my_bucket/rows", version=0, flush_logs_every_n_steps=1)
    logger.REST = 1e9
    with pytest.raises(storage.Unreachable):
        logger.log_metrics({"a": 0.0}, 0)
    asked = []
    monkeypatch.setattr(logger, "_write_now", lambda *_: asked.append(1))
    for step in range(1, 100):
        logger.log_metrics({"a": 0.0}, step)
    logger.save()
    assert asked == []
    logger.finalize("success")
    assert asked == [1]


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    for make in (CSVLogger, TensorBoardLogger):
        with pytest.raises(ModuleNotFoundError, match=r"s3://b/logs.* came, but its client is not installed. .*epochal\[remote\]"):
            make("s3://b/logs")


# --- what a flush costs where nothing can be appended --------------------------------------------------------------------


def bytes_put(monkeypatch, work) -> int:
    sizes = []
    files = fsspec.filesystem("memory")
    put = files.pipe_file
    monkeypatch.setattr(type(files), "pipe_file", lambda self, path, value, **_: (sizes.append(len(value)), put(path, value)))
    work()
    monkeypatch.undo()
    return sum(sizes)


@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
def test_twice_the_rows_cost_twice_the_bytes(monkeypatch, kind):
    """If a flush sent all that there is, they would cost four times as many."""

    def work(flushes: int) -> None:
        logger = kind("memory://costs", f"{kind.__name__}{flushes}")
        for step in range(flushes):
            logger.log_metrics({"loss": 0.123456, "epoch": 0}, step)
            logger.flush()
        logger.finalize("success")

    costs = []
    for flushes in (100, 200):
        monkeypatch.setattr(CSVLogger, "REST", math.inf)
        monkeypatch.setattr(Mirror, "LARGE", 1000)
        costs.append(bytes_put(monkeypatch, lambda: work(flushes)))
    assert costs[1] < 2.2 * costs[0]


def test_pieces_are_joined_when_there_is_time_for_it():
    logger = CSVLogger("memory://pieces", version=0)
    files = fsspec.filesystem("memory")
    path = "/pieces/lightning_logs/version_0/metrics"

    def pieces() -> int:
        return sum(".jsonl." in name for name in files.find("/pieces"))

    logger.log_metrics({"a": 0.0}, 0)
    logger.flush()
    assert (pieces(), len(rows_of(files, path + ".csv"))) == (0, 1)
    for step in (1, 2):
        logger.log_metrics({"a": 0.0}, step)
        logger.flush()
    assert (pieces(), len(rows_of(files, path + ".csv"))) == (2, 1)
    logger._cost = 0.0  # it took no time
    logger.save()
    assert (pieces(), len(rows_of(files, path + ".csv"))) == (0, 3)


@pytest.mark.parametrize("joined", [False, True])
def test_a_killed_run_loses_what_was_held_and_nothing_twice(joined):
    address = f"memory://killed{joined}"
    first = CSVLogger(address, version=0)
    for step in range(3):
        first.log_metrics({"a": 1.0}, step)
        first.flush()
    first.log_metrics({"a": 1.0}, 3)  # held, and lost
    if joined:  # and killed before the pieces were removed
        storage.put(first._journal.path, first._journal._copy)
    second = CSVLogger(address, version=0)
    second.log_metrics({"b": 2.0}, 3)
    second.finalize("success")
    files = fsspec.filesystem("memory")
    rows = rows_of(files, f"/killed{joined}/lightning_logs/version_0/metrics.csv")
    assert [(row["step"], row["a"], row["b"]) for row in rows] == [
        ("0", "1.0", ""), ("1", "1.0", ""), ("2", "1.0", ""), ("3", "", "2.0"),
    ]  # fmt: skip
