"""A masked network whose answer for each entry depends on those before it."""

from typing import Any

import keras

from flowkit import backends
from flowkit.conditioners.dense import Activation
from flowkit.conditioners.masked_network import MaskedNetwork
from flowkit.contract.arguments import ContextWord, Count, WholeLists, Widths, shown


@keras.saving.register_keras_serializable("flowkit")
class MADE(MaskedNetwork):
    """Dense layers with masks: what is answered for entry i depends on entries 1 to i - 1, and on the context.

    (batch, D) -> (batch, features); `features` is a multiple of D, and channel k D + i answers for entry i. The last
    layer starts at zero. Each hidden unit has a degree m and hears entries 1 to m; units of degree 0 hear the context
    alone, so that it reaches the first entry too. `degrees`, those of each hidden layer's units, never fall along a
    layer; None spreads them evenly. Asked for one entry after another, as the inverse of `Autoregressive`
    does, all answers together cost as much as one pass.

    Raises ContractError, when it is built, if the hidden layers are too narrow for an entry to hear all that it may,
    and if `features` is no multiple of D. Germain, Gregor, Murray & Larochelle, MADE (2015).

    >>> import numpy as np
    >>> net = MADE([16], features=3)
    >>> tuple(net(np.ones((8, 3), "float32")).shape)
    (8, 3)
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
        degrees: WholeLists | None = None,
        **kwargs: Any,
    ) -> None:
        if degrees is not None and (
            [len(some) for some in degrees] != hidden or any(some != sorted(some) for some in degrees)
        ):
            raise ValueError(
                f"MADE's degrees: expected lists that never fall, as long as hidden={hidden} says, received "
                f"{shown(degrees)}."
            )
        super().__init__(
            hidden,
            degrees,
            features=features,
            activation=activation,
            context=context,
            num_classes=num_classes,
            **kwargs,
        )
        self.hidden, self.degrees = hidden, degrees

    def _through(self, h, layers):
        for own in layers:
            h = backends.dense(self.activation(h), **own)
        return self.activation(h)
