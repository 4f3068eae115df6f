"""Haar wavelets: averages and differences of neighbouring places."""

from typing import Any

import numpy as np

from flowkit.bijectors.rearrange import Squeeze
from flowkit.contract import BijectorSpec
from flowkit.engines import engine
from flowkit.numerics import matmul


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
