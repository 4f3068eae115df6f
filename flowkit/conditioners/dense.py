"""The dense layers of the conditioners."""

from typing import Annotated, Any

import keras

from flowkit import backends
from flowkit.contract.arguments import shown
from flowkit.contract.conditioner import as_type, deal


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
            f"{name}: expected a name such as 'relu', a function or a layer such as PReLU(), received "
            f"{shown(given)}."
        )
    return found


Activation = Annotated[Any, activation_of]


def activate(activation, h):
    """`activation(h)`; nobody else may read `h`, which it may be written over."""
    return backends.rectify(h) if activation is keras.activations.relu else activation(h)


class Dense(keras.layers.Dense):
    """x W + b on the last axis: Keras's layer, in one call of the engine.

    With quantised or low-rank weights, which Keras can give it later, it computes what Keras's does.
    """

    pure = True

    def derive(self):
        """The kernel and bias that `call` uses, or None for quantised or low-rank weights."""
        if self.lora_enabled or self.quantization_mode is not None:
            return None
        dtype = self.compute_dtype
        return {"kernel": as_type(self.kernel.value, dtype), "bias": as_type(self.bias.value, dtype)}

    def call(self, x, derived=None):
        derived = self.derive() if derived is None else derived
        return super().call(x) if derived is None else backends.dense(x, **derived)

    def call_dealt(self, x, parameters, layout, derived=None):
        """Return what `call` does, dealt out by `flowkit.contract.conditioner.deal`."""
        if layout == "contiguous" or derived is None:
            return deal(self.call(x, derived), parameters, layout)
        return backends.dealt_dense(x, **derived, parameters=parameters)
