"""A multilayer perceptron."""

from typing import Any

import keras

from flowkit.conditioners.dense import Activation, activate
from flowkit.conditioners.dense_network import DenseNetwork
from flowkit.contract.arguments import ContextWord, Count, Widths


@keras.saving.register_keras_serializable("flowkit")
class MLP(DenseNetwork):
    """Dense layers of the given widths on the last axis, then a linear one (features) that starts at zero.

    `context` ("none", "optional", "required") enters as a bias of the first hidden layer: labels (batch,)
    with `num_classes`, or vectors (batch, k).

    >>> from keras import ops
    >>> tuple(MLP([64, 64], features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    pure = True

    def __init__(
        self,
        hidden: Widths = (64, 64),
        *,
        features: Count | None = None,
        activation: Activation = "relu",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            features=features, activation=activation, context=context, num_classes=num_classes, **kwargs
        )
        self.hidden = hidden
        self.hidden_layers = [self._dense(width) for width in self.hidden]
        self.bias = self._context_bias(self.hidden[0])

    def _build_hidden(self, x_shape):
        for dense, size in zip(self.hidden_layers, [x_shape[-1], *self.hidden], strict=False):
            dense.build((*x_shape[:-1], size))
        return self.hidden[-1]

    def _hidden(self, x, context, derived):
        h = activate(self.activation, self._steered(self.hidden_layers[0].call(x, derived[0]), context))
        for dense, own in zip(self.hidden_layers[1:], derived[1:], strict=True):
            h = activate(self.activation, dense.call(h, own))
        return h
