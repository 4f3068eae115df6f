"""Logs of a training: log.csv, and numbers and pictures in TensorBoard, W&B and MLflow."""

import csv
import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit import distributed
from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Count, whole, words
from flowkit.contract.configured import Configured
from flowkit.training.atomic import atomic_path
from flowkit.training.optimizing import averaged_weights
from flowkit.training.pictures import Levels, Temperature, histogram_picture, sample_grid

_PROJECT = "flowkit"


class CSVLog(Configured, keras.callbacks.Callback):
    """One row for each epoch: its number from 1, what was logged, learning rate and seconds.

    The file is replaced as a whole, before the epoch's checkpoint is written if this callback is before `Resume` in
    the list; in a group of processes (`flowkit.distributed`) the main one writes. When training goes on from a
    checkpoint, rows of later epochs are removed: the log is then that of a run that was never stopped.

    >>> import tempfile, flowkit, numpy as np
    >>> path = tempfile.mkdtemp() + "/log.csv"
    >>> flow = flowkit.Flow(flowkit.bijectors.ActNorm())
    >>> flow.compile("adam")
    >>> history = flow.fit(np.eye(64, 2), epochs=2, verbose=0, callbacks=[CSVLog(path)])
    >>> [int(row["epoch"]) for row in read_log(path)]
    [1, 2]
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._target: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._target is None:  # now it is known how many epochs are done
            main = distributed.is_main()
            self._target = CSV(self.path.parent, epoch, {}, self.path.name) if main else Target()
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = dict(logs or {})
        values.setdefault("learning_rate", _learning_rate(self.model))
        self._target.scalars(epoch + 1, values | {"seconds": round(self._seconds(), 3)})

    def so_far(self) -> dict[str, Any]:
        """Return the state within an epoch, for `Resume`."""
        return {"seconds": self._seconds()}

    def go_on(self, known: dict[str, Any]) -> None:
        """Go on within the epoch of `so_far`."""
        self._clock -= known["seconds"]

    def _seconds(self):
        return time.monotonic() - self._clock


def _learning_rate(model):
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a log as dicts of numbers, None for an empty cell; no rows if there is no file."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epoch")]
    return [{name: _number(text) for name, text in row.items()} for row in rows]


def _number(text):
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)


class Target:
    """The methods of an object that `Log` writes to. Steps are epochs, from 1.

    Those below are made with the number of epochs that are `done`: they remove later ones, of a run that was killed, if
    their program can.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Write a picture, uint8 `(H, W)` or `(H, W, 3)`."""

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Write the distribution of values."""

    def close(self) -> None:
        """Finish the run."""


class TensorBoard(Target):
    """Event files in `folder`, for `tensorboard --logdir`. Written by tensorboardX, which needs no TensorFlow."""

    package = "tensorboardX"

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


class Wandb(Target):
    """A run of Weights & Biases, which reads WANDB_MODE, WANDB_PROJECT and so on."""

    package = "wandb"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        self._library = importlib.import_module(self.package)
        self._run = self._library.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=str(folder),
            id=_name_of_the_run(folder, done),
            resume="allow",
            config=dict(config),
        )
        (folder / "run").write_text(self._run.id)

    def scalars(self, step, values):
        self._run.log(dict(values), step=step)

    def image(self, step, name, array):
        self._run.log({name: self._library.Image(array)}, step=step)

    def histogram(self, step, name, values):
        self._run.log({name: self._library.Histogram(values)}, step=step)

    def close(self):
        self._run.finish()


class MLflow(Target):
    """A run of MLflow, at MLFLOW_TRACKING_URI, else in `folder`/mlflow.db. A histogram becomes a picture."""

    package = "mlflow"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        client = importlib.import_module(self.package).MlflowClient
        own = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = client(os.environ.get("MLFLOW_TRACKING_URI", own))
        experiment = self._client.get_experiment_by_name(_PROJECT)
        where = experiment and experiment.experiment_id
        # Without a place, pictures would go to the working folder.
        where = where or self._client.create_experiment(_PROJECT, (folder / "artifacts").resolve().as_uri())
        self._run = _name_of_the_run(folder, done) or self._client.create_run(where).info.run_id
        (folder / "run").write_text(self._run)
        for name, value in {} if done else config.items():
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


