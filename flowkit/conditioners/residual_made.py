"""A masked network of residual blocks."""

from collections.abc import Sequence
from typing import Any

import keras

from flowkit import backends
from flowkit.conditioners.dense import activate
from flowkit.conditioners.masked_network import MaskedNetwork
from flowkit.contract.arguments import shown, whole_number, whole_numbers


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
        width: int = 64,
        *,
        blocks: int = 2,
        features: int | None = None,
        activation: Any = "relu",
        context: str = "none",
        num_classes: int | None = None,
        degrees: Sequence[int] | None = None,
        activate_last: bool = True,
        **kwargs: Any,
    ) -> None:
        width = whole_number(width, "ResidualMADE's width", least=1, most=2**20)
        blocks = whole_number(blocks, "ResidualMADE's blocks", least=1, most=1024)
        if degrees is not None:
            degrees = whole_numbers(degrees, "ResidualMADE's degrees")
            if len(degrees) != width or degrees != sorted(degrees):
                raise ValueError(
                    f"ResidualMADE expects {width} degrees that never fall, one for each unit of a layer, received "
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
        self.activate_last = bool(activate_last)

    def _through(self, h, layers):
        for one, two in zip(layers[::2], layers[1::2], strict=True):
            more = activate(self.activation, backends.dense(self.activation(h), **one))
            h = h + backends.dense(more, **two)
        return activate(self.activation, h) if self.activate_last else h

    def get_config(self) -> dict[str, Any]:
        own = {"width": self.width, "blocks": self.blocks, "degrees": self.degrees}
        return {**super().get_config(), **own, "activate_last": self.activate_last}
