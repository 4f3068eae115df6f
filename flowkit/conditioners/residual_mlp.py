"""A multilayer perceptron of residual blocks."""

from typing import Any

import keras

from flowkit.conditioners.context_bias import ContextBias
from flowkit.conditioners.dense import Dense, activate
from flowkit.contract import Conditioner
from flowkit.contract.arguments import whole_number


@keras.saving.register_keras_serializable("flowkit")
class ResidualMLP(Conditioner):
    """A dense layer of `width`, `blocks` times h + dense(f(dense(f(h)))), then a linear one (features).

    f is the `activation`. The linear one starts at zero, and so does the last layer of each block, which begins as the
    identity. `context` ("none", "optional", "required") enters as a bias of the first layer: labels (batch,) with
    `num_classes`, or vectors (batch, k).

    He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks (2016); as used by Durkan, Bekasov, Murray &
    Papamakarios, Neural Spline Flows (2019).

    >>> from keras import ops
    >>> tuple(ResidualMLP(32, features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    def __init__(
        self,
        width: int = 64,
        *,
        blocks: int = 2,
        features: int | None = None,
        activation: Any = "relu",
        context: str = "none",
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features=features, context=context, num_classes=num_classes, **kwargs)
        self.width = whole_number(width, "width", least=1)
        self.blocks = whole_number(blocks, "blocks", least=1)
        self.activation = keras.activations.get(activation)
        self.first = self._dense(width)
        self.inner = [self._dense(width) for _ in range(2 * blocks)]
        for dense in self.inner[1::2]:
            dense.kernel_initializer = keras.initializers.Zeros()
        self.bias = None
        if context != "none":
            self.bias = ContextBias(width, num_classes=num_classes, dtype=self.dtype_policy)

    def _dense(self, units):
        return Dense(units, dtype=self.dtype_policy)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        self.first.build(x_shape)
        hidden = (*x_shape[:-1], self.width)
        for dense in self.inner:
            dense.build(hidden)
        self.last = Dense(self.features, kernel_initializer="zeros", dtype=self.dtype_policy)
        self.last.build(hidden)
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
        h = self.first.call(x)
        if context is not None and self.bias is not None:
            h = h + self.bias.call(context, rank=len(h.shape))
        for one, two in zip(self.inner[::2], self.inner[1::2], strict=True):
            h = h + two.call(activate(self.activation, one.call(self.activation(h))))
        return activate(self.activation, h)

    def compute_output_shape(self, x_shape: Any, context_shape: Any = None) -> Any:
        return (*x_shape[:-1], self.features)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "blocks": self.blocks,
            "activation": keras.activations.serialize(self.activation),
        }
