"""The context of a family whose first layers start in closed form: normal scores of each entry."""

import keras
import numpy as np
from keras import ops
from scipy import special

from flowkit.bijectors import NormalScores
from flowkit.conditioners import StandardizedContext
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.call import Call

_CAUTION = (
    3.0  # standard errors: scores of a column that is nearly normal cost a linear model more than they help
)


@keras.saving.register_keras_serializable("flowkit")
class ScoredContext(StandardizedContext):
    """Phi^-1(F_i(c_i)) for each entry of a context (batch, k), with F_i as for `flowkit.bijectors.NormalScores`.

    A linear model of the context, with which training starts, would follow the few rows in a heavy tail. Of columns
    that look normal it is (c_i - mean) / std; those that do not vary are shifted to 0. It is set by `adapt`, and never
    trained. Raises what `StandardizedContext` does.

    >>> layer = ScoredContext()
    >>> layer.build((None, 1))
    >>> c = np.exp(np.random.default_rng(0).normal(size=(1000, 1))).astype("float32")
    >>> layer.adapt(c)
    >>> bool(abs(ops.convert_to_numpy(layer(c)) - np.log(c)).mean() < 0.1)
    True
    """

    def build(self, context_shape: Shape) -> None:
        super().build(context_shape)
        self.scores = NormalScores(caution=_CAUTION, dtype=self.variable_dtype, trainable=False)
        self.scores.build((None, context_shape[-1]))

    def adapt(self, context: Context) -> None:
        super().adapt(context)
        z = ops.convert_to_numpy(super().call(ops.convert_to_tensor(context))).astype("float64")
        flat = z.std(axis=0) == 0
        z[:, flat] = special.ndtri((np.arange(len(z)) + 0.5) / len(z))[:, None]  # whose scores are themselves
        self.scores.adapt(z)

    def call(self, context: Context) -> Tensor:
        return self.scores.run(super().call(context), Call(log_det=False))[0]
