"""A training's numbers and pictures in the programs that people look at: TensorBoard, W&B, MLflow."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from flowkit import distributed
from flowkit.contract.arguments import one_of, whole_number
from flowkit.contract.one_line import one_line
from flowkit.training.averaging import averaged_weights
from flowkit.training.pictures import check_look, sample_grid
from flowkit.training.targets import TARGETS, Target, require


class Log(keras.callbacks.Callback):
    """After each epoch: what was logged, learning rate, speed, a grid of samples, a histogram of latents.

    Samples and latents are of the averaged weights if the optimizer keeps them, and are drawn from a seed of their own:
    training with it and without it comes to the same weights bit for bit. TensorFlow is not imported. In a group of
    processes (`flowkit.distributed`) all have this callback, and the main one writes.

    Args:
        to: "tensorboard" (needs tensorboardX), "wandb", "mlflow" or "csv"; or an object with the four methods of
            `flowkit.training.targets.Target`.
        folder: where its files go; made if it is missing.
        batch_size: of `fit`; with it speed is told in images (rows) per second, else in steps.
        of: "images" or "rows".
        samples: how many samples make the grid, 0 for none; `classes`, `temperature`, `levels` as for `sample_grid`.
        latents: some data (a few hundred rows) whose latents make the histogram, with their `context`; None for none.
        config: names and values that the program shows as the settings of the run.

    Raises ValueError for a name that is none of these, and ImportError, which says what to install, if its package is
    missing.

    >>> import tempfile
    >>> Log("csv", tempfile.mkdtemp(), samples=16)  # doctest: +ELLIPSIS
    Log('csv', ..., samples=16)
    """

    _kept_as: ClassVar = {"samples": "_samples", "latents": "_latents"}
    __repr__ = one_line

    def __init__(
        self,
        to: str | Target,
        folder: str | Path,
        *,
        batch_size: int | None = None,
        of: str = "images",
        samples: int = 0,
        classes: int | None = None,
        temperature: float = 1.0,
        levels: int = 256,
        latents: Any = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(to, str):
            one_of("Log's to", to, tuple(TARGETS))
            require(to)
        self.to, self.folder = to, Path(folder)
        self.of = one_of("Log's of", of, ("images", "rows"))
        self.batch_size = None if batch_size is None else whole_number(batch_size, "batch_size", least=1)
        self._samples = whole_number(samples, "samples", least=0)
        check_look(classes, temperature, levels)
        self._how: dict[str, Any] = {"classes": classes, "temperature": temperature, "levels": levels}
        self._latents, self._context = latents, context
        self._config = dict(config or {})
        self._target: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._target is None:  # now it is known how many epochs are done
            if not distributed.is_main():
                self._target = _Nobody()
            elif isinstance(self.to, str):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._target = TARGETS[self.to](self.folder, epoch, self._config)
            else:
                self._target = self.to
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = max(time.monotonic() - self._clock, 1e-9)
        values = {name: float(value) for name, value in (logs or {}).items()}
        values.setdefault("learning_rate", float(ops.convert_to_numpy(self.model.optimizer.learning_rate)))
        if steps := self.params.get("steps"):  # a generator does not say how many there are
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
                values["latents_mean"] = float(z.mean()) if z.size else math.nan
                values["latents_deviation"] = float(z.std()) if z.size else math.nan
                if z.size:
                    self._target.histogram(step, "latents", z)
        self._target.scalars(step, values)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Finish what the program was told, also if training ended with an error."""
        target, self._target = self._target, None
        if target is not None:
            target.close()


class _Nobody:
    """What the other processes of a group write to. They draw all the same: on JAX all run one program."""

    def scalars(self, *told):
        pass

    image = histogram = scalars

    def close(self):
        pass
