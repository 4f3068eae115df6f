"""Changing an event's shape, not its entries."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.arguments import LARGEST, shown, whole_number


def event_of(sizes: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an event, without the batch. Raises ValueError unless it is a list of sizes."""
    if not isinstance(sizes, tuple | list):
        raise ValueError(
            f"{name}: expected the sizes of an event, such as (4, 4, 3), received {shown(sizes)}."
        )
    return tuple(
        whole_number(size, f"{name}, the sizes of an event", least=1, most=LARGEST) for size in sizes
    )


Event = Annotated[Sequence[int], event_of]


@keras.saving.register_keras_serializable("flowkit")
class Reshape(Bijector):
    """z = x in another shape, (batch, *event) -> (batch, *target), entries in row-major order; log-det = 0.

    `source`, the event's shape on the data's side, is learned at the first call if it is None.
    Raises ValueError for a `target` that is no list of sizes, ContractError if the sizes differ.

    >>> tuple(Reshape((4,))(ops.ones((3, 2, 2)))[0].shape)
    (3, 4)
    """

    pure = True
    spec = BijectorSpec(log_det="zero", rearranges=True)

    def __init__(self, target: Event, *, source: Event | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target, self.source = target, source

    def build(self, x_shape: Any) -> None:
        self.source = tuple(x_shape[1:])

    def _forward(self, x):
        return ops.reshape(x, (-1, *self._latent_event(x.shape))), 0.0

    def _inverse(self, z):
        return ops.reshape(z, (-1, *self.source)), 0.0

    def _latent_event(self, x_shape):
        event = tuple(x_shape[1:])
        if self.source is not None and event != self.source:
            self._refuse(f"an event of shape {self.source}", event)
        if math.prod(event) != math.prod(self.target):
            self._refuse(f"an event of {math.prod(self.target)} entries to make {self.target} of", event)
        return self.target

    def latent_rank(self, rank: int | None) -> int | None:
        return len(self.target)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *self._latent_event(input_shape))

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        if self.source is None:
            self._refuse("a first call on data, or source=", tuple(latent_shape[1:]))
        expected = self._latent_event((None, *self.source))
        if tuple(latent_shape[1:]) != expected:
            self._refuse(f"latents of event shape {expected}", tuple(latent_shape[1:]))
        return (latent_shape[0], *self.source)

    def _refuse(self, expected, received):
        raise ContractError("event shape", self, expected=expected, received=str(received))


@keras.saving.register_keras_serializable("flowkit")
class Flatten(Reshape):
    """z = x as a vector, (batch, *event) -> (batch, dim), entries in row-major order; log-det = 0.

    `source` is as in `Reshape`.

    >>> tuple(Flatten()(ops.ones((3, 2, 2)))[0].shape)
    (3, 4)
    """

    pure = True

    def __init__(self, *, source: Event | None = None, **kwargs: Any) -> None:
        super().__init__((), source=source, **kwargs)

    def _latent_event(self, x_shape):
        event = tuple(x_shape[1:])
        if self.source is not None and event != self.source:
            self._refuse(f"an event of shape {self.source}", event)
        return (math.prod(event),)

    def latent_rank(self, rank: int | None) -> int | None:
        return 1
