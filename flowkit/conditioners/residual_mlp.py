"""A multilayer perceptron of residual blocks."""

from typing import Any

import keras
from keras import ops

from flowkit.conditioners.dense import Activation, activate
from flowkit.conditioners.dense_network import DenseNetwork
from flowkit.contract.arguments import Blocks, ContextWord, Count


@keras.saving.register_keras_serializable("flowkit")
class ResidualMLP(DenseNetwork):
    """A dense layer of `width`, `blocks` times h + dense(f(dense(f(h)))), then a linear one (features).

    f is the `activation`. The linear one starts at zero, and so does the last layer of each block, which begins as the
    identity. `context` ("none", "optional", "required") enters as a bias of the first layer: labels (batch,) with
    `num_classes`, or vectors (batch, k).

    - `gated`: what a block adds is multiplied by a sigmoid of a linear map of the context as well, as in nflows.
    - `activate_last`: f comes before the last layer too.

    Raises ValueError for `gated` without a context. He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks
    (2016); as used by Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019).

    >>> from keras import ops
    >>> tuple(ResidualMLP(32, features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    pure = True

    def __init__(
        self,
        width: Count = 64,
        *,
        blocks: Blocks = 2,
        features: Count | None = None,
        activation: Activation = "relu",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        gated: bool = False,
        activate_last: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            features=features, activation=activation, context=context, num_classes=num_classes, **kwargs
        )
        if gated and context == "none":
            raise ValueError(
                "ResidualMLP's gated: expected a context to make the gates of, received context='none'."
            )
        self.width, self.blocks, self.gated, self.activate_last = width, blocks, gated, activate_last
        self.hidden_layers = [
            self._dense(self.width),
            *(
                self._dense(self.width, **({"kernel_initializer": "zeros"} if second else {}))
                for _ in range(self.blocks)
                for second in (False, True)
            ),
        ]
        self.bias = self._context_bias(self.width)
        self.gates = [self._context_bias(self.width) for _ in range(self.blocks)] if gated else []

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        super().build(x_shape, context_shape)
        self.gate_biases = []
        for number, gate in enumerate(self.gates):
            gate.build(context_shape)
            name = f"gate_{number}"
            self.gate_biases.append(self.add_weight(shape=(self.width,), initializer="zeros", name=name))

    def _build_hidden(self, x_shape):
        for number, dense in enumerate(self.hidden_layers):
            dense.build((*x_shape[:-1], self.width) if number else x_shape)
        return self.width

    def _hidden(self, x, context, derived):
        first, *inner = zip(self.hidden_layers, derived, strict=True)
        h = self._steered(first[0].call(x, first[1]), context)
        for number, (one, two) in enumerate(zip(inner[::2], inner[1::2], strict=True)):
            more = activate(self.activation, one[0].call(self.activation(h), one[1]))
            h = h + self._let_through(two[0].call(more, two[1]), number, context)
        return activate(self.activation, h) if self.activate_last else h

    def _let_through(self, more, number, context):
        """What a block adds, by its gate if there is one."""
        if not self.gates or context is None:
            return more
        gate = self.gates[number].call(context, rank=len(more.shape))
        return more * ops.sigmoid(gate + ops.cast(self.gate_biases[number], gate.dtype))
