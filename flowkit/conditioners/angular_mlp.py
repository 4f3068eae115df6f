"""A multilayer perceptron of angles."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.conditioners.mlp import MLP
from flowkit.contract import ContractError
from flowkit.contract.arguments import Widths, whole_numbers
from flowkit.contract.pick import pick
from flowkit.numerics import cos, sin


def places_of_angles(angles: Sequence[int], name: str) -> list[int]:
    """Return places of columns, in ascending order. Raises ValueError unless they are whole numbers from 0 up."""
    return sorted(set(whole_numbers(angles, name)))


Places = Annotated[Sequence[int], places_of_angles]


@keras.saving.register_keras_serializable("flowkit")
class AngularMLP(MLP):
    """An `MLP` that is given angles and sees their cosines and sines: what it answers has no jump at -pi.

    `angles` are the places of the columns that are angles, from 0; others it sees as they are. None: all are. The other
    arguments are those of `MLP`. Raises ContractError, when it is built, for a place beyond the columns.

    >>> import math
    >>> net = AngularMLP([8], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi], [math.pi]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """

    pure = True

    def __init__(self, hidden: Widths = (64, 64), *, angles: Places | None = None, **kwargs: Any) -> None:
        super().__init__(hidden, **kwargs)
        self.angles = angles

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        size = x_shape[-1]
        check_places(self, self.angles, size)
        seen = size + len(range(size) if self.angles is None else self.angles)
        super().build((*x_shape[:-1], seen), context_shape)

    def _hidden(self, x, context, derived):
        return super()._hidden(without_seam(x, self.angles), context, derived)


def check_places(owner: Any, angles: Sequence[int] | None, size: int) -> None:
    """Raise ContractError of `owner`, a network, for angles beyond the `size` columns that it is given."""
    if angles and angles[-1] >= size:
        raise ContractError(
            "event shape",
            owner,
            expected=f"angles at places from 0 to {size - 1}, for {size} columns",
            received=f"the place {angles[-1]}",
            hint="In a coupling of halves a network is given those that are kept alone."
            if isinstance(owner, AngularMLP)
            else None,
        )


def without_seam(x: Any, angles: Sequence[int] | None) -> Any:
    """What a network sees of columns of which those at `angles` are angles, None for all: x or cos x, then sin x."""
    if angles is None:
        return ops.concatenate([cos(x), sin(x)], axis=-1)
    if not angles:
        return x
    others = [place for place in range(x.shape[-1]) if place not in angles]
    turned = pick(x, angles)
    seen = [cos(turned), sin(turned)]
    return ops.concatenate([pick(x, others), *seen] if others else seen, axis=-1)
