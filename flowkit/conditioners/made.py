"""A masked network whose answer for each entry depends on those before it."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from flowkit import backends
from flowkit.conditioners.masked_network import MaskedNetwork
from flowkit.contract.arguments import shown, whole_numbers, widths


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
        hidden: Sequence[int] = (64, 64),
        *,
        features: int | None = None,
        activation: Any = "relu",
        context: str = "none",
        num_classes: int | None = None,
        degrees: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        hidden = widths(hidden, "MADE's hidden")
        if degrees is not None:
            told, degrees = degrees, [whole_numbers(some, "MADE's degrees") for some in _listed(degrees)]
            lengths = [len(some) for some in degrees]
            if lengths != hidden or any(some != sorted(some) for some in degrees):
                raise ValueError(
                    f"MADE expects degrees that never fall along a layer, as many as hidden={hidden} says, "
                    f"received {shown(told)}."
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": self.hidden, "degrees": self.degrees}


def _listed(degrees):
    """Return the degrees as an iterable of lists; a single number, or an array of it, as one list."""
    return degrees if isinstance(degrees, Iterable) and np.ndim(degrees) > 0 else [degrees]
