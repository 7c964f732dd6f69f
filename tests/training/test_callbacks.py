"""Timer, accumulation, summaries, functions, predictions; states, order and names of all callbacks; beside Lightning's."""

from __future__ import annotations

import inspect
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import nn

import epochal.training as pl
from epochal.training import callbacks
from epochal.training.callbacks import (
    BasePredictionWriter,
    EarlyStopping,
    GradientAccumulationScheduler,
    LambdaCallback,
    ModelCheckpoint,
    ModelSummary,
    Timer,
)
from tests.training.beside import net, of_both, quiet
from tests.training.toys import Model, loader, rank_environment, trainer

CONTRACT = Path(__file__).parents[3] / "shared" / "contract" / "training.json"


# --- time --------------------------------------------------------------------------------------------------------------------


class Slow(Model):
    seconds = 0.05

    def training_step(self, batch, batch_idx):
        time.sleep(self.seconds)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        time.sleep(self.seconds)


def test_a_timer_measures_stages():
    timer = Timer({"hours": 1})
    assert (timer.start_time(), timer.end_time(), timer.time_elapsed(), timer.time_remaining()) == (None, None, 0.0, 3600.0)
    run = trainer(callbacks=timer)
    run.fit(Slow(), loader(16, 8), loader(8, 8))
    assert timer.time_elapsed() >= 0.15
    assert timer.time_elapsed() == timer.end_time() - timer.start_time() == timer.time_elapsed("train")
    assert 0.05 <= timer.time_elapsed("validate") < timer.time_elapsed("train")
    assert timer.time_elapsed("test") == 0
    assert timer.time_remaining() == 3600 - timer.time_elapsed()
    assert set(timer.state_dict()["time_elapsed"]) == {"train", "sanity_check", "validate", "test", "predict"}
    assert Timer().time_remaining() is None
    with pytest.raises(ValueError, match="stage"):
        timer.time_elapsed("training")


@pytest.mark.parametrize(("interval", "steps"), [("step", 1), ("epoch", 3)])
def test_a_timer_ends_a_step_or_an_epoch(interval, steps, capsys):
    run = trainer(callbacks=Timer(timedelta(milliseconds=20), interval=interval), max_epochs=9)
    run.fit(Slow(), loader(24, 8))
    assert run.global_step == steps
    assert capsys.readouterr().out == "The time of the run is up: 0:00:00 of training.\n"


def test_a_run_that_goes_on_has_what_is_left_of_its_time(tmp_path):
    def run(path, **options):
        run = trainer(max_time={"seconds": 30}, **options)
        (timer,) = [callback for callback in run.callbacks if isinstance(callback, Timer)]
        run.fit(Model(), loader(16, 8), ckpt_path=path)
        run.save_checkpoint(tmp_path / "last.ckpt")
        return run.global_step, timer

    _, timer = run(None)
    first = timer.time_elapsed()
    assert 0 < first < 30
    steps, timer = run(tmp_path / "last.ckpt", max_epochs=2)
    assert steps == 4
    assert timer.time_elapsed() == pytest.approx(first + timer.end_time() - timer.start_time())
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    state["callbacks"]["Timer"]["time_elapsed"]["train"] = 31.0
    torch.save(state, tmp_path / "late.ckpt")
    steps, timer = run(tmp_path / "late.ckpt", max_epochs=3)
    assert steps == 4  # nothing more
    assert timer.time_remaining() < 0


def test_a_second_fit_has_all_its_time():
    timer = Timer({"seconds": 30}, verbose=False)
    timer.load_state_dict({"time_elapsed": {"train": 31.0}})
    run = trainer(callbacks=timer)
    run.fit(Model(), loader(16, 8))
    assert run.global_step == 2


def test_what_a_timer_refuses():
    with pytest.raises(ValueError, match="a Timer came with max_time"):
        trainer(max_time={"hours": 1}, callbacks=Timer())
    with pytest.raises(ValueError, match="interval"):
        Timer(interval="batch")
    with pytest.raises(ValueError, match="Timer: duration is 'soon'"):
        Timer("soon")


# --- accumulation ------------------------------------------------------------------------------------------------------------


def accumulated(library, room, scheduling, **options):
    steps = []
    torch.manual_seed(0)
    module = net(library)
    module.on_train_epoch_end = lambda: steps.append(module.trainer.global_step)
    run = quiet(library, callbacks=room.GradientAccumulationScheduler(scheduling), max_epochs=4, **options)
    run.fit(module, loader(40, 8))
    return steps, module.layer.weight.detach().tolist()


