"""A masked network of residual blocks."""

from typing import Any

import keras

from flowkit import backends
from flowkit.conditioners.dense import Activation, activate
from flowkit.conditioners.masked_network import MaskedNetwork
from flowkit.contract.arguments import Blocks, ContextWord, Count, Wholes, shown


@keras.saving.register_keras_serializable("flowkit")
class ResidualMADE(MaskedNetwork):
    """A masked layer of `width`, `blocks` times h + dense(f(dense(f(h)))), all masked, then a linear one (features).

    As in a `MADE`, what is answered for entry i depends on entries 1 to i - 1, and on the context; f is the
    `activation`. All hidden layers have units of the same `degrees`, which never fall; None spreads them evenly. The
    linear layer starts at zero, and so does the last one of each block, which begins as the identity. With
    `activate_last` f comes before the linear layer too. `context` ("none", "optional", "required") enters as a bias of
    the first layer. Asked for one entry after another, all answers together cost as much as one pass.

    Raises ValueError for a number out of range, or other degrees; ContractError as `MADE`. Germain, Gregor, Murray &
    Larochelle, MADE (2015); with blocks as used by Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019).

    >>> import numpy as np
    >>> net = ResidualMADE(16, features=3)
    >>> tuple(net(np.ones((8, 3), "float32")).shape)
    (8, 3)
    """

    pure = True
    skips = True

    def __init__(
        self,
        width: Count = 64,
        *,
        blocks: Blocks = 2,
        features: Count | None = None,
        activation: Activation = "relu",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        degrees: Wholes | None = None,
        activate_last: bool = True,
        **kwargs: Any,
    ) -> None:
        if degrees is not None and (len(degrees) != width or degrees != sorted(degrees)):
            raise ValueError(
                f"ResidualMADE's degrees: expected {width} that never fall, one for each unit of a layer, received "
                f"{shown(degrees)}."
            )
        layers = 1 + 2 * blocks
        super().__init__(
            [width] * layers,
            None if degrees is None else [degrees] * layers,
            features=features,
            activation=activation,
            context=context,
            num_classes=num_classes,
            **kwargs,
        )
        self.width, self.blocks, self.degrees = width, blocks, degrees
        self.activate_last = activate_last

    def _through(self, h, layers):
        for one, two in zip(layers[::2], layers[1::2], strict=True):
            more = activate(self.activation, backends.dense(self.activation(h), **one))
            h = h + backends.dense(more, **two)
        return activate(self.activation, h) if self.activate_last else h
