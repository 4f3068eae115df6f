"""How a context enters a network: as a bias of its first hidden layer."""

import keras
from keras import ops

from flowkit.conditioners.classes import rows_of
from flowkit.contract import ContractError
from flowkit.contract.configured import Configured
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class ContextBias(Configured, keras.Layer):
    """context -> (batch, 1, ..., width), to be added to activations (batch, *places, width).

    With `num_classes`, the context is integer labels (batch,). Otherwise it is a vector (batch, k), or
    a map (batch, *places, k) with one vector for each place.

    Raises ContractError for a context of another rank or size.
    """

    pure = True

    def __init__(self, width, *, num_classes=None, zeros=False, **kwargs):
        super().__init__(**kwargs)
        self.width, self.num_classes, self.zeros = width, num_classes, zeros

    def build(self, context_shape):
        if context_shape is None and not self.num_classes:
            raise ValueError("ContextBias cannot make its weights before it has seen a context: pass one.")
        if isinstance(context_shape, dict):
            raise ContractError(
                "context",
                self,
                expected="one tensor as context",
                received=f"a dict of {', '.join(map(repr, context_shape))}",
                hint="Give the flow an embedding= that makes one vector of them.",
            )
        size = self.num_classes or context_shape[-1]
        initializer = "zeros" if self.zeros else "glorot_uniform"
        self.kernel = self.add_weight(
            shape=(size, self.width), initializer=initializer, name="W", autocast=False
        )

    def call(self, context, rank):
        """`rank` is that of the activations, batch included."""
        self._check(context.shape, rank)
        kernel = ops.cast(self.kernel, self.compute_dtype)
        if self.num_classes:
            bias = rows_of(kernel, context)
        else:
            bias = matmul(ops.cast(context, self.compute_dtype), kernel)
        return bias if len(bias.shape) == rank else ops.reshape(bias, (-1, *(1,) * (rank - 2), self.width))

    def _check(self, shape, rank):
        if self.num_classes:
            if len(shape) != 1:
                raise ContractError(
                    "context", self, expected="integer labels (batch,)", received=f"shape {tuple(shape)}"
                )
            return
        size = self.kernel.shape[0]
        if len(shape) not in (2, rank) or shape[-1] != size:
            raise ContractError(
                "context",
                self,
                expected=f"vectors (batch, {size}), or one for each place, of rank {rank}",
                received=f"shape {tuple(shape)}",
                hint="For integer labels, give the network num_classes=.",
            )