@pytest.mark.parametrize("scheduling", [{1: 2, 2: 3}, {0: 4, 3: 1}, {0: 1}])
def test_batches_accumulate_by_epoch_as_in_lightning(scheduling):
    (ours, weights), (theirs, expected) = of_both(lambda *where: accumulated(*where, scheduling))
    assert ours == theirs
    torch.testing.assert_close(torch.tensor(weights), torch.tensor(expected))


def test_the_steps_to_come_are_counted_by_epoch():
    counted = []

    class Counts(Model):
        def configure_optimizers(self):
            counted.append(self.trainer.estimated_stepping_batches)
            return super().configure_optimizers()

    scheduler = GradientAccumulationScheduler({1: 2, 2: 3})
    run = trainer(callbacks=scheduler, max_epochs=4)
    run.fit(Counts(), loader(40, 8))
    assert counted == [run.global_step] == [5 + 3 + 2 + 2]
    run = trainer(callbacks=scheduler, max_epochs=4, max_steps=6)
    run.fit(Counts(), loader(40, 8))
    run.fit(Counts(), loader(40, 8))  # the flag as it left it is no other wish
    assert counted[1:] == [6, 6]


def test_its_questions():
    scheduler = GradientAccumulationScheduler({2: 4})
    assert [scheduler.get_accumulate_grad_batches(epoch) for epoch in range(4)] == [1, 1, 4, 4]
    assert scheduler.going_to_accumulate_grad_batches()
    assert not GradientAccumulationScheduler({3: 1}).going_to_accumulate_grad_batches()


@pytest.mark.parametrize(
    ("scheduling", "error"),
    [({}, TypeError), (None, TypeError), ({0: 0}, ValueError), ({-1: 2}, ValueError), ({"a": 1}, TypeError), ({0: 1.5}, TypeError)],
)
def test_schedules_that_mean_nothing(scheduling, error):
    with pytest.raises(error, match="GradientAccumulationScheduler"):
        GradientAccumulationScheduler(scheduling)


def test_only_one_says_how_many_batches_make_a_step():
    with pytest.raises(ValueError, match="accumulate_grad_batches=2 came, too"):
        accumulated(pl, callbacks, {0: 2}, accumulate_grad_batches=2)
    module = Model()
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="optimization is manual"):
        trainer(callbacks=GradientAccumulationScheduler({0: 2})).fit(module, loader(16, 8))


# --- the summary ---------------------------------------------------------------------------------------------------------------


def deep(library, example=True):
    class Deep(library.LightningModule):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 3)
            self.seq = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), nn.Dropout(0.5))
            self.tied = nn.Linear(4, 3, bias=False)
            self.tied.weight = self.first.weight
            self.first.bias.requires_grad = False
            if example:
                self.example_input_array = torch.ones(2, 4)

        def forward(self, x):
            return self.tied(x) + self.first(x) + self.seq(x).sum()

        def training_step(self, batch, batch_idx):
            return self(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    return Deep()


def summed_up(library, room, depth, example):
    found = []

    class Keeps(room.ModelSummary):
        @staticmethod
        def summarize(summary_data, total_parameters, trainable_parameters, model_size, total_training_modes, total_flops, **rest):
            columns = {head: [cell.strip() for cell in cells] for head, cells in summary_data}
            if not any(cell != "0" for cell in columns.get("FLOPs", [])):
                columns.pop("FLOPs", None)
            found.append((columns, total_parameters, trainable_parameters, model_size, total_training_modes, total_flops, rest))

    module = deep(library, example)
    module.seq[2].eval()
    run = quiet(library, callbacks=Keeps(depth, color="red"), max_epochs=0, enable_model_summary=True)
    run.fit(module, loader(16, 8))
    assert not module.seq[2].training
    return found


@pytest.mark.parametrize("example", [True, False])
@pytest.mark.parametrize("depth", [1, 2, -1, 0])
def test_the_summary_has_lightnings_numbers(depth, example):
    ours, theirs = of_both(lambda *where: summed_up(*where, depth, example))
    assert ours == theirs if depth else ours[0][1:] == (12 + 3 + 40 + 72 + 16, 140, *ours[0][3:])


def test_a_summary_leaves_the_model_as_it_was(capsys):
    module = deep(pl)
    before, random = module.state_dict()["seq.1.1.running_mean"].clone(), torch.get_rng_state()
    trainer(enable_model_summary=True, max_epochs=0).fit(module, loader(16, 8))
    assert torch.equal(module.seq[1][1].running_mean, before)
    assert module.seq[2].training
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].split() == [
        "|",
        "Name",
        "|",
        "Type",
        "|",
        "Params",
        "|",
        "Mode",
        "|",
        "FLOPs",
        "|",
        "In",
        "sizes",
        "|",
        "Out",
        "sizes",
    ]
    assert "143 parameters (0.001 MB): 140 train, 3 are fixed" in err
    del random


