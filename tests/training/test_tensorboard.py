"""TensorBoardLogger, read back by TensorBoard's own reader."""

from __future__ import annotations

import io
import pickle
import sys
import threading

import fsspec
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from epochal.training import storage
from epochal.training.loggers import CSVLogger, TensorBoardLogger
from epochal.training.loggers.mirror import Mirror


def read(logger: TensorBoardLogger) -> EventAccumulator:
    return EventAccumulator(logger.log_dir, size_guidance={"scalars": 0, "images": 0}).Reload()


def scalars(logger: TensorBoardLogger, key: str) -> list[tuple[int, float]]:
    """In the order of writing: files that began in one second are read by their names, the tenth before the ninth."""
    return [(event.step, event.value) for event in sorted(read(logger).Scalars(key), key=lambda event: event.wall_time)]


@pytest.mark.parametrize("remote", [False, True])
def test_scalars_are_read_back(tmp_path, remote):
    logger = TensorBoardLogger("memory://boards" if remote else tmp_path, prefix="p")
    for step in range(3):
        logger.log_metrics({"loss": 0.5 * step, "epoch": 0}, step * 10)
    logger.log_metrics({"both": {"a": 1.0, "b": 2.0}})
    logger.finalize("success")
    assert scalars(logger, "p-loss") == [(0, 0.0), (10, 0.5), (20, 1.0)]
    assert scalars(logger, "p-epoch")[-1] == (20, 0.0)
    logger.log_metrics({"loss": 7.0}, 30)  # another verb of the same run
    logger.finalize("success")
    assert scalars(logger, "p-loss")[-1] == (30, 7.0)


def test_rows_are_readable_once_saved(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 4)
    logger.save()
    assert scalars(logger, "loss") == [(4, 1.0)]
    logger.finalize("failed")


def test_what_a_user_writes_is_on_the_disk_at_once(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 0)
    logger.experiment.add_scalar("mine", 2.0, 0)
    assert [scalars(logger, "a"), scalars(logger, "mine")] == [[(0, 1.0)], [(0, 2.0)]]
    logger.experiment.close()
    logger.log_metrics({"a": 3.0}, 1)
    logger.save()
    assert scalars(logger, "a") == [(0, 1.0), (1, 3.0)]


def test_rows_of_other_keys_and_of_none(tmp_path):
    logger = TensorBoardLogger(tmp_path, prefix="p")
    logger.log_rows([({"a": 1.0, "b": 2.0}, 0), ({}, 1), ({"a": 3.0}, 2), ({"a": 4.0, "b": 5.0}, 3)])
    logger.save()
    assert scalars(logger, "p-a") == [(0, 1.0), (2, 3.0), (3, 4.0)]
    assert scalars(logger, "p-b") == [(0, 2.0), (3, 5.0)]


