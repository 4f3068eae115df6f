"""What networks of dense layers share: the context's bias, the linear layer at their end, and how they are asked."""

from typing import Any

from flowkit.conditioners.context_bias import ContextBias
from flowkit.conditioners.dense import Activation, Dense
from flowkit.contract import Conditioner
from flowkit.contract.conditioner import as_type
from flowkit.contract.frozen import derive_from


class DenseNetwork(Conditioner):
    """A network on the last axis that ends in a linear layer, (features), which starts at zero.

    A subclass makes its `hidden_layers` and then its `bias`, builds the layers in `_build_hidden(x_shape)`, which
    returns the last width, and computes them in `_hidden(x, context, derived)`; `derived` has the weights of each.
    """

    pure = True

    def __init__(self, *, activation: Activation = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def _context_bias(self, width):
        """What the context adds to the first layer, of that width; None if the network reads none."""
        if self.context == "none":
            return None
        return ContextBias(width, num_classes=self.num_classes, dtype=self.dtype_policy)

    def _dense(self, units, **options):
        return Dense(units, dtype=self.dtype_policy, **options)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        width = self._build_hidden(x_shape)
        self.last = self._dense(self.features, kernel_initializer="zeros")
        self.last.build((*x_shape[:-1], width))
        if self.bias is not None:
            self.bias.build(context_shape)

    def _derive(self, x_shape: Any) -> dict[str, Any]:
        return {"layers": [layer.derive() for layer in (*self.hidden_layers, self.last)]}

    def call(self, x: Any, context: Any = None, derived: Any = None) -> Any:
        *hidden, last = self._weights(x, derived)
        return self.last.call(self._hidden(x, context, hidden), last)

    def run_dealt(self, x: Any, context: Any, parameters: int, layout: str, derived: Any = None) -> Any:
        dtype = self.compute_dtype
        if dtype != self.variable_dtype or isinstance(x, dict):
            return super().run_dealt(x, context, parameters, layout, derived)
        *hidden, last = self._weights(x, derived)
        h = self._hidden(as_type(x, dtype), context, hidden)
        return self.last.call_dealt(h, parameters, layout, last)

    def _weights(self, x, derived):
        shape = None if isinstance(x, dict) else x.shape
        return (derive_from(self, shape) if derived is None else derived)["layers"]

    def _steered(self, h, context):
        """The first layer's answer `h`, with what the context adds to it."""
        if context is None or self.bias is None:
            return h
        return h + self.bias.call(context, rank=len(h.shape))

    def compute_output_shape(self, x_shape: Any, context_shape: Any = None) -> Any:
        return (*x_shape[:-1], self.features)
