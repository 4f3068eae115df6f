"""A masked network of which some entries are angles."""

from typing import Any

import keras

from flowkit.conditioners.angular_mlp import Places, check_places, without_seam
from flowkit.conditioners.made import MADE
from flowkit.contract.arguments import Widths


@keras.saving.register_keras_serializable("flowkit")
class AngularMADE(MADE):
    """A `MADE` that sees the cosines and sines of the entries that are angles: what it answers has no jump at -pi.

    `angles` are their places, from 0, in the order in which it is given entries; None: all are. The other arguments
    and what is raised are those of `MADE`; a place beyond the entries is a ContractError too. The inverse of
    `Autoregressive` asks it for all entries until nothing changes.

    >>> import math
    >>> from keras import ops
    >>> net = AngularMADE([8], angles=[0], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi, 1.0], [math.pi, 1.0]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """

    pure = True

    def __init__(self, hidden: Widths = (64, 64), *, angles: Places | None = None, **kwargs: Any) -> None:
        super().__init__(hidden, **kwargs)
        self.angles = angles

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        check_places(self, self.angles, x_shape[-1])
        super().build(x_shape, context_shape)

    def _degrees_seen(self, size):
        # In the order of `without_seam`.
        angles = list(range(size)) if self.angles is None else self.angles
        others = [place for place in range(size) if place not in angles]
        return tuple(1 + place for place in (*others, *angles, *angles))

    def call(self, x: Any, context: Any = None, derived: Any = None) -> Any:
        return super().call(without_seam(x, self.angles), context, derived)

    def _derive(self, x_shape: Any) -> dict[str, Any]:
        # Beside `call`, so that what is derived is handed to it.
        return super()._derive(x_shape)