def test_a_forward_that_fails_is_a_warning(capsys):
    module = deep(pl)
    module.example_input_array = torch.ones(2, 5)
    with pytest.warns(UserWarning, match="example_input_array: forward does not take it: RuntimeError"):
        trainer(enable_model_summary=True, max_epochs=0).fit(module, loader(16, 8))
    assert "| ?" in capsys.readouterr().err


def test_parameters_that_are_not_there_yet(capsys):
    class Lazy(Model):
        def __init__(self):
            super().__init__()
            self.lazy = nn.LazyLinear(3)

    module = Lazy()
    module.configure_optimizers = lambda: torch.optim.SGD(module.layer.parameters(), 0.1)
    trainer(enable_model_summary=True, max_epochs=0).fit(module, loader(16, 8))
    assert "LazyLinear | ?" in capsys.readouterr().err


def test_who_shows_a_summary(capsys):
    own = ModelSummary(max_depth=-1)
    of = lambda run: [callback for callback in run.callbacks if isinstance(callback, ModelSummary)]  # noqa: E731
    assert of(trainer(enable_model_summary=True, callbacks=own)) == of(trainer(callbacks=own)) == [own]
    assert of(trainer(enable_model_summary=False)) == []
    assert len(of(trainer(enable_model_summary=None))) == 1
    with pytest.raises(ValueError, match="max_depth"):
        ModelSummary(max_depth=-2)


# --- functions ---------------------------------------------------------------------------------------------------------------


def test_functions_are_hooks():
    calls = []
    callback = LambdaCallback(
        setup=lambda trainer, module, stage: calls.append(stage),
        on_train_batch_end=lambda trainer, module, outputs, batch, batch_idx: calls.append(batch_idx),
        on_fit_end=lambda trainer, module: calls.append(type(module).__name__),
    )
    trainer(callbacks=callback).fit(Model(), loader(16, 8))
    assert calls == ["fit", 0, 1, "Model"]
    with pytest.raises(TypeError, match="LambdaCallback: on_fit_end is 3, but a function is needed"):
        LambdaCallback(on_fit_end=3)


# --- predictions -------------------------------------------------------------------------------------------------------------


def predicting(library):
    class Predicts(library.LightningModule):
        def predict_step(self, batch, batch_idx, dataloader_idx=0):
            return batch[1].tolist()

    return Predicts()


def written(library, room, loaders, interval="batch_and_epoch", **options):
    calls = []

    class Writer(room.BasePredictionWriter):
        def write_on_batch_end(self, trainer, module, prediction, batch_indices, batch, batch_idx, dataloader_idx):
            calls.append(("batch", prediction, batch_indices, batch_idx, dataloader_idx))

        def write_on_epoch_end(self, trainer, module, predictions, batch_indices):
            calls.append(("epoch", list(predictions), batch_indices))

    run = quiet(library, callbacks=Writer(interval), **options)
    returned = run.predict(predicting(library), loaders(), return_predictions=interval != "epoch")
    return calls, returned


@pytest.mark.parametrize("interval", ["batch", "epoch", "batch_and_epoch"])
@pytest.mark.parametrize("several", [False, True])
def test_predictions_are_written_as_in_lightning(interval, several):
    def loaders():
        torch.manual_seed(1)
        return [loader(10, 4, shuffle=True), loader(3, 2, seed=1)] if several else loader(10, 4, shuffle=True)

    ours, theirs = of_both(lambda *where: written(*where, loaders, interval))
    assert ours == theirs
    assert ours[0]


def test_indices_with_workers_and_without_any():
    calls, _ = written(pl, callbacks, lambda: loader(10, 4, num_workers=1), "batch")
    assert [call[2] for call in calls] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    stream = [[torch.zeros(2, 4), torch.tensor([1, 2])]] * 2
    calls, _ = written(pl, callbacks, lambda: stream)
    assert calls[-1] == ("epoch", [[1, 2], [1, 2]], [[None, None]])