def test_rows_of_two_threads_keep_their_numbers(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    file = logger.experiment._get_file_writer()
    add_event, others = file.add_event, []

    def interrupted(event, step):
        if not others:
            others.append(threading.Thread(target=logger.log_metrics, args=({"a": 2.0}, 1)))
            others[0].start()
            others[0].join(0.1)
        add_event(event, step)

    file.add_event = interrupted
    logger.log_metrics({"a": 1.0}, 0)
    others[0].join()
    logger.save()
    assert scalars(logger, "a") == [(0, 1.0), (1, 2.0)]


def test_folders_and_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    for expected in range(2):
        logger = TensorBoardLogger("$SOMEWHERE", name="x", sub_dir="part")
        assert (logger.name, logger.version, logger.save_dir, logger.sub_dir) == ("x", expected, "$SOMEWHERE", "part")
        assert logger.root_dir == str(tmp_path / "x")
        logger.log_metrics({"a": 1.0}, 0)
        copy = pickle.loads(pickle.dumps(logger))
        assert copy.log_dir == logger.log_dir == str(tmp_path / f"x/version_{expected}/part")
        logger.finalize("success")
    assert TensorBoardLogger(tmp_path, None, "mine").log_dir == str(tmp_path / "mine")


def test_a_figure_becomes_an_image(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    figure = Figure(figsize=(2, 1), dpi=50, facecolor=(1.0, 0.0, 0.0))
    logger.log_figure("matrix", figure, 3)
    logger.finalize("success")
    (event,) = read(logger).Images("matrix")
    assert (event.step, event.width, event.height) == (3, 100, 50)
    pixels = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert (pixels == [255, 0, 0]).all()


def hyperparameters(logger: TensorBoardLogger) -> dict[str, object]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = read(logger).PluginTagToContent("hparams")
    started = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info.hparams
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in started.items()}


def test_hyperparameters_stand_in_the_table_of_runs(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.log_hyperparams({"lr": 0.1, "net": {"width": 3, "act": torch.relu}, "bias": True})
    logger.finalize("success")
    found = hyperparameters(logger)
    assert (found["lr"], found["net/width"], found["bias"]) == (0.1, 3, True)
    assert "relu" in str(found["net/act"])
    assert scalars(logger, "hp_metric") == [(0, -1.0)]
    text = (tmp_path / "lightning_logs/version_0/hparams.yaml").read_text()
    assert text.startswith('bias: true\nlr: 0.1\nnet: {"width": 3')


def test_hyperparameters_are_read_back_from_their_file(tmp_path):
    floats = {"lr": 1e-5, "betas": [1.5e-7, 1e22, -float("inf")], "nested": {"eps": 1e-8, 3: 0.5}}
    others = {"none": None, "yes": True, "n": 2**70, "text": 'a: "b"\n# é 🚀', "a: b": 1, "-": {}}
    shown = {"tuples": {(1, 2): 3, torch.float32: torch.nn.ReLU()}}
    for logger in (CSVLogger(tmp_path), TensorBoardLogger(tmp_path)):
        logger.log_hyperparams({**floats, **others, **shown})
        logger.finalize("success")
        found = storage.read_table(f"{logger.log_dir}/hparams.yaml")
        assert found == {**floats, **others, "tuples": {"(1, 2)": 3, "torch.float32": "ReLU()"}}


def test_a_metric_of_the_hyperparameters_is_the_users(tmp_path):
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    assert "hparams" not in read(logger).summary_metadata
    assert read(logger).Tags()["scalars"] == ["a"]
    logger.log_hyperparams({"lr": 0.1}, {"best": 0.9}, 5)
    logger.log_hyperparams({"lr": 0.1}, 0.5)
    logger.finalize("success")
    assert hyperparameters(logger) == {"lr": 0.1}
    assert scalars(logger, "best") == [(5, pytest.approx(0.9))]
    assert scalars(logger, "hp_metric") == [(0, 0.5)]


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"TensorBoardLogger: .* pip install epochal\[tensorboard\]"):
        TensorBoardLogger(tmp_path).log_metrics({"a": 1.0}, 0)


@pytest.mark.filterwarnings("ignore")  # of the tracer in torch
def test_a_graph_where_it_is_asked_for(tmp_path):
    for wanted in (True, False):
        logger = TensorBoardLogger(tmp_path, version=f"{wanted}", log_graph=wanted)
        logger.log_graph(torch.nn.Linear(4, 3), torch.zeros(1, 4))
        logger.log_metrics({"a": 1.0}, 0)
        logger.finalize("success")
        assert read(logger).Tags()["graph"] == wanted


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
@pytest.mark.parametrize("value", ["text", torch.ones(2), None])
def test_what_is_no_number_is_named(tmp_path, kind, value):
    with pytest.raises(TypeError, match=f"{kind.__name__}: the value of 'a' is a {type(value).__name__}, but a number or"):
        kind(tmp_path).log_metrics({"a": value}, 0)


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
@pytest.mark.parametrize("name", ["", None])
def test_without_a_name_versions_stand_in_the_folder(tmp_path, kind, name):
    for expected in range(2):
        logger = kind(tmp_path, name)
        logger.log_hyperparams({"a": 1})
        assert (logger.name, logger.root_dir, logger.log_dir) == ("", str(tmp_path), str(tmp_path / f"version_{expected}"))
        logger.finalize("success")
        assert (tmp_path / f"version_{expected}/hparams.yaml").read_text() == "a: 1\n"
    (tmp_path / "version_mine").mkdir()
    assert kind(tmp_path, name).version == 2
    assert kind(tmp_path, name, "mine").log_dir == str(tmp_path / "mine")
    assert kind(tmp_path, name, 7).log_dir == str(tmp_path / "version_7")


def test_arguments_of_the_writer_are_passed_on(tmp_path):
    logger = TensorBoardLogger(tmp_path, filename_suffix=".mine", max_queue=1)
    logger.log_metrics({"a": 1.0}, 0)
    logger.finalize("success")
    (path,) = (tmp_path / "lightning_logs/version_0").iterdir()
    assert path.name.endswith(".mine")


@pytest.mark.parametrize("prefix", ["", "p"])
def test_a_prefix_stands_before_each_key(tmp_path, prefix):
    logger = TensorBoardLogger(tmp_path, prefix=prefix)
    logger.log_metrics({"loss": 1.0, "both": {"a": 2.0}}, 0)
    logger.log_figure("matrix", Figure(figsize=(1, 1)), 0)
    logger.log_hyperparams({"lr": 0.1}, {"best": 1.0})
    logger.finalize("success")
    before = prefix and prefix + "-"
    tags = read(logger).Tags()
    assert set(tags["scalars"]) == {f"{before}loss", f"{before}best"}
    assert tags["images"] == [f"{before}matrix"]
    assert hyperparameters(logger) == {"lr": 0.1}


def test_a_large_remote_file_gives_way_to_another(monkeypatch):
    """Whoever kept the writer goes on writing with it."""
    monkeypatch.setattr(Mirror, "LARGE", 2000)
    logger = TensorBoardLogger("memory://large")
    kept = logger.experiment
    for step in range(200):
        logger.log_metrics({"loss": 0.5 * step}, step)
        kept.add_scalar("kept", 2.0 * step, step)
        if step % 10 == 9:
            logger.save()
    logger.finalize("success")
    files = fsspec.filesystem("memory").ls("/large/lightning_logs/version_0")
    assert len(files) > 3
    assert max(file["size"] for file in files) < 4000
    assert scalars(logger, "loss") == [(step, 0.5 * step) for step in range(200)]
    assert sorted(scalars(logger, "kept")) == [(step, 2.0 * step) for step in range(200)]
