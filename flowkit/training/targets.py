"""Where numbers and pictures of a training go: programs that people look at, each by its own package.

A target has `scalars(step, values)`, `image(step, name, array)`, `histogram(step, name, values)` and `close()`. Steps
are epochs, from 1. It is opened with the number of epochs that are done already: what it knows of later ones, of a run
that was killed, is put right if its program can do that.
"""

import csv
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flowkit.training.atomic import atomic_path
from flowkit.training.histogram import histogram_picture
from flowkit.training.log import read_log

_PROJECT = "flowkit"


class Target(Protocol):
    """What `Log` writes to: one of `TARGETS`, or an object of yours."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...

    def image(self, step: int, name: str, array: np.ndarray) -> None: ...

    def histogram(self, step: int, name: str, values: np.ndarray) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `folder`, for `tensorboard --logdir`. Written by tensorboardX, which needs no TensorFlow."""

    package, install = "tensorboardX", "tensorboardX"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        library = importlib.import_module(self.package)
        self._writer = library.SummaryWriter(str(folder), purge_step=done + 1 if done else None)

    def scalars(self, step, values):
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def image(self, step, name, array):
        self._writer.add_image(name, array, step, dataformats="HW" if array.ndim == 2 else "HWC")

    def histogram(self, step, name, values):
        self._writer.add_histogram(name, values, step)

    def close(self):
        self._writer.close()


class Wandb:
    """A run of Weights & Biases. WANDB_MODE=offline, WANDB_PROJECT and so on are its own to read."""

    package, install = "wandb", "wandb"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        self._library = importlib.import_module(self.package)
        name = _remembered(folder / "run", lambda: None) if done else None  # without one wandb makes its own
        self._run = self._library.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=str(folder),
            id=name,
            resume="allow",
            config=dict(config),
        )
        (folder / "run").write_text(self._run.id)

    def scalars(self, step, values):
        self._run.log(dict(values), step=step)

    def image(self, step, name, array):
        self._run.log({name: self._library.Image(array)}, step=step)

    def histogram(self, step, name, values):
        self._run.log({name: self._library.Histogram(np.asarray(values).ravel())}, step=step)

    def close(self):
        self._run.finish()


class MLflow:
    """A run of MLflow: where MLFLOW_TRACKING_URI says, else in `folder`/mlflow.db.

    It knows no histograms, and is given a picture of each.
    """

    package, install = "mlflow", "mlflow-skinny sqlalchemy alembic"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        client = importlib.import_module(self.package).MlflowClient
        own = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = client(os.environ.get("MLFLOW_TRACKING_URI", own))
        experiment = self._client.get_experiment_by_name(_PROJECT)
        where = experiment and experiment.experiment_id
        # Otherwise pictures would go to the folder that the command was called in.
        where = where or self._client.create_experiment(_PROJECT, (folder / "artifacts").resolve().as_uri())

        def begin():
            return self._client.create_run(where).info.run_id

        self._run = _remembered(folder / "run", begin) if done else begin()
        (folder / "run").write_text(self._run)
        if not done:
            for name, value in config.items():
                self._client.log_param(self._run, name, value)

    def scalars(self, step, values):
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def image(self, step, name, array):
        self._client.log_image(self._run, array, key=name, step=step)

    def histogram(self, step, name, values):
        self.image(step, name, histogram_picture(values, name))

    def close(self):
        self._client.set_terminated(self._run)


class CSV:
    """`folder`/scalars.csv, a row for each epoch: the numbers alone."""

    package, install = "csv", ""

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        self._path = folder / "scalars.csv"
        self._rows: list[dict[str, float]] = [row for row in read_log(self._path) if row["epoch"] <= done]

    def scalars(self, step, values):
        self._rows.append({"epoch": step, **values})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with (
            atomic_path(self._path) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)

    def image(self, step, name, array):
        pass

    def histogram(self, step, name, values):
        pass

    def close(self):
        pass


TARGETS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow, "csv": CSV}


def require(name: str) -> None:
    """Raise ImportError, with what to install, if the package that a target is written by is missing."""
    target = TARGETS[name]
    try:
        importlib.import_module(target.package)
    except ModuleNotFoundError as error:
        if error.name != target.package:
            raise
        raise ImportError(
            f"log {name!r} expects the package {target.package}: pip install {target.install}."
        ) from None


def _remembered(path, make):
    """The program's own name of a run, kept in a file so that a run that goes on is the same one there."""
    return path.read_text() if path.is_file() else make()
