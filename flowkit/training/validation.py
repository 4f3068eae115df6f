"""Score held-out data after each epoch, to stop early and to keep the best weights."""

import math
from typing import Any

import keras
import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Count, shown
from flowkit.contract.configured import Configured
from flowkit.flow.inputs import row_weights
from flowkit.flow.scoring import score_in_a_group
from flowkit.training.optimizing import averaged_weights


class Validation(Configured, keras.callbacks.Callback):
    """Log the mean score of held-out data after each epoch.

    It is `val_bits_per_dim`, or without `dequantize` the mean of -log_prob: `val_loss` of rows, otherwise `val_nll`.
    Lower is better. The averaged weights are scored, if the optimizer keeps them, with the same noise in each epoch,
    and the flow's own random state is left alone: training with this callback and without it comes to the same weights
    bit for bit. Put it before callbacks that use the score (`CSVLog`, `ProgressBar`, `Log`), and pass it to
    `Resume(callbacks=[...])`, which keeps its memory. In a group of processes (`flowkit.distributed`) all have this
    callback, with the same data: each reads and scores its part, and all use the score of all rows.

    Args:
        x: events as `Flow.log_prob` takes them, with their `context`.
        sample_weight: a number for each event, by which its score counts.
        early_stopping: stop training after this number of epochs in a row without a better score, in the second at the
            earliest; None never stops.
        keep_best: end `fit` with the weights of the best epoch, those that were scored; False ends with the last ones.
            The weights that training begins with are scored too, so that it never ends with worse ones.

    Attributes:
        best: the best score so far, or None.
        best_epoch: the epoch of the best score, from 0; -1 if it is that of the weights that training began with.

    Raises ValueError if `x` is empty or `early_stopping` is no whole number from 1 up.

    Prechelt, Early Stopping - But When? (1998).

    >>> import flowkit
    >>> rows = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> flow = flowkit.Flow(flowkit.bijectors.ActNorm())
    >>> flow.compile(keras.optimizers.Adam(1e-3))
    >>> held_out = Validation(rows[48:], early_stopping=5)
    >>> history = flow.fit(rows[:48], epochs=2, verbose=0, callbacks=[held_out])
    >>> sorted(history.history), held_out.best == min(history.history["val_loss"])
    (['loss', 'val_loss'], True)
    """

    def __init__(
        self,
        x: Tensor,
        context: Context = None,
        *,
        sample_weight: Tensor | None = None,
        early_stopping: Count | None = None,
        keep_best: bool = True,
    ) -> None:
        super().__init__()
        if not (np.shape(x) or (0,))[0]:
            raise ValueError(f"Validation: got {shown(x)}, expected at least one row or image to score.")
        self.x, self.context, self.sample_weight = x, context, None
        if sample_weight is not None:
            self.sample_weight = row_weights(sample_weight, len(x), "Validation's sample_weight")
        self.early_stopping, self.keep_best = early_stopping, keep_best
        self._forget()

    def _forget(self):
        # Keras's names, which `Resume` keeps.
        self.best: float | None = None
        self.best_epoch = self.wait = self.stopped_epoch = 0
        self.best_weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._forget()
        if self.keep_best:
            self._scored(-1)
            self.wait = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        name, score = self._scored(epoch)
        if logs is not None:
            logs[f"val_{name}"] = score
        # Not in the first, as in Keras: a `stopped_epoch` of 0 says that training has not been stopped.
        if self.early_stopping is not None and self.wait >= self.early_stopping and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)

    def _scored(self, epoch):
        """Return the name and the score of the weights at the end of an epoch, and keep them if they are the best."""
        self.wait += 1
        with averaged_weights(self.model):
            name, score = self._score()
            if score < (math.inf if self.best is None else self.best):  # NaN is not
                self.best, self.best_epoch, self.wait = score, epoch, 0
                if self.keep_best:
                    self.best_weights = self.model.get_weights()
        return name, score

    def _score(self):
        name, scores = score_in_a_group(self.model, self.x, self.context)
        return name, float(np.average(scores, weights=self.sample_weight))
