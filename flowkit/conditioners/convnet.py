"""The convolutional network inside Glow's couplings."""

from typing import Any

from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.conditioners.scaled import ScaledConv
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Count
from flowkit.contract.conditioner import as_type
from flowkit.contract.derived import as_keyword
from flowkit.engines import engine


class ConvNet(ContextNetwork):
    """3x3 (width) + actnorm + ReLU -> 1x1 (width) + actnorm + ReLU -> 3x3 (features), zero at the start.

    (batch, h, w, c) -> (batch, h, w, features). `context` ("none", "optional", "required") enters as a bias
    of the first hidden layer: labels (batch,) with `num_classes`, vectors (batch, k), or maps
    (batch, h, w, k). Raises ValueError for a width that is no whole number from 1 up. Kingma & Dhariwal, Glow (2018),
    section B.

    >>> import keras
    >>> net = ConvNet(16, features=6).adapt(keras.random.normal((8, 4, 4, 3)))
    >>> float(ops.max(ops.abs(net(ops.ones((1, 4, 4, 3))))))
    0.0
    """

    def __init__(self, width: Count = 512, *, edge_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.edge_bias = width, edge_bias
        common = {"edge_bias": edge_bias, "dtype": self.dtype_policy}
        self.first = ScaledConv(width, 3, **common, name="l_1")
        self.second = ScaledConv(width, 1, **common, name="l_2")
        self.last = ScaledConv(self.features, 3, zeros=True, **common, name="l_last")
        self.bias = self._context_bias(width, name="context")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        hidden = (*x_shape[:-1], self.width)
        self.last.features = self.features
        self.first.build(x_shape)
        self.second.build(hidden)
        self.last.build(hidden)
        super().build(x_shape, context_shape)

    def run(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        # Each of its layers casts for itself, so that Keras's entry is not needed in low precision either.
        return self.call(as_type(x, self.compute_dtype), context, **as_keyword(derived))

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        hidden = (*x_shape[:-1], self.width)
        return {
            "first": self.first._derive(x_shape),
            "second": self.second._derive(hidden),
            "last": self.last._derive(hidden),
        }

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        derived = self._derive(x.shape) if derived is None else derived
        if context is None or self.bias is None:
            layers = [
                (layer["kernel"], layer["bias"])
                for layer in (derived["first"], derived["second"], derived["last"])
            ]
            return engine.convolve_in_turn(x, layers)
        h = engine.rectify(self._steered(self.first.call(x, derived["first"]), context))
        return self.last.call(engine.rectify(self.second.call(h, derived["second"])), derived["last"])

    def adapt(self, x: Tensor, context: Context = None) -> Any:
        """Normalise the hidden activations on this batch, in the order in which data flow. Returns `self`."""
        if not self.built:
            self.build(x.shape, None if context is None else context.shape)
        h = ops.relu(self._steered(self.first.adapt(x), context))
        self.second.adapt(h)
        return self