class CSV(Target):
    """`folder`/scalars.csv, a row for each epoch: the numbers alone."""

    package = "csv"

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any], name: str = "scalars.csv") -> None:
        self._path = folder / name
        self._rows: list[Any] = [row for row in read_log(self._path) if row["epoch"] <= done]

    def scalars(self, step, values):
        self._rows.append({"epoch": step, **values})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with atomic_path(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


TARGETS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow, "csv": CSV}


def require(name: str) -> None:
    """Raise ImportError if the package of a target is missing."""
    importlib.import_module(TARGETS[name].package)


def _name_of_the_run(folder, done):
    """Return the program's name of a run that goes on, which a file keeps; None for a new run."""
    path = folder / "run"
    return path.read_text() if done and path.is_file() else None


class Log(Configured, keras.callbacks.Callback):
    """After each epoch: what was logged, learning rate, speed, a grid of samples, a histogram of latents.

    Samples and latents are of the averaged weights if the optimizer keeps them, and are drawn from their own seed:
    training with it and without it comes to the same weights bit for bit. TensorFlow is not imported. In a group of
    processes (`flowkit.distributed`) all have this callback, and the main one writes.

    Args:
        to: "tensorboard" (needs tensorboardX), "wandb", "mlflow" or "csv"; or an object with the four methods of
            `flowkit.training.log.Target`.
        folder: where its files go; made if it is missing.
        batch_size: of `fit`; with it speed is in images (rows) per second, else in steps.
        of: "images" or "rows".
        samples: how many samples make the grid, 0 for none; `classes`, `temperature`, `levels` as for `sample_grid`.
        latents: some data (a few hundred rows) whose latents make the histogram, with their `context`; None for none.
        config: names and values that the program shows as the settings of the run.

    Raises ValueError for another name, and ImportError if its package is missing.

    >>> import tempfile
    >>> Log("csv", tempfile.mkdtemp(), samples=16)  # doctest: +ELLIPSIS
    Log('csv', ..., samples=16)
    """

    def __init__(
        self,
        to: Annotated[str, words(*TARGETS)] | Target,
        folder: str | Path,
        *,
        batch_size: Count | None = None,
        of: Annotated[str, words("images", "rows")] = "images",
        samples: Annotated[int, whole(0)] = 0,
        classes: Count | None = None,
        temperature: Temperature = 1.0,
        levels: Levels = 256,
        latents: Tensor | None = None,
        context: Context = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(to, str):
            require(to)
        self.to, self.folder, self.of, self.batch_size = to, Path(folder), of, batch_size
        self._samples, self._latents, self._context = samples, latents, context
        self._how: dict[str, Any] = {"classes": classes, "temperature": temperature, "levels": levels}
        self._config = dict(config or {})
        self._target: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._target is None:  # now it is known how many epochs are done
            if not distributed.is_main():
                self._target = Target()  # all processes draw all the same: on JAX they run one program
            elif isinstance(self.to, str):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._target = TARGETS[self.to](self.folder, epoch, self._config)
            else:
                self._target = self.to
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = max(time.monotonic() - self._clock, 1e-9)
        values = {name: float(value) for name, value in (logs or {}).items()}
        values.setdefault("learning_rate", _learning_rate(self.model))
        if steps := self.params.get("steps"):  # None for a generator
            speed = "steps_per_second" if self.batch_size is None else f"{self.of}_per_second"
            values[speed] = steps * (self.batch_size or 1) / seconds
        step = epoch + 1
        with averaged_weights(self.model):
            if self._samples:
                grid = sample_grid(self.model, self._samples, **self._how, spread=True)
                self._target.image(step, "samples", grid)
            if self._latents is not None:
                z = np.asarray(self.model.encode(self._latents, self._context), "float32")
                z = z[np.isfinite(z)]
                if z.size:
                    values |= {"latents_mean": float(z.mean()), "latents_deviation": float(z.std())}
                    self._target.histogram(step, "latents", z)
        self._target.scalars(step, values)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Finish the run in the program, also if training ended with an error."""
        target, self._target = self._target, None
        if target is not None:
            target.close()
