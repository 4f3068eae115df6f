"""The dense layers of the conditioners."""

import keras

from flowkit import backends
from flowkit.contract.conditioner import deal


def activate(activation, h):
    """`activation(h)`; nobody else may read `h`, which it may be written over."""
    return backends.rectify(h) if activation is keras.activations.relu else activation(h)


class Dense(keras.layers.Dense):
    """x W + b on the last axis: Keras's layer, in one call of the engine.

    With quantised or low-rank weights, which Keras can give it later, it computes what Keras's does.
    """

    pure = True

    def call(self, x):
        if self._is_changed():
            return super().call(x)
        return backends.dense(x, *self._weights())

    def call_dealt(self, x, parameters, layout):
        """What `call` answers, dealt out by `flowkit.contract.conditioner.deal`."""
        if layout == "contiguous" or self._is_changed():
            return deal(self.call(x), parameters, layout)
        return backends.dealt_dense(x, *self._weights(), parameters)

    def _is_changed(self):
        return self.lora_enabled or self.quantization_mode is not None

    def _weights(self):
        return self.kernel.value, self.bias.value
