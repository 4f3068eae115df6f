"""The columns of a context brought to mean 0 and deviation 1."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract.adaptation import adapted_flag


@keras.saving.register_keras_serializable("flowkit")
class StandardizedContext(keras.Layer):
    """(context - mean) / std for each entry of the last axis: a flow's embedding if contexts are far from 0.

    Mean and (biased) standard deviation are those of the contexts that `adapt` is given; they are stored, and never
    trained. Entries that do not vary are shifted to 0 alone. Whole numbers are taken as numbers, not as labels.

    >>> layer = StandardizedContext()
    >>> layer.build((None, 2))
    >>> layer.adapt(np.array([[100.0, 7.0], [102.0, 7.0]]))
    >>> ops.convert_to_numpy(layer(np.array([[102.0, 8.0]], "float32"))).tolist()
    [[1.0, 1.0]]
    """

    def build(self, context_shape: Any) -> None:
        shape = (context_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale", trainable=False)
        self.flag = adapted_flag(self)

    def adapt(self, context: Any) -> None:
        context = ops.convert_to_numpy(context).astype("float64")
        context = context.reshape(-1, context.shape[-1])
        mean = context.mean(axis=0)
        std = np.sqrt(np.square(context - mean).mean(axis=0))
        varies = std > np.finfo("float32").eps * np.abs(mean)
        self.mean.assign(mean.astype(self.variable_dtype))
        self.scale.assign(np.where(varies, 1 / np.where(varies, std, 1.0), 1.0).astype(self.variable_dtype))
        self.flag.assign(True)

    def call(self, context: Any) -> Any:
        # In the weights' precision: a network in bfloat16 would round a column far from 0 before its mean is taken off.
        context = ops.cast(context, self.variable_dtype)
        return (context - self.mean.value) * self.scale.value

    def compute_output_shape(self, context_shape: Any) -> Any:
        return tuple(context_shape)
