"""Moving entries: reshaping, trading places for channels, permuting channels, Haar wavelets."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.weights import new_weight, rng
from flowkit.contract import Bijector, BijectorSpec, ContractError, Shape
from flowkit.contract.arguments import LARGEST, Count, Seed, Wholes, shown, whole_number, words
from flowkit.contract.errors import shape_error
from flowkit.engines import engine
from flowkit.numerics import matmul


def event_of(sizes: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an event, without the batch. Raises ValueError unless it is a list of sizes."""
    if not isinstance(sizes, tuple | list):
        raise ValueError(f"{name}: got {shown(sizes)}, expected the sizes of an event, such as (4, 4, 3).")
    return tuple(
        whole_number(size, f"{name}, the sizes of an event", least=1, most=LARGEST) for size in sizes
    )


Event = Annotated[Sequence[int], event_of]


class Reshape(Bijector):
    """z = x in another shape, (batch, *event) -> (batch, *target), entries in row-major order; log-det = 0.

    `source`, the event's shape on the data's side, is learned at the first call if it is None.
    Raises ValueError for a `target` that is no list of sizes, ContractError if the sizes differ.

    >>> tuple(Reshape((4,))(ops.ones((3, 2, 2)))[0].shape)
    (3, 4)
    """

    spec = BijectorSpec(log_det="zero", rearranges=True)

    def __init__(self, target: Event, *, source: Event | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target, self.source = target, source

    def build(self, x_shape: Shape) -> None:
        self.source = tuple(x_shape[1:])

    def _forward(self, x):
        return ops.reshape(x, (-1, *self._latent_event(x.shape))), 0.0

    def _inverse(self, z):
        return ops.reshape(z, (-1, *self.source)), 0.0

    def _latent_event(self, x_shape):
        event = tuple(x_shape[1:])
        if self.source is not None and event != self.source:
            self._refuse(f"an event of shape {self.source}", event)
        return self._reshaped(event)

    def _reshaped(self, event):
        if math.prod(event) != math.prod(self.target):
            self._refuse(f"an event of {math.prod(self.target)} entries to make {self.target} of", event)
        return self.target

    def latent_rank(self, rank: int | None) -> int | None:
        return len(self.target)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._latent_event(input_shape))

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        if self.source is None:
            self._refuse("a first call on data, or source=", tuple(latent_shape[1:]))
        expected = self._latent_event((None, *self.source))
        if tuple(latent_shape[1:]) != expected:
            self._refuse(f"latents of event shape {expected}", tuple(latent_shape[1:]))
        return (latent_shape[0], *self.source)

    def _refuse(self, expected, received):
        raise ContractError("event shape", self, expected=expected, received=str(received))


class Flatten(Reshape):
    """z = x as a vector, (batch, *event) -> (batch, dim), entries in row-major order; log-det = 0.

    `source` is as in `Reshape`.

    >>> tuple(Flatten()(ops.ones((3, 2, 2)))[0].shape)
    (3, 4)
    """

    def __init__(self, *, source: Event | None = None, **kwargs: Any) -> None:
        super().__init__((), source=source, **kwargs)

    def _reshaped(self, event):
        return (math.prod(event),)

    def latent_rank(self, rank: int | None) -> int | None:
        return 1


