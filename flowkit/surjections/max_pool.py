"""Max-pooling as a surjection."""

import math

from keras import ops

from flowkit.contract import BijectorSpec, Shape, Surjection, sum_event
from flowkit.contract.shapes import event_size
from flowkit.engines import engine


class MaxPool(Surjection):
    """z = the largest entry of each 2 x 2 block of an image, (h, w, c) -> (h/2, w/2, c); the likelihood stays exact.

    ln(1/4) + sum of log q(d_i) is added for each block: which entry is the largest is uniform, and the distances d_i of
    the three others from it are exponential, with one learned rate for each channel, from 1. The way back draws both.
    Equal entries, as in images of whole numbers, have density 0: dequantise first. Nielsen, Jaini, Hoogeboom, Winther &
    Welling, SurVAE Flows (2020).

    >>> x = ops.reshape(ops.convert_to_tensor([1.0, 4.0, 2.0, 3.0]), (1, 2, 2, 1))
    >>> z, log_det = MaxPool()(x)
    >>> float(z[0, 0, 0, 0]), round(float(log_det[0]), 4)  # -ln(4) - (3 + 2 + 1)
    (4.0, -7.3863)
    """

    spec = BijectorSpec(event_rank=3, event_multiple=(2, 2, 1), noise="inverse")
    noise_kind = "uniform"

    def build(self, x_shape: Shape) -> None:
        self.log_rate = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="log_rate")

    def noise_size(self, x_shape: Shape) -> int:
        return 3 * event_size(x_shape) // 4

    def _blocks(self, x):
        """Return the four entries of each block, (batch, h/2, w/2, c, 4)."""
        _, height, width, channels = x.shape
        x = engine.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        x = engine.transpose(x, (0, 1, 3, 5, 2, 4))
        return engine.reshape(x, (-1, height // 2, width // 2, channels, 4))

    def _log_density(self, distances):
        """Return ln(1/4) + sum of log q(d), (batch,), of distances (batch, h, w, c, 3)."""
        log_rate = self.log_rate.value[:, None]
        log_q = sum_event(log_rate - ops.exp(log_rate) * distances)
        return log_q - math.log(4) * math.prod(distances.shape[1:-1])

    def _forward(self, x):
        blocks = ops.sort(self._blocks(x), axis=-1)
        z = blocks[..., -1]
        return z, self._log_density(z[..., None] - blocks[..., :-1])

    def _inverse(self, z, noise):
        _, height, width, channels = z.shape
        u = ops.reshape(noise, (-1, height, width, channels, 3))
        # One number says which entry is the largest, and what is left of it is uniform again.
        place = ops.floor(4 * u[..., :1])
        u = engine.concatenate([4 * u[..., :1] - place, u[..., 1:]])
        distances = -ops.log1p(-u) * ops.exp(-self.log_rate.value)[:, None]
        shifted = engine.concatenate([ops.zeros_like(place), distances])  # the largest first
        order = ops.mod(ops.cast(ops.arange(4), place.dtype) - place, 4)
        x = z[..., None] - ops.take_along_axis(shifted, ops.cast(order, "int32"), axis=-1)
        x = engine.transpose(engine.reshape(x, (-1, height, width, channels, 2, 2)), (0, 1, 4, 2, 5, 3))
        return engine.reshape(x, (-1, 2 * height, 2 * width, channels)), -self._log_density(distances)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        return (batch, height and height // 2, width and width // 2, channels)

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        batch, height, width, channels = latent_shape
        return (batch, height and 2 * height, width and 2 * width, channels)
