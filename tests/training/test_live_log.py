"""Numbers and pictures of a training reach the programs that people look at, and change nothing in it."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from flowkit import training, zoo
from flowkit.training import Log
from flowkit.training.log import TARGETS
from flowkit.training.pictures import histogram_picture

pytestmark = pytest.mark.one_engine

IMAGES = np.random.default_rng(0).integers(0, 17, (32, 4, 4, 1), dtype="uint8")


def fit(*logs, epochs=2, initial_epoch=0):
    keras.utils.set_random_seed(0)
    flow = zoo.glow(levels=1, steps=1, width=4, data_levels=17)
    flow.compile(keras.optimizers.Adam(1e-3, use_ema=True))
    flow.fit(
        IMAGES,
        batch_size=8,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        callbacks=list(logs),
    )
    return flow


def log(to, folder):
    told = {"samples": 4, "levels": 17, "temperature": 0.5, "latents": IMAGES[:8], "config": {"width": 4}}
    return Log(to, folder, batch_size=8, **told)


class Kept:
    """A target that keeps what it receives."""

    def __init__(self):
        self.told = []

    def scalars(self, step, values):
        self.told.append(("scalars", step, values))

    def image(self, step, name, array):
        self.told.append((name, step, array))

    histogram = image

    def close(self):
        self.told.append(("closed", None, None))


def test_what_is_told_after_each_epoch_and_that_training_does_not_feel_it(tmp_path):
    target = Kept()
    flow = fit(log(target, tmp_path))
    assert [name for name, *_ in target.told] == ["samples", "latents", "scalars"] * 2 + ["closed"]
    values = target.told[2][2]
    assert values.keys() == {
        *("loss", "nll", "bits_per_dim", "learning_rate"),
        *("images_per_second", "latents_mean", "latents_deviation"),
    }
    assert values["images_per_second"] > 0
    assert target.told[0][2].dtype == np.uint8
    assert target.told[1][2].shape == (8 * 16,)
    for mine, other in zip(flow.get_weights(), fit().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_of_several_processes_the_main_one_writes(tmp_path, monkeypatch):
    fit(log("csv", tmp_path / "main"))
    rows = training.read_log(tmp_path / "main/scalars.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"nll", "images_per_second", "latents_deviation"} < rows[0].keys()
    monkeypatch.setattr("flowkit.training.log.distributed.is_main", lambda: False)
    fit(log("csv", tmp_path / "other"))
    assert [path.name for path in tmp_path.iterdir()] == ["main"]


def test_tensorboard_reads_back_numbers_samples_and_latents(tmp_path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit(log("tensorboard", tmp_path), epochs=2)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"loss", "bits_per_dim", "images_per_second"} < set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("bits_per_dim")] == [1, 2]
    assert [event.step for event in events.Images("samples")] == [1, 2]
    assert events.Images("samples")[0].encoded_image_string.startswith(b"\x89PNG")
    assert events.Histograms("latents")[0].histogram_value.num == 8 * 16


@pytest.mark.long
def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    fit(log("wandb", tmp_path), epochs=1)
    name = (tmp_path / "run").read_text()
    (kept,) = tmp_path.glob(f"wandb/offline-run-*-{name}")
    end = time.monotonic() + 300  # W&B's own process may still write when the run is finished
    awaited = {b"bits_per_dim", b"images_per_second", b"latents", b"width"}
    while awaited and time.monotonic() < end:
        told = (kept / f"run-{name}.wandb").read_bytes()
        awaited = {key for key in awaited if key not in told}
        time.sleep(0.1)
    assert not awaited
    assert [path.suffix for path in kept.glob("files/media/images/samples*")] == [".png"]
    resumed = TARGETS["wandb"](tmp_path, 1, {})  # of a run that goes on after its first epoch
    resumed.scalars(2, {"bits_per_dim": 2.0})
    resumed.close()
    assert (tmp_path / "run").read_text() == name


@pytest.mark.long
def test_mlflow_on_sqlite_goes_on_with_the_same_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    fit(log("mlflow", tmp_path), epochs=1)
    fit(log("mlflow", tmp_path), epochs=2, initial_epoch=1)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("flowkit").experiment_id])
    assert run.data.params == {"width": "4"}
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "bits_per_dim")] == [1, 2]
    assert [path.path for path in client.list_artifacts(run.info.run_id)] == ["images"]
    pictures = [path.path for path in client.list_artifacts(run.info.run_id, "images")]
    for name in ("samples", "latents"):
        assert (
            len([path for path in pictures if path.startswith(f"images/{name}") and path.endswith(".png")])
            == 2
        )


def test_a_histogram_is_drawn_where_its_values_are():
    """Bars of most pixels at the middle of normal values, whatever one of them is; of one value alone a bar."""
    values = np.random.default_rng(0).normal(3.0, 2.0, 5000)
    values[0] = 1e6
    picture = histogram_picture(values, "latents")
    assert (picture.shape, picture.dtype) == ((320, 480, 3), np.uint8)
    blue = ((picture[..., 2] > 150) & (picture[..., 0] < 100)).sum(axis=0)
    (columns,) = np.nonzero(blue)
    assert blue[columns].argmax() == pytest.approx(len(columns) / 2, rel=0.25)
    assert blue[columns].max() > 4 * blue[columns][[5, -5]].max()
    assert (histogram_picture(np.zeros(9), "z") != histogram_picture(np.ones(9), "z")).any()


COMMAND = """
import json, sys
from flowkit.app import main
code = main(["train", "glow/digits", "--out", sys.argv[1], "--log", "csv", *sys.argv[2:], "--epochs", "1",
             "--set", "data.limit=64", "--set", "data.validation=0", "--set", "training.early_stopping=0",
             "--set", "model.steps=1", "--set", "training.adapt_batch=64"])
print(json.dumps([code, "tensorflow" in sys.modules]))
"""


@pytest.mark.long
def test_the_command_logs_and_imports_no_tensorflow(tmp_path):
    more = ["--log", "tensorboard"] if importlib.util.find_spec("tensorboardX") else []
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(tmp_path / "run"), *more],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, False], done.stderr
    assert (tmp_path / "run/logs/csv/scalars.csv").is_file()
    assert len(list((tmp_path / "run/logs").glob("tensorboard/events*"))) == len(more) // 2


def test_a_name_that_is_none_and_a_missing_package_are_told_before_training(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Log's to: got 'tensorbord', expected one of 'tensorboard'"):
        Log("tensorbord", tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="tensorboardX"):
        Log("tensorboard", tmp_path)
