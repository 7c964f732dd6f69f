"""When EarlyStopping ends a run, beside Lightning's."""

from __future__ import annotations

import math

import pytest
import torch

import epochal.training as pl
from epochal.training import callbacks
from epochal.training.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
)
from tests.training.beside import net, of_both, quiet
from tests.training.toys import Model, ddp_trainer, loader, rank_environment, trainer

NAN, INF = math.nan, math.inf
STOPS = [
    ([3.0, 2.0, 2.0, 2.0, 1.0, 1.0], {"patience": 2}),
    ([3.0, 2.0, 2.0, 2.0, 1.0, 1.0], {"patience": 3}),
    ([3.0, 2.0, 2.0, 1.0, 1.0, 1.0], {"patience": 0}),
    ([3.0, 2.0, 2.0, 1.0, 1.0, 1.0], {"patience": 1}),
    ([1.0, 2.0, 3.0, 3.0, 3.5, 3.0], {"patience": 2, "mode": "max"}),
    ([3.0, 2.75, 2.5, 2.25, 2.0, 1.5], {"patience": 2, "min_delta": 0.25}),
    ([3.0, 2.5, 2.25, 2.0, 1.5, 1.0], {"patience": 2, "min_delta": 0.25}),
    ([0.25, 0.5, 0.75, 1.0, 2.0, 3.0], {"patience": 2, "min_delta": 0.25, "mode": "max"}),
    ([3.0, 2.0, 1.0, 0.5, 0.0, 0.0], {"stopping_threshold": 1.0}),
    ([3.0, 2.0, 1.0, 0.5, 0.0, 0.0], {"divergence_threshold": 2.5, "patience": 9}),
    ([1.0, 2.0, 2.5, 3.0, 0.0, 0.0], {"divergence_threshold": 2.5, "patience": 9}),
    ([1.0, 2.0, 0.5, 0.25, 2.0, 2.0], {"divergence_threshold": 0.5, "mode": "max", "patience": 9}),
    ([3.0, NAN, 2.0, 2.0, 2.0, 2.0], {}),
    ([3.0, NAN, NAN, 2.0, 2.0, 2.0], {"check_finite": False, "patience": 2}),
    ([3.0, -INF, 2.0, 2.0, 2.0, 2.0], {"patience": 2}),
    ([INF, 3.0, 2.0, 2.0, 2.0, 2.0], {"check_finite": False, "patience": 2}),
]


def stopped(library, room, scores, arguments, **options):
    callback = room.EarlyStopping("score", **arguments)
    run = quiet(library, callbacks=callback, **{"max_epochs": 6, **options})
    run.fit(net(library, scores=scores), loader(16, 8), loader(8, 8))
    reason = callback.stopping_reason
    state = (reason.name, callback.wait_count, callback.stopped_epoch, float(callback.best_score))
    assert run.early_stopping_callback is callback
    assert run.early_stopping_callbacks == [callback]
    return run.current_epoch, run.global_step, str(state)


@pytest.mark.parametrize(("scores", "arguments"), STOPS)
def test_a_run_stops_where_lightning_stops_it(scores, arguments):
    ours, theirs = of_both(lambda *where: stopped(*where, scores, arguments))
    assert ours == theirs


def test_twice_an_epoch_each_validation_counts():
    scores = [5.0, 4.0, 3.0, 3.0, 3.0, 2.0]
    ours, theirs = of_both(lambda *where: stopped(*where, scores, {"patience": 2}, val_check_interval=0.5))
    assert ours == theirs
    assert ours[:2] == (3, 5)  # in mid-epoch


def test_the_minimum_comes_first():
    ours, theirs = of_both(lambda *where: stopped(*where, [1.0] * 6, {"patience": 1}, min_epochs=4))
    assert ours[:2] == theirs[:2] == (4, 8)


def test_not_in_a_fast_dev_run():
    assert stopped(pl, callbacks, [NAN], {}, fast_dev_run=True)[2] == str(("NOT_STOPPED", 0, 0, INF))


