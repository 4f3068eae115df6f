"""Surjections that forget the sign of an entry, the order of entries, or all but the largest of a block."""

import math

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.elementwise import inside
from flowkit.contract import BijectorSpec, Domain, Shape, Surjection, sum_event
from flowkit.contract.shapes import event_size
from flowkit.engines import engine
from flowkit.numerics import cumsum, log1mexp, log_sigmoid, maximum, softplus


class Absolute(Surjection):
    """z = |x| for each entry, and -D ln(2) is added to the likelihood, D entries to an event: it stays exact.

    The way back draws each sign, + or - with equal probability. A flow of data that are symmetric about 0 then need not
    learn both halves. z is positive, the smallest number for 0: map it onto the real line by `Inverse(Softplus())`.
    Events have any shape. Nielsen, Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> z, log_det = Absolute()(ops.convert_to_tensor([[-2.0, 3.0]]))
    >>> ops.convert_to_numpy(z).tolist(), round(float(log_det[0]), 4)
    ([[2.0, 3.0]], -1.3863)
    """

    spec = BijectorSpec(codomain=Domain.POSITIVE, log_det="constant", noise="inverse")
    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def _forward(self, x):
        return inside(ops.abs(x), self.spec.codomain), -event_size(x.shape) * math.log(2)

    def _inverse(self, z, noise):
        positive = ops.reshape(noise, ops.shape(z)) < 0.5
        return ops.where(positive, z, -z), event_size(z.shape) * math.log(2)


class Sort(Surjection):
    """z = (x_(1), s(x_(2) - x_(1)), ..., s(x_(n) - x_(n-1))), x_(k) the k-th smallest entry of the last axis.

    s(g) = log(e^g - 1), the inverse of softplus, takes gaps to all real numbers; large ones stay as they are, so that
    samples do not overflow. The log-det is -ln(n!) - sum_k log sigmoid(z_k), k from 2 on, and stays exact: a density
    that does not depend on the order of entries. The way back puts entries in a random order. Equal entries, which have
    probability 0, count as the smallest number apart. Vectors (batch, n), or each place of an image by itself. Nielsen,
    Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> z, log_det = Sort()(ops.convert_to_tensor([[3.0, 1.0, 2.0]]))
    >>> [round(float(number), 4) for number in z[0]], round(float(log_det[0]), 4)
    ([1.0, 0.5413, 0.5413], -0.8744)
    """

    spec = BijectorSpec(noise="inverse")
    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def _forward(self, x):
        ordered = ops.sort(x, axis=-1)
        tiny = np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny.item()
        gaps = maximum(ordered[..., 1:] - ordered[..., :-1], tiny)
        log_slope = log1mexp(gaps)
        return engine.concatenate([ordered[..., :1], gaps + log_slope]), -self._volume(log_slope, x.shape)

    def _inverse(self, z, noise):
        ordered = cumsum(engine.concatenate([z[..., :1], softplus(z[..., 1:])]), axis=-1)
        order = ops.argsort(ops.reshape(noise, ops.shape(z)), axis=-1)
        return ops.take_along_axis(ordered, order, axis=-1), self._volume(log_sigmoid(z[..., 1:]), z.shape)

    def _volume(self, log_slope, shape):
        return sum_event(log_slope) + math.prod(shape[1:-1]) * math.lgamma(shape[-1] + 1)


class StochasticPermute(Surjection):
    """z = x with the entries of the last axis in a random order, drawn anew for each sample; log-det = 0.

    Both directions draw the order uniformly, so that the likelihood becomes a bound: a flow after it cannot know which
    entry was which. Events have any shape; all places of an image have the same order. Nielsen, Jaini, Hoogeboom,
    Winther & Welling, SurVAE Flows (2020).

    >>> x, noise = ops.convert_to_tensor([[1.0, 2.0, 3.0]]), ops.convert_to_tensor([[0.5, 0.9, 0.1]])
    >>> ops.convert_to_numpy(StochasticPermute()(x, noise=noise)[0]).tolist()
    [[3.0, 1.0, 2.0]]
    """

    spec = BijectorSpec(noise="both", likelihood="bound", log_det="zero")
    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return int(x_shape[-1])

    def _forward(self, x, noise):
        return self._ordered(x, ops.argsort(noise, axis=-1)), 0.0

    def _inverse(self, z, noise):
        return self._ordered(z, ops.argsort(ops.argsort(noise, axis=-1), axis=-1)), 0.0

    def _ordered(self, x, order):
        order = ops.reshape(order, (-1, *(1,) * (len(x.shape) - 2), x.shape[-1]))
        return ops.take_along_axis(x, ops.broadcast_to(order, ops.shape(x)), axis=-1)


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
