"""A multilayer perceptron of residual blocks."""

from typing import Any

import keras

from flowkit.conditioners.dense import activate
from flowkit.conditioners.dense_network import DenseNetwork
from flowkit.contract.arguments import whole_number


@keras.saving.register_keras_serializable("flowkit")
class ResidualMLP(DenseNetwork):
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

    pure = True

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
        super().__init__(
            features=features, activation=activation, context=context, num_classes=num_classes, **kwargs
        )
        self.width = whole_number(width, "width", least=1)
        self.blocks = whole_number(blocks, "blocks", least=1)
        self.first = self._dense(width)
        self.inner = [
            self._dense(width, **({"kernel_initializer": "zeros"} if second else {}))
            for _ in range(blocks)
            for second in (False, True)
        ]
        self.bias = self._context_bias(width)

    def _build_hidden(self, x_shape):
        self.first.build(x_shape)
        for dense in self.inner:
            dense.build((*x_shape[:-1], self.width))
        return self.width

    def _hidden(self, x, context):
        h = self._steered(self.first.call(x), context)
        for one, two in zip(self.inner[::2], self.inner[1::2], strict=True):
            h = h + two.call(activate(self.activation, one.call(self.activation(h))))
        return activate(self.activation, h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "blocks": self.blocks}
