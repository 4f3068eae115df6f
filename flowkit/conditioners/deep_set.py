"""A network of sets: a vector that does not depend on the order of the entries."""

from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import Shape, Tensor
from flowkit.contract.arguments import Count, Widths, words
from flowkit.contract.configured import Configured

_POOLING = {"mean": ops.mean, "sum": ops.sum, "max": ops.max}


class DeepSet(Configured, keras.Layer):
    """rho(mean_i phi(x_i)), from sets (batch, n, k) to vectors (batch, features): the same in any order of the n.

    An embedding for data that are n independent measurements. phi and rho are dense layers of the widths `hidden` with
    ReLU, and rho ends in a linear layer. n may change from call to call.

    - `pooling`: "mean", "sum" or "max" over the set. A sum knows n too; a mean is safe if n varies.

    Raises ValueError for widths that are no list and for other words, and, when it is built, for inputs that are no
    sets. Zaheer et al., Deep Sets (2017).

    >>> layer = DeepSet(features=4, hidden=[8])
    >>> x = ops.reshape(ops.arange(12, dtype="float32"), (1, 6, 2))
    >>> y = layer(x)
    >>> tuple(y.shape), bool(ops.max(ops.abs(layer(ops.flip(x, axis=1)) - y)) < 1e-5)
    ((1, 4), True)
    """

    def __init__(
        self,
        features: Count = 16,
        *,
        hidden: Widths = (64, 64),
        pooling: Annotated[str, words(*_POOLING)] = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.hidden, self.pooling = features, hidden, pooling
        self.of_entries = [self._dense(width, "relu") for width in hidden]
        self.of_set = [*(self._dense(width, "relu") for width in hidden), self._dense(features, None)]

    def _dense(self, units, activation):
        return keras.layers.Dense(units, activation, dtype=self.dtype_policy)

    def build(self, x_shape: Shape) -> None:
        if len(x_shape) != 3:
            raise ValueError(f"DeepSet: got inputs of shape {tuple(x_shape)}, expected sets (batch, n, k).")
        sizes = [x_shape[-1], *self.hidden, *self.hidden]
        for layer, size in zip([*self.of_entries, *self.of_set], sizes, strict=True):
            layer.build((None, size))

    def call(self, x: Tensor) -> Tensor:
        for layer in self.of_entries:
            x = layer(x)
        x = _POOLING[self.pooling](x, axis=1)
        for layer in self.of_set:
            x = layer(x)
        return x

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (x_shape[0], self.features)
