"""The columns of a context brought to mean 0 and deviation 1."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import ContractError
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.configured import Configured


@keras.saving.register_keras_serializable("flowkit")
class StandardizedContext(Configured, keras.Layer):
    """(context - mean) / std for each entry of the last axis: a flow's embedding if contexts are far from 0.

    Mean and (biased) standard deviation are those of the contexts that `adapt` is given; they are stored, and never
    trained. Entries that do not vary are shifted to 0 alone. Whole numbers are taken as numbers, not as labels.

    Raises ContractError for what is no vectors (batch, k), labels and dicts among them.

    >>> layer = StandardizedContext()
    >>> layer.build((None, 2))
    >>> layer.adapt(np.array([[100.0, 7.0], [102.0, 7.0]]))
    >>> ops.convert_to_numpy(layer(np.array([[102.0, 8.0]], "float32"))).tolist()
    [[1.0, 1.0]]
    """

    def build(self, context_shape: Any) -> None:
        self._check(context_shape)
        shape = (context_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale", trainable=False)
        self.flag = adapted_flag(self)

    def adapt(self, context: Any) -> None:
        self._check(dict.fromkeys(context) if isinstance(context, dict) else context.shape)
        context = ops.convert_to_numpy(context).astype("float64")
        mean = context.mean(axis=0)
        std = np.sqrt(np.square(context - mean).mean(axis=0))
        varies = std > np.finfo("float32").eps * np.abs(mean)
        self.mean.assign(mean.astype(self.variable_dtype))
        self.scale.assign(np.where(varies, 1 / np.where(varies, std, 1.0), 1.0).astype(self.variable_dtype))
        self.flag.assign(True)

    def call(self, context: Any) -> Any:
        self._check(dict.fromkeys(context) if isinstance(context, dict) else context.shape)
        # In the weights' precision: a network in bfloat16 would round a column far from 0 before its mean is taken off.
        context = ops.cast(context, self.variable_dtype)
        return (context - self.mean.value) * self.scale.value

    def _check(self, shape):
        size = self.mean.shape[0] if self.built else "k"
        is_dict = isinstance(shape, dict)
        if not is_dict and len(shape) == 2 and size in ("k", shape[-1]):
            return
        raise ContractError(
            "context",
            self,
            expected=f"vectors (batch, {size})",
            received=f"a dict of {', '.join(map(repr, shape))}" if is_dict else f"shape {tuple(shape)}",
            hint="Of labels, of several inputs and of series one vector is made by an embedding=.",
        )

    def compute_output_shape(self, context_shape: Any) -> Any:
        return tuple(context_shape)
