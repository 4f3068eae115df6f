"""Stop a training at any moment and go on, bit for bit, from a file that is always whole."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from flowkit import distributed
from flowkit.contract.arguments import Positive, Seed
from flowkit.contract.configured import Configured
from flowkit.data import Batches
from flowkit.engines import engine
from flowkit.training import checkpoint
from flowkit.training.atomic import remove_leftovers
from flowkit.training.checkpoint import CheckpointError, place

_ASKED = 8  # steps after which the processes of a group ask each other, which takes a moment of each


class TrainingStopped(RuntimeError):
    """Training was asked to stop, and did so behind a checkpoint at `place`."""

    def __init__(self, epochs: int, step: int) -> None:
        self.place = place(epochs, step)
        super().__init__(f"training stopped {self.place}, and can go on from there")


class Resume(Configured, keras.callbacks.Callback):
    """state(step t) = load(save(state(step t))), bit for bit: as if training had never stopped.

    At the end of each epoch it writes all variables of the model (weights and seed states), all of the optimizer
    (moments, averages, iterations), the number of epochs done, and what the listed `callbacks` remember, to one .npz
    file, which replaces the one before in a single step. The one before is kept as `<name>.previous.npz`, in case
    the newest is damaged.

    With `batches`, it also writes within an epoch: after every `minutes`, and if `stop` returns True; the running means
    of the epoch are part of the file. Train by `load`, then `fit`.

    Without `batches`, put it last in the list of callbacks, since others forget their state when training begins, and
    feed data whose order depends on the seed and the epoch alone, with `shuffle=False`. Same backend, machine and
    number of threads: same bits.

    Args:
        path: the .npz file.
        callbacks: those whose memory is part of the file (`Validation`, `EarlyStopping`, `ReduceLROnPlateau`).
        data_seed: the seed of the data's order; a checkpoint with another one is refused.
        writer: True if this process writes; None writes in the main process of a group (`flowkit.distributed`).
        batches: `flowkit.data.batches(...)`, which `load` sets to the place of the checkpoint.
        minutes: the time between two checkpoints within an epoch; None writes none.
        stop: a function, called after each step, that returns True to end training with `TrainingStopped`.

    Raises:
        CheckpointError: from `load`, one line, if the checkpoint belongs to another model, optimizer, backend or data
            seed, to other data (of `batches`), or neither it nor the previous one can be read. The model is then
            unchanged.

    Example:
        >>> import flowkit, tempfile, numpy as np
        >>> def train(epochs):
        ...     flow = flowkit.Flow(flowkit.bijectors.ActNorm())
        ...     flow.build((None, 2))
        ...     flow.compile("adam")
        ...     ordered = flowkit.data.batches(np.eye(8, 2, dtype="float32"), batch_size=8)
        ...     resume = Resume(folder + "/checkpoint.npz", batches=ordered, minutes=10)
        ...     start = resume.load(flow)
        ...     resume.fit(flow, epochs)
        ...     return start
        >>> folder = tempfile.mkdtemp()
        >>> train(epochs=2), train(epochs=5), train(epochs=5)
        (0, 2, 5)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        data_seed: Seed | None = None,
        writer: bool | None = None,
        batches: Batches | None = None,
        minutes: Positive | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        if batches is None and not (minutes is None and stop is None):
            raise ValueError("batches: got None, expected data.batches(...) to stop or go on in an epoch.")
        self.callbacks = list(callbacks)
        self._writes = distributed.is_main() if writer is None else writer
        self.data_seed, self.batches, self.minutes, self.stop = data_seed, batches, minutes, stop
        self.epochs_done = 0
        self._others: list[keras.callbacks.Callback] = []
        self._until: int | None = None
        self._loaded: tuple[checkpoint.Arrays, checkpoint.Meta] | None = None

    def load(self, model: keras.Model) -> int:
        """Restore `model`, built and compiled, and return the number of epochs done.

        Without a checkpoint, build the optimizer and return 0. If the newest one is damaged, warn and use the
        previous one. In a group of processes all of them call it.
        """
        self._loaded = None
        distributed.barrier()  # the main process may still be writing
        # Build the optimizer without a checkpoint too: TensorFlow sums a gradient in another order if the training step
        # creates its variables, and a resumed run would differ in the last bit.
        variables = checkpoint.variables(model)
        found = checkpoint.newest_whole(self.path)
        epochs = step = 0
        if found is not None:
            arrays, meta = found
            name, epochs, step = self.path.name, meta["epoch"], meta["step"]
            checkpoint.check_origin(name, meta, self._described(epochs, step))
            if step and self.batches is None:
                raise CheckpointError(
                    f"{name} was written {place(epochs, step)}: pass Resume batches=flowkit.data.batches(...)"
                )
            checkpoint.assign(name, arrays, variables)
            self._loaded = {k: a for k, a in arrays.items() if k.startswith(("metric/", "best/"))}, meta
        if self.batches is not None:
            self.batches.epoch, self.batches.step = epochs, step
        self.epochs_done = epochs
        return epochs

    def fit(
        self, model: keras.Model, epochs: int, callbacks: Sequence[keras.callbacks.Callback] = ()
    ) -> None:
        """Call `model.fit` on `batches`, from the place of the checkpoint, until `epochs` are done.

        If a callback had ended training before (`Validation`, `EarlyStopping`), no epoch follows.

        `callbacks` come before this one. Those with `so_far()`, which returns a dict of what they know of an epoch that
        is not over, get it back by `go_on(dict)` if training goes on within one.
        """
        self._others, self._until = list(callbacks), epochs
        if self.batches.step:
            # To Keras all epochs have one length: the rest of one is a `fit` of its own, and the next goes on
            # from its checkpoint.
            self._fit(model, self.epochs_done + 1)
            self.load(model)
        memories = self._loaded[1]["memory"] if self._loaded else []
        over = any(memory.get("stopped_epoch") for memory in memories)
        self._fit(model, self.epochs_done if over else epochs)

    def _fit(self, model, until):
        model.fit(
            self.batches,
            epochs=until,
            initial_epoch=self.epochs_done,
            shuffle=False,
            verbose=0,
            callbacks=[self.batches.for_fit(), *self._others, self],
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._written = time.monotonic()
        if self._until is not None:  # this `fit` may be a part of the training; all callbacks share the dict
            self.params["epochs"] = self._until
        if self._loaded is not None:
            arrays, meta = self._loaded
            checkpoint.remind(self.callbacks, arrays, meta)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        loaded, self._loaded = self._loaded, None
        if loaded is None or not loaded[1]["step"]:
            return
        arrays, meta = loaded
        checkpoint.assign_metrics(self.path.name, arrays, self.model)
        for name, callback in self._counting().items():
            if name in meta["within"]:  # not one that was added since
                callback.go_on(meta["within"][name])

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Between two steps. At the end of one, Keras on JAX would have each step wait for its numbers.
        if self.batches is None or batch == 0:
            return  # the end of an epoch writes
        step = self.batches.step + batch
        stopping, due = self._asked(step)
        if stopping or due:
            engine.settle(self.model)
            self._write(self._epoch, step)
        if stopping:
            distributed.barrier()  # a launcher ends all when one has ended
            raise TrainingStopped(self._epoch, step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._write(epoch + 1, 0)
        self.epochs_done = epoch + 1  # from which another `fit` goes on
        stopping, _ = self._asked()
        if stopping:
            distributed.barrier()
            raise TrainingStopped(epoch + 1, 0)

    def _asked(self, step=0):
        """Return (True to stop, True to write) after a step of an epoch, the same in all processes; 0 is its end."""
        alone = distributed.world() == 1
        if not alone and ((self.stop is None and self.minutes is None) or step % _ASKED):
            return False, False
        stopping = self.stop is not None and bool(self.stop())
        due = self.minutes is not None and time.monotonic() - self._written >= 60 * self.minutes
        return (stopping, due) if alone else distributed.gather(np.array([[stopping, due]])).any(axis=0)

    def _write(self, epochs, step):
        # All processes call these two, which may exchange something.
        means = checkpoint.means(self.model) if step else {}
        counting = self._counting() if step else {}
        within = {name: callback.so_far() for name, callback in counting.items()}
        if self._writes:
            arrays = checkpoint.state(self.model, self.callbacks) | means
            remove_leftovers(self.path.parent, self.path.name)
            meta = self._described(epochs, step) | {"within": within}
            checkpoint.write(self.path, arrays, meta, keep=checkpoint.previous(self.path))
        self._written = time.monotonic()

    def _described(self, epochs, step):
        data = None if self.batches is None else self.batches.fingerprint
        return checkpoint.describe(epochs, step, self.data_seed, data, self.callbacks)

    def _counting(self):
        return {type(callback).__name__: callback for callback in self._others if hasattr(callback, "so_far")}