def shares(rank, size):
    with rank_environment(rank, size):
        calls, _ = written(pl, callbacks, lambda: loader(11, 2), "batch_and_epoch", devices=size, strategy="ddp")
        (epoch,) = [call for call in calls if call[0] == "epoch"]
        return [call[1:3] for call in calls[:-1]], epoch[1:]


def test_each_process_writes_its_share(pair):
    labels = loader(11, 2).dataset.tensors[1]
    found = []
    for batches, (predictions, indices) in pair.run(shares):
        assert [list(batch) for batch in zip(predictions, indices[0], strict=True)] == [list(batch) for batch in batches]
        for prediction, places in batches:
            assert prediction == labels[places].tolist()
            found += places
    assert sorted(found) == list(range(11))


def test_a_writer_that_cannot_write():
    with pytest.raises(ValueError, match="write_interval"):
        BasePredictionWriter("step")
    with pytest.raises(NotImplementedError, match="write_interval is 'epoch', but the class has no write_on_epoch_end"):
        trainer(callbacks=BasePredictionWriter("epoch")).predict(predicting(pl), loader(8, 4))


# --- all of them -------------------------------------------------------------------------------------------------------------


class Counts(pl.Callback):
    """A state, a hook into the whole checkpoint, and a name."""

    def __init__(self, name=""):
        self.name, self.count = name, 0

    @property
    def state_key(self):
        return f"Counts{self.name}"

    def on_train_batch_end(self, *args):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        checkpoint["seen"] = sorted(checkpoint["state_dict"])

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        self.seen = checkpoint["seen"]


def test_states_by_their_keys(tmp_path):
    run = trainer(callbacks=[Counts("a"), Counts("b")])
    run.fit(Model(), loader(16, 8))
    run.save_checkpoint(tmp_path / "a.ckpt")
    (one, other) = again = [Counts("b"), Counts("c")]
    trainer(callbacks=again, max_epochs=2).fit(Model(), loader(16, 8), ckpt_path=tmp_path / "a.ckpt")
    assert (one.count, other.count) == (4, 2)
    assert one.seen == ["layer.bias", "layer.weight"]


def test_two_states_under_one_key_are_refused():
    with pytest.raises(ValueError, match="two callbacks have the state_key 'Counts'"):
        trainer(callbacks=[Counts(), Counts()])
    module = Model()
    module.configure_callbacks = lambda: [EarlyStopping("x"), EarlyStopping("x", patience=9)]
    with pytest.raises(ValueError, match=r"two callbacks have the state_key .EarlyStopping"):
        trainer().fit(module, loader(16, 8))


def test_their_order_and_who_replaces_whom():
    own, stops, timer = ModelCheckpoint(), EarlyStopping("x"), Timer()
    run = trainer(callbacks=[own, stops, timer], enable_checkpointing=True, enable_model_summary=True, fast_dev_run=True)
    assert [type(callback) for callback in run.callbacks] == [EarlyStopping, Timer, ModelSummary, ModelCheckpoint]
    module, of_module = Model(), [ModelCheckpoint(monitor="x"), Timer({"hours": 1})]
    module.configure_callbacks = lambda: of_module
    run.fit(module, loader(16, 8))
    assert [type(callback) for callback in run.callbacks] == [EarlyStopping, ModelSummary, Timer, ModelCheckpoint]
    assert run.checkpoint_callback is of_module[0]
    assert run.callbacks[2] is of_module[1]
    module.configure_callbacks = lambda: Timer({"hours": 2})  # one alone
    run.fit(module, loader(16, 8))
    assert sum(isinstance(callback, Timer) for callback in run.callbacks) == 1


@pytest.mark.parametrize("name", [name for name in dir(callbacks) if name[0].isupper() and "Bar" not in name])
def test_names_order_and_defaults_are_lightnings(name):
    if not CONTRACT.exists():
        pytest.skip("the contract of the interface is not here")
    wanted = json.loads(CONTRACT.read_text()).get(name)
    if wanted is None:
        pytest.skip("it is ours alone")
    ours = getattr(callbacks, name)
    known = list(inspect.signature(ours.__init__).parameters.values())[1:]
    known = [f"{p.name}={getattr(p.default, 'value', p.default)!r}" for p in known]
    expected = wanted["__init__"].replace("Interval.step", "'step'") if "__init__" in wanted else ""
    if expected and "**" not in expected:
        assert [text.removesuffix("=<class 'inspect._empty'>") for text in known] == expected.split(", ")
    assert [method for method in wanted if not hasattr(ours, method)] == []