def test_a_value_of_an_earlier_epoch_does_not_count():
    """Validation every second epoch, a check at each: Lightning counts each value twice."""
    arguments = {"patience": 2, "check_on_train_epoch_end": True, "strict": False}
    ours, theirs = of_both(lambda *where: stopped(*where, [3.0, 4.0, 2.0], arguments, check_val_every_n_epoch=2))
    assert ours == (6, 12, str(("NOT_STOPPED", 0, 0, 2.0)))
    assert theirs[0] < 6


def test_a_key_that_nobody_logs():
    run = trainer(callbacks=EarlyStopping("acc"), max_epochs=2)
    module = net(pl, scores=[1.0])
    with pytest.raises(ValueError, match=r"EarlyStopping: it monitors 'acc', but logged so far are \['score'\]\. Log it"):
        run.fit(module, loader(16, 8), loader(8, 8))
    run = trainer(callbacks=EarlyStopping("acc", strict=False), max_epochs=2)
    run.fit(module, loader(16, 8), loader(8, 8))
    assert run.current_epoch == 2


def test_what_is_no_number_cannot_be_monitored():
    class Matrix(Model):
        def on_train_epoch_end(self):
            self.trainer.logbook._callback["matrix"] = torch.ones(2, 2)
            self.trainer.logbook._fresh["matrix"] = (0, 2)

    with pytest.raises(ValueError, match=r"(?s)EarlyStopping: 'matrix' is .*one number is needed"):
        trainer(callbacks=EarlyStopping("matrix")).fit(Matrix(), loader(16, 8))


@pytest.mark.parametrize(
    ("arguments", "words"), [({"mode": "least"}, "mode"), ({"patience": -1}, "patience"), ({"min_delta": -0.1}, "min_delta")]
)
def test_arguments_of_early_stopping(arguments, words):
    with pytest.raises(ValueError, match=words):
        EarlyStopping("score", **arguments)


def test_it_says_what_it_finds(capsys):
    run = trainer(callbacks=EarlyStopping("score", verbose=True, patience=1), max_epochs=4)
    run.fit(net(pl, scores=[3.0, 2.0, 2.0]), loader(16, 8), loader(8, 8))
    assert capsys.readouterr().out.splitlines() == [
        "EarlyStopping: score = 3.000 is the best so far.",
        "EarlyStopping: score = 2.000, before 3.000.",
        "EarlyStopping: score did not get better than 2.000 in the last 1 checks.",
    ]


def test_a_run_that_goes_on_counts_on(tmp_path):
    scores = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5]

    def run(scores, path=None, patience=3):
        checkpoints, stops = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1), EarlyStopping("score", patience=patience)
        run = trainer(callbacks=[checkpoints, stops], max_epochs=9, enable_checkpointing=True)
        run.fit(net(pl, scores=scores), loader(16, 8), loader(8, 8), ckpt_path=path)
        return run.current_epoch, stops.wait_count, float(stops.best_score)

    assert run(scores) == (5, 3, 2.0)
    assert run(scores[3:], tmp_path / "epoch=2.ckpt") == (5, 3, 2.0)
    with pytest.warns(UserWarning, match=r"a run that had ended.*did not get better than 2\.000.*Raise patience"):
        assert run(scores[5:], tmp_path / "epoch=4.ckpt") == (5, 3, 2.0)
    assert run(scores[5:], tmp_path / "epoch=4.ckpt", patience=4) == (6, 4, 2.0)


class Ranked(Model):
    """Each rank has a score of its own."""

    def on_validation_epoch_end(self):
        self.log("mine", float(self.current_epoch) * (-1 if self.global_rank else 1), sync_dist=False)
        if self.global_rank == 0:
            self.log("first", 1.0, rank_zero_only=True)

    def validation_step(self, batch, batch_idx):
        pass


def on_two(rank, size, monitor):
    with rank_environment(rank, size):
        stops = EarlyStopping(monitor, patience=2)
        run = ddp_trainer(size, max_epochs=5, callbacks=stops)
        run.fit(Ranked(), loader(16, 4), loader(8, 4))
        return run.current_epoch, stops.wait_count, float(stops.best_score)


@pytest.mark.parametrize(("monitor", "best"), [("mine", 0.0), ("first", 1.0)])
def test_ranks_stop_by_the_first_ones_value(pair, monitor, best):
    assert pair.run(on_two, monitor) == [(3, 2, best)] * 2
