"""A multilayer perceptron."""

from collections.abc import Sequence
from typing import Any

import keras

from flowkit.conditioners.context_bias import ContextBias
from flowkit.conditioners.dense import Dense, activate
from flowkit.contract import Conditioner
from flowkit.contract.arguments import widths


@keras.saving.register_keras_serializable("flowkit")
class MLP(Conditioner):
    """Dense layers of the given widths on the last axis, then a linear one (features) that starts at zero.

    `context` ("none", "optional", "required") enters as a bias of the first hidden layer: labels (batch,)
    with `num_classes`, or vectors (batch, k).

    >>> from keras import ops
    >>> tuple(MLP([64, 64], features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        *,
        features: int | None = None,
        activation: Any = "relu",
        context: str = "none",
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features=features, context=context, num_classes=num_classes, **kwargs)
        self.hidden = widths(hidden, "MLP's hidden")
        self.activation = keras.activations.get(activation)
        self.denses = [Dense(width, dtype=self.dtype_policy) for width in self.hidden]
        self.bias = None
        if context != "none":
            self.bias = ContextBias(self.hidden[0], num_classes=num_classes, dtype=self.dtype_policy)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        sizes = [x_shape[-1], *self.hidden]
        for dense, size in zip(self.denses, sizes, strict=False):
            dense.build((*x_shape[:-1], size))
        self.last = Dense(self.features, kernel_initializer="zeros", dtype=self.dtype_policy)
        self.last.build((*x_shape[:-1], sizes[-1]))
        if self.bias is not None:
            self.bias.build(context_shape)

    def call(self, x: Any, context: Any = None) -> Any:
        return self.last.call(self._hidden(x, context))

    def run_dealt(self, x: Any, context: Any, parameters: int, layout: str) -> Any:
        if self.compute_dtype != self.variable_dtype or isinstance(x, dict):
            return super().run_dealt(x, context, parameters, layout)
        h = self._hidden(keras.ops.cast(x, self.compute_dtype), context)
        return self.last.call_dealt(h, parameters, layout)

    def _hidden(self, x, context):
        """The activations before the last layer."""
        h = self.denses[0].call(x)
        if context is not None and self.bias is not None:
            h = h + self.bias.call(context, rank=len(h.shape))
        h = activate(self.activation, h)
        for dense in self.denses[1:]:
            h = activate(self.activation, dense.call(h))
        return h

    def compute_output_shape(self, x_shape: Any, context_shape: Any = None) -> Any:
        return (*x_shape[:-1], self.features)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "activation": keras.activations.serialize(self.activation),
        }
