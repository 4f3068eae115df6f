"""Batches whose order depends only on the seed and the epoch, so that a run can be resumed."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import tree

from flowkit import distributed
from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Count, Seed, whole_number
from flowkit.contract.configured import Configured
from flowkit.data.dataset import as_rows, fingerprint


class Batches(Configured, keras.utils.PyDataset):
    """Batches of `x` for `fit`, shuffled anew in each epoch in an order fixed by `seed`. `batches` is the same class.

    A `keras.utils.PyDataset` of `({"x": ..., "context": ...},)`, or of `(x,)` without a context; with weights
    `(..., zeros, weights)`, since Keras drops weights without a target. Batch `index` of epoch
    `epoch` is a pure function of the two and the seed.

    `Flow.fit` and `Resume.fit` take these batches as they are. Other Keras models need `fit(..., shuffle=False)`, since
    Keras would reorder the batches by Python's global `random`, and the callback `for_fit()`.

    Args:
        x: array of `n` events: images `(n, height, width, channels)`, tables `(n, columns)`. Rows of an `np.memmap`,
            and of `LazyImages` of `load(..., in_memory=False)`, are read with their batch.
        context: array of `n` contexts, or a dict of such arrays.
        batch_size: events per batch. The last, smaller batch is left out; its events change
            with each pass over the data. In a group of processes (`flowkit.distributed`) it is the batch of all,
            and each process reads its rows of it.
        epoch_steps: batches in an epoch; None is one pass over the data. With another number, epochs
            follow one another through the passes without a gap.
        seed: a whole number from 0 up.
        sample_weight: array of `n` numbers, by which the losses of events count.
        augment: `f(batch_of_x, rng)`, such as `flowkit.data.augment.flip()`, or a list of them.

    Attributes:
        epoch: the epoch that indexing refers to. Each epoch of `fit` moves it on by one, and so
            does `evaluate`; set it to resume: to `k` when `k` epochs are done.
        step: the batches of that epoch that are done already: indexing and `len` count the rest. It is 0
            again in the next epoch, so one `fit` goes to the end of this one (see `flowkit.training.Resume`).
        processes, rank: the number of processes that share a batch, and the place of this one among them.

    Raises ValueError if counts do not fit or a number is out of range.

    >>> data = batches(np.arange(6), batch_size=3, seed=1)
    >>> [batch.tolist() for (batch,) in data]
    [[4, 0, 2], [1, 5, 3]]
    >>> data.epoch = 1
    >>> [batch.tolist() for (batch,) in data]
    [[1, 4, 0], [3, 2, 5]]
    """

    def __init__(
        self,
        x: Tensor,
        context: Context = None,
        *,
        batch_size: Count,
        epoch_steps: Count | None = None,
        seed: Seed = 0,
        sample_weight: np.ndarray | None = None,
        augment: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
    ) -> None:
        # One worker: with more, Keras 3.15 carries batches left in its queue into the next epoch.
        super().__init__(workers=1, use_multiprocessing=False)
        self.x = as_rows(x)
        count = len(self.x) if self.x.ndim else 0
        if isinstance(context, dict):
            self.context = {name: np.asarray(array) for name, array in context.items()}
        else:
            self.context = None if context is None else np.asarray(context)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight, "float32")
        beside = {"context": self.context, "sample_weight": self.sample_weight}
        for name, array in [(name, array) for name, nest in beside.items() for array in tree.flatten(nest)]:
            if array is not None and (array.ndim == 0 or len(array) != count):
                raise ValueError(
                    f"{name}: got shape {array.shape}, expected one per event, {count} in all. Check that x and "
                    f"{name} come from the same split."
                )
        self.batch_size, self.epoch_steps, self.seed = batch_size, epoch_steps, seed
        self.processes, self.rank = distributed.world(), distributed.rank()
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size: got {batch_size}, expected a multiple of the {self.processes} processes that share a "
                f"batch. The next is {-(-self.batch_size // self.processes) * self.processes}."
            )
        if self.batch_size > count:
            raise ValueError(
                f"batch_size: got {batch_size}, expected at most {count}, the number of events. Lower it: a batch that "
                "is not full is left out."
            )
        self._pass_steps = count // self.batch_size
        self._augment = list(augment or []) if isinstance(augment, list | tuple | None) else [augment]
        self.epoch = 0
        self._order = (None, None)
        self._in_epoch = False

    @cached_property
    def fingerprint(self) -> str:
        """Return letters that are equal for the same events and contexts in the same order."""
        beside = tree.flatten((self.context, self.sample_weight))
        return fingerprint(self.x, *(array for array in beside if array is not None))

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number(epoch, "epoch", least=0)
        self._step = 0

    @property
    def step(self) -> int:
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = whole_number(step, "step", least=0, most=self._whole_epoch - 1)

    @property
    def _whole_epoch(self):
        return self.epoch_steps or self._pass_steps

    def __len__(self) -> int:
        return self._whole_epoch - self.step

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"index: got {index}, expected 0..{len(self) - 1}.")
        epoch, index = self.epoch, self.step + index
        round_, step = divmod(epoch * self._whole_epoch + index, self._pass_steps)
        share = self.batch_size // self.processes
        first = step * self.batch_size + self.rank * share
        rows = self._permutation(round_)[first : first + share]
        x = self.x[rows]
        if self._augment:
            # + 1, since NumPy seeds (seed, epoch, 0) and (seed, epoch), the permutation's, alike.
            own = (self.rank,) if self.rank else ()  # or the first rows of all processes would be moved alike
            rng = np.random.default_rng((self.seed, epoch, index + 1, *own))
            for function in self._augment:
                x = function(x, rng)
        if self.context is not None:
            x = {"x": x, "context": tree.map_structure(lambda array: array[rows], self.context)}
        if self.sample_weight is None:
            return (x,)
        return x, np.zeros(len(rows), "float32"), self.sample_weight[rows]

    def _permutation(self, round_):
        """Return the order of one pass over the data."""
        # One assignment of a pair: TensorFlow reads ahead from a thread of its own.
        known, order = self._order
        if known != round_:
            order = np.random.default_rng((self.seed, round_)).permutation(len(self.x))
            self._order = (round_, order)
        return order

    # For an unbuilt model, Keras's `fit` reads a batch between a begin and an end; `for_fit` undoes that. For a built
    # one, it calls an end without a begin.

    def on_epoch_begin(self) -> None:
        self._in_epoch = True

    def on_epoch_end(self) -> None:
        if self._in_epoch:
            self.epoch += 1
        self._in_epoch = False

    def for_fit(self) -> keras.callbacks.Callback:
        """Return a callback for one `fit`, which then begins where these batches are now. `Flow.fit` adds its own.

        Pass it before other callbacks, since some of them may move `epoch`.
        """
        epoch, step = self.epoch, self.step

        def begin(logs):
            self.epoch, self.step = epoch, step
            self._in_epoch = False

        return keras.callbacks.LambdaCallback(on_train_begin=begin)


batches = Batches
