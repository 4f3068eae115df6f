"""Dense layers, and what networks of them share."""

from typing import Annotated, Any

import keras

from flowkit.conditioners.context import ContextNetwork, refuse_dict
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import shown
from flowkit.contract.conditioner import as_type
from flowkit.engines import engine
from flowkit.numerics import tanh


def activation_of(given: Any, name: str) -> Any:
    """Return the activation that a name, a config, a function or a layer stands for.

    Raises ValueError for anything else, such as a class of Keras: called, it would make a layer.

    >>> activation_of("relu", "MLP's activation").__name__
    'relu'
    """
    try:
        found = keras.activations.get(given)
    except Exception:  # a config from a file may fail in any way
        found = None
    if not callable(found) or isinstance(found, type | keras.Model):
        raise ValueError(
            f"{name}: got {shown(given)}, expected a name such as 'relu', a function or a layer such as PReLU()."
        )
    return found


Activation = Annotated[Any, activation_of]


def activate(activation, h, keep=False):
    """Return `activation(h)`. Nothing else may read `h`, which may be overwritten, unless it is kept."""
    if activation is keras.activations.relu and not keep:
        return engine.rectify(h)
    # On JAX Keras's tanh rounds float64 to float32.
    return tanh(h) if activation is keras.activations.tanh else activation(h)


class Dense(keras.layers.Dense):
    """x W + b on the last axis: Keras's layer, in one call of the engine.

    With quantised or low-rank weights, which Keras can give it later, it computes what Keras's does.
    """

    def derive(self):
        """Return the kernel and bias that `call` uses, or None for quantised or low-rank weights."""
        if self.lora_enabled or self.quantization_mode is not None:
            return None
        dtype = self.compute_dtype
        return {"kernel": as_type(self.kernel.value, dtype), "bias": as_type(self.bias.value, dtype)}

    def call(self, x, derived=None):
        derived = self.derive() if derived is None else derived
        return super().call(x) if derived is None else engine.dense(x, **derived)


class DenseNetwork(ContextNetwork):
    """A network on the last axis that ends in a linear layer, (features), which starts at zero.

    A subclass makes its `hidden_layers`, one after another, and then its `bias`, and computes them in
    `_hidden(x, context, derived)`; `derived` has the weights of each.
    """

    def __init__(self, *, activation: Activation = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def _dense(self, units, **options):
        return Dense(units, dtype=self.dtype_policy, **options)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        refuse_dict(self, x_shape)
        width = len(self._places_seen(x_shape[-1]))
        for layer in self.hidden_layers:
            layer.build((*x_shape[:-1], width))
            width = layer.units
        self.last = self._dense(self.features, kernel_initializer="zeros")
        self.last.build((*x_shape[:-1], width))
        super().build(x_shape, context_shape)

    def _places_seen(self, size):
        """Return the place in x of each input of the first layer, for x of `size` entries."""
        return range(size)

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        return {"layers": [layer.derive() for layer in (*self.hidden_layers, self.last)]}

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        *hidden, last = self._weights(x, derived)
        return self.last.call(self._hidden(x, context, hidden), last)

    def _weights(self, x, derived):
        shape = None if isinstance(x, dict) else x.shape
        return (self._derive(shape) if derived is None else derived)["layers"]
