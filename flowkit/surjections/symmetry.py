"""Surjections that forget a symmetry: the sign of an entry, or the order of entries."""

import math

import keras
import numpy as np
from keras import ops

from flowkit.contract import BijectorSpec, Domain, Shape, Surjection, sum_event
from flowkit.contract.shapes import event_size, places
from flowkit.engines import engine
from flowkit.numerics import cumsum, maximum


class Absolute(Surjection):
    """z = |x| for each entry, and -D ln(2) is added to the likelihood, D entries to an event: it stays exact.

    The way back draws each sign, + or - with equal probability. A flow of data that are symmetric about 0 then need not
    learn both halves. z is positive: map it onto the real line by `Inverse(Softplus())`. Events have any shape.
    Nielsen, Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> z, log_det = Absolute()(ops.convert_to_tensor([[-2.0, 3.0]]))
    >>> ops.convert_to_numpy(z).tolist(), round(float(log_det[0]), 4)
    ([[2.0, 3.0]], -1.3863)
    """

    spec = BijectorSpec(codomain=Domain.POSITIVE, log_det="constant", noise="inverse")
    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def _forward(self, x):
        return ops.abs(x), -event_size(x.shape) * math.log(2)

    def _inverse(self, z, noise):
        positive = ops.reshape(noise, ops.shape(z)) < 0.5
        return ops.where(positive, z, -z), event_size(z.shape) * math.log(2)


class Sort(Surjection):
    """z = (x_(1), log(x_(2) - x_(1)), ..., log(x_(n) - x_(n-1))), x_(k) the k-th smallest entry of the last axis.

    -ln(n!) - sum of z_2, ..., z_n is added to the likelihood, which stays exact: a density that does not depend on the
    order of entries. Logarithms of gaps, so that z may be any real numbers. The way back puts entries in a random
    order. Equal entries, which have probability 0, count as the smallest number apart. Vectors (batch, n), or each
    place of an image by itself. Nielsen, Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> z, log_det = Sort()(ops.convert_to_tensor([[3.0, 1.0, 2.0]]))
    >>> ops.convert_to_numpy(z).tolist(), round(float(log_det[0]), 4)
    ([[1.0, 0.0, 0.0]], -1.7918)
    """

    spec = BijectorSpec(noise="inverse")
    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def _forward(self, x):
        ordered = ops.sort(x, axis=-1)
        tiny = np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny.item()
        log_gaps = ops.log(maximum(ordered[..., 1:] - ordered[..., :-1], tiny))
        return engine.concatenate([ordered[..., :1], log_gaps]), -self._volume(log_gaps, x.shape)

    def _inverse(self, z, noise):
        log_gaps = z[..., 1:]
        ordered = cumsum(engine.concatenate([z[..., :1], ops.exp(log_gaps)]), axis=-1)
        order = ops.argsort(ops.reshape(noise, ops.shape(z)), axis=-1)
        return ops.take_along_axis(ordered, order, axis=-1), self._volume(log_gaps, z.shape)

    def _volume(self, log_gaps, shape):
        return sum_event(log_gaps) + places(shape) * math.lgamma(shape[-1] + 1)


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
