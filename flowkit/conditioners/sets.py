"""Networks of sets and of data with gaps: no order, any size, and masks of the entries that are there."""

import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.context import StandardizedContext
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Count, Seed, Wholes, Widths, words
from flowkit.contract.configured import Configured

_POOLING = ("mean", "sum", "max")


class DeepSet(Configured, keras.Layer):
    """rho(mean_i phi(x_i)), from sets (batch, n, k) to vectors (batch, features): the same in any order of the n.

    An embedding for data that are n independent measurements. phi and rho are dense layers of the widths `hidden` with
    ReLU, and rho ends in a linear layer. n may change from call to call. With Keras's `mask`, (batch, n), entries
    where it is False do not count.

    - `pooling`: "mean", "sum" or "max" over the set. A sum knows n too; a mean is safe if n varies.
    - `size`: True adds log n to what rho receives, so that it knows how many measurements a mean is of.

    Raises ValueError for widths that are no list and for other words, and, when it is built, for inputs that are no
    sets. Zaheer et al., Deep Sets (2017).

    >>> layer = DeepSet(features=4, hidden=[8])
    >>> x = ops.reshape(ops.arange(12, dtype="float32"), (1, 6, 2))
    >>> y = layer(x)
    >>> tuple(y.shape), bool(ops.max(ops.abs(layer(ops.flip(x, axis=1)) - y)) < 1e-5)
    ((1, 4), True)
    >>> first = ops.convert_to_tensor([[True, True, True, False, False, False]])
    >>> bool(ops.max(ops.abs(layer(x, mask=first) - layer(x[:, :3]))) < 1e-5)
    True
    """

    def __init__(
        self,
        features: Count = 16,
        *,
        hidden: Widths = (64, 64),
        pooling: Annotated[str, words(*_POOLING)] = "mean",
        size: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.hidden, self.pooling, self.size = features, hidden, pooling, size
        self.of_entries = [self._dense(width, "relu") for width in hidden]
        self.of_set = [*(self._dense(width, "relu") for width in hidden), self._dense(features, None)]
        self.supports_masking = True

    def _dense(self, units, activation):
        return keras.layers.Dense(units, activation, dtype=self.dtype_policy)

    def build(self, x_shape: Shape) -> None:
        if len(x_shape) != 3:
            raise ValueError(f"DeepSet: got inputs of shape {tuple(x_shape)}, expected sets (batch, n, k).")
        *sizes, pooled = [x_shape[-1], *self.hidden]
        sizes = [*sizes, pooled + self.size, *self.hidden]
        for layer, size in zip([*self.of_entries, *self.of_set], sizes, strict=True):
            layer.build((None, size))

    def call(self, x: Tensor, mask: Tensor = None) -> Tensor:
        there = ops.ones(ops.shape(x)[:2], "bool") if mask is None else ops.cast(mask, "bool")
        for layer in self.of_entries:
            x = layer(x)
        x = self._pooled(x, there)
        for layer in self.of_set:
            x = layer(x)
        return x

    def _pooled(self, x, there):
        """Return what rho receives, (batch, width): the pooled entries that are there, and log n."""
        count = ops.maximum(ops.sum(ops.cast(there, x.dtype), axis=1, keepdims=True), 1.0)
        each = ops.expand_dims(there, -1)
        if self.pooling == "max":
            pooled = ops.max(ops.where(each, x, ops.full_like(x, -math.inf)), axis=1)
            pooled = ops.where(ops.any(each, axis=1), pooled, ops.zeros_like(pooled))
        else:
            pooled = ops.sum(ops.where(each, x, ops.zeros_like(x)), axis=1)
            pooled = pooled / count if self.pooling == "mean" else pooled
        return ops.concatenate([pooled, ops.log(count)], axis=-1) if self.size else pooled

    def compute_mask(self, x: Tensor, mask: Tensor = None) -> None:
        """Return None: the vectors of sets have no mask."""

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (x_shape[0], self.features)


class ObservedContext(StandardizedContext):
    """Standardised values with 0 in gaps, beside the mask: an embedding for contexts with missing entries.

    The context is (batch, ..., 2k): k values, then for each 1 if it is there or 0. Mean and deviation are those of the
    values that are there. Of sets and series (batch, n, 2k) places without any value get Keras's mask, which layers
    such as `DeepSet` and `keras.layers.GRU` skip. Raises what `StandardizedContext` does.

    >>> layer = ObservedContext()
    >>> layer.build((None, 2))
    >>> layer.adapt(np.array([[3.0, 1.0], [5.0, 1.0], [0.0, 0.0]]))
    >>> ops.convert_to_numpy(layer(np.array([[5.0, 1.0], [0.0, 0.0]], "float32"))).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def adapt(self, context: Context) -> None:
        self._check(getattr(context, "shape", context))
        values, there = np.split(ops.convert_to_numpy(context).astype("float64"), 2, axis=-1)
        width = values.shape[-1]
        values, there = values.reshape(-1, width), there.reshape(-1, width) > 0
        # Columns of their own length, filled by their mean: neither mean nor scale counts the gaps.
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        std = np.sqrt(np.where(there, np.square(values - mean), 0.0).sum(axis=0) / count)
        self._set(np.concatenate([mean, np.zeros(width)]), np.concatenate([std, np.ones(width)]))

    def call(self, context: Context, mask: Tensor = None) -> Tensor:
        values, there = ops.split(super().call(context), 2, axis=-1)
        return ops.concatenate([ops.where(there > 0, values, ops.zeros_like(values)), there], axis=-1)

    def compute_mask(self, context: Context, mask: Tensor = None) -> Tensor:
        """Return which places of sets and series have a value, (batch, n); None for other contexts."""
        if len(context.shape) != 3:
            return None
        return ops.any(context[..., context.shape[-1] // 2 :] > 0, axis=-1)


class RandomSizes(Configured, keras.Layer):
    """Sets (batch, n, 2k) of values and masks, as of `ObservedContext`, which training cuts to random sizes.

    For a network that learns from sets of any size: in training each set keeps a random choice of its rows, anew in
    each step. Their number is drawn from `sizes` = (low, high), such that its logarithm is uniform; a set that has
    fewer keeps all. Outside of training sets stay as they are. Raises ValueError unless 1 <= low <= high.

    >>> sets = ops.ones((3, 6, 2))
    >>> kept = RandomSizes((2, 4), seed=0)(sets, training=True)[..., 1]
    >>> bool(ops.all(ops.sum(kept, axis=1) >= 2)), bool(ops.all(ops.sum(kept, axis=1) <= 4))
    (True, True)
    """

    def __init__(self, sizes: Wholes, *, seed: Seed | None = None, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        if len(sizes) != 2 or not 1 <= sizes[0] <= sizes[1]:
            raise ValueError(f"RandomSizes's sizes: got {sizes}, expected (low, high) with 1 <= low <= high.")
        self.sizes, self.seed = sizes, seed
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, sets: Tensor, training: bool = False) -> Tensor:
        if not training:
            return sets
        low, high = self.sizes
        there = ops.any(sets[..., sets.shape[-1] // 2 :] > 0, axis=-1)
        batch = ops.shape(sets)[0]
        logs = keras.random.uniform((batch, 1), math.log(low), math.log(high + 1), seed=self.seeds)
        count = ops.clip(ops.cast(ops.floor(ops.exp(logs)), "int32"), low, min(high, sets.shape[1]))
        # Rows in a random order, those that are there before the others.
        order = keras.random.uniform(ops.shape(there), seed=self.seeds) + ops.cast(~there, "float32")
        last = ops.take_along_axis(ops.sort(order, axis=1), count - 1, axis=1)
        kept = ops.expand_dims(order <= last, -1)
        return ops.where(kept, sets, ops.zeros_like(sets))

    def compute_output_shape(self, sets_shape: Shape) -> Shape:
        return tuple(sets_shape)