class Squeeze(Bijector):
    """(h, w, c) -> (h/f, w/f, c f^2): each f x f block of places becomes channels.

    Channel order as in Glow and torch's pixel_unshuffle: new channel = c f^2 + i f + j for row i and
    column j of the block. (Keras's and TensorFlow's space_to_depth order differs.)

    Dinh, Sohl-Dickstein & Bengio, Real NVP (2017), section 3.6.

    >>> import keras
    >>> tuple(Squeeze()(keras.ops.ones((1, 4, 6, 3)))[0].shape)
    (1, 2, 3, 12)
    """

    def __init__(self, factor: Count = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.spec = BijectorSpec(
            event_rank=3, event_multiple=(factor, factor, 1), log_det="zero", rearranges=True
        )

    def _forward(self, x):
        f = self.factor
        _, h, w, c = x.shape
        x = engine.reshape(x, (-1, h // f, f, w // f, f, c))
        x = engine.transpose(x, (0, 1, 3, 5, 2, 4))
        return engine.reshape(x, (-1, h // f, w // f, c * f * f)), 0.0

    def _inverse(self, z):
        f = self.factor
        _, h, w, c = z.shape
        z = engine.reshape(z, (-1, h, w, c // (f * f), f, f))
        z = engine.transpose(z, (0, 1, 4, 2, 5, 3))
        return engine.reshape(z, (-1, h * f, w * f, c // (f * f))), 0.0

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        f = self.factor
        b, h, w, c = input_shape
        return (b, h and h // f, w and w // f, c * f * f)

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        f = self.factor
        if len(latent_shape) != 4 or latent_shape[-1] % (f * f):
            raise shape_error(self, f"latents (batch, h, w, c) with c a multiple of {f * f}", latent_shape)
        b, h, w, c = latent_shape
        return (b, h and h * f, w and w * f, c // (f * f))


class Permute(Bijector):
    """z[..., i] = x[..., order[i]]: "reverse", "shuffle" (drawn once from `seed`) or a list of indices.

    Raises ValueError for another word, ContractError if a list is no permutation of the channels.

    >>> z, log_det = Permute([2, 0, 1])(ops.convert_to_tensor([[10.0, 20.0, 30.0]]))
    >>> ops.convert_to_numpy(z).tolist()
    [[30.0, 10.0, 20.0]]
    """

    spec = BijectorSpec(log_det="zero", rearranges=True)

    def __init__(
        self,
        order: Annotated[str, words("reverse", "shuffle")] | Wholes = "reverse",
        *,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.order, self.seed = order, seed

    def build(self, x_shape: Shape) -> None:
        indices = self._indices(x_shape[-1])
        # A weight, since a shuffle must survive saving; both ways, since argsort at each call is waste.
        self.indices = new_weight(self, "indices", indices, trainable=False, dtype="int32")
        self.back = new_weight(self, "indices_inverse", np.argsort(indices), trainable=False, dtype="int32")

    def _indices(self, channels):
        if self.order == "reverse":
            return np.arange(channels)[::-1]
        if self.order == "shuffle":
            return rng(self.seed).permutation(channels)
        if sorted(self.order) != list(range(channels)):
            wanted = f"a permutation of 0..{channels - 1} for {channels} channels"
            raise ContractError("event shape", self, expected=wanted, received=str(self.order))
        return np.asarray(self.order)

    def _forward(self, x):
        return ops.take(x, self.indices, axis=-1), 0.0

    def _inverse(self, z):
        return ops.take(z, self.back, axis=-1), 0.0


class Haar(Squeeze):
    """(h, w, c) -> (h/2, w/2, 4 c): half the sum of each 2 x 2 block, and three differences; log-det = 0.

    The first c channels of the latents are the averages (times 2), then come differences of columns, of rows and of
    diagonals. The map is orthogonal: a `Squeeze` with a rotation of each block. Images have an even height and width.

    Haar, Zur Theorie der orthogonalen Funktionensysteme (1910); in flows Ardizzone, Lueth, Kruse, Rother & Koethe,
    Guided Image Generation with Conditional Invertible Neural Networks (2019).

    >>> import keras
    >>> z, log_det = Haar()(keras.ops.ones((1, 4, 6, 1)))
    >>> tuple(z.shape), keras.ops.convert_to_numpy(z[0, 0, 0]).tolist()
    ((1, 2, 3, 4), [2.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(2, **kwargs)
        self.spec = BijectorSpec(event_rank=3, event_multiple=(2, 2, 1), log_det="zero")

    def _forward(self, x):
        z, _ = super()._forward(x)
        _, height, width, channels = z.shape
        z = matmul(engine.reshape(z, (-1, height, width, channels // 4, 4)), engine.constant(bands, like=z))
        return engine.reshape(engine.transpose(z, (0, 1, 2, 4, 3)), (-1, height, width, channels)), 0.0

    def _inverse(self, z):
        _, height, width, channels = z.shape
        x = engine.transpose(engine.reshape(z, (-1, height, width, 4, channels // 4)), (0, 1, 2, 4, 3))
        x = matmul(x, engine.constant(bands, like=z))  # which is its own inverse
        return super()._inverse(engine.reshape(x, (-1, height, width, channels)))


def bands():
    """Return the symmetric orthogonal matrix from the places of a block to average, columns, rows and diagonal."""
    return 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], "float32")
