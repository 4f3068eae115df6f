"""The families of the literature that flowkit's own layers do not have yet, and mistakes seen in them."""

import math

import keras
import numpy as np
from keras import ops

from flowkit import numerics
from flowkit.bijectors import Autoregressive, Coupling
from flowkit.conditioners import MADE, MLP
from flowkit.contract import Bijector, BijectorSpec, sum_event
from flowkit.testing import Case
from flowkit.transforms import RationalQuadratic
from tests.testing.bounded_layers import FreePlanar


@keras.saving.register_keras_serializable("tests", name="ContinuousUnderTest")
class Continuous(Bijector):
    """dx/dt = f(x, t), in fixed Runge-Kutta steps of fourth order; log_det is the integral of the divergence.

    Data are at t = 0, latents at t = 1 (Chen et al., Neural ODEs, 2018). f is a network of bounded slope.
    """

    steps = 8
    # f moves by less than 1/2 in a unit of time and its slopes are below 1/4: a fifth derivative of x in time of 0.1
    # would leave 8 * (1/8)^5 * 0.1 / 120 = 2e-7 = 2 units after eight steps; there and back that doubles.
    spec = BijectorSpec(
        event_rank=1,
        forward="iterative",
        inverse="iterative",
        round_trip=16.0,
        log_det_error=16.0,
        context="required",
    )

    def build(self, x_shape, context_shape):
        n = x_shape[-1]
        self.w1 = self.add_weight(shape=(n, 4), initializer="glorot_uniform", name="w1")
        self.v = self.add_weight(shape=(context_shape[-1] + 1, 4), initializer="glorot_uniform", name="v")
        self.w2 = self.add_weight(shape=(4, n), initializer="glorot_uniform", name="w2")

    @staticmethod
    def _short(w):
        return w * (0.25 / (0.25 + ops.sum(w * w))) ** 0.5

    def _rate(self, x, t, context):
        """f(x, t) and its divergence."""
        w1, v, w2 = self._short(self.w1), self._short(self.v), self._short(self.w2)
        given = numerics.matmul(ops.cast(context, x.dtype), v[:-1])
        h = numerics.tanh(numerics.matmul(x, w1) + given + t * v[-1])
        return numerics.matmul(h, w2), ops.sum((1 - h * h) * ops.sum(w1 * ops.transpose(w2), axis=0), axis=-1)

    def _solve(self, x, context, start, end):
        h, total = (end - start) / self.steps, 0.0
        for i in range(self.steps):
            t = start + i * h
            k1, d1 = self._rate(x, t, context)
            k2, d2 = self._rate(x + h / 2 * k1, t + h / 2, context)
            k3, d3 = self._rate(x + h / 2 * k2, t + h / 2, context)
            k4, d4 = self._rate(x + h * k3, t + h, context)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return x, total

    def _forward(self, x, context):
        return self._solve(x, context, 0.0, 1.0)

    def _inverse(self, z, context):
        return self._solve(z, context, 1.0, 0.0)


def causal(tokens):
    """Which token reads which: itself and those before it."""
    return np.tril(np.ones((tokens, tokens), bool))


@keras.saving.register_keras_serializable("tests")
class Attention(Bijector):
    """A token moved and stretched given those before it, by attention (Zhai et al., TarFlow, 2024): sequential back."""

    spec = BijectorSpec(event_rank=2, inverse="sequential", fixed_axes="all")
    width = 4

    def build(self, x_shape):
        _, tokens, k = x_shape
        shapes = {"taken": (k, 4), "query": (4, 4), "key": (4, 4), "value": (4, 4), "given": (4, 2 * k)}
        for name, shape in {**shapes, "place": (tokens, 4), "first": (1, 1, 4)}.items():
            setattr(self, name, self.add_weight(shape=shape, initializer="glorot_uniform", name=name))

    def _shifted(self, h):
        """What is before each token: a learnt start, then all but the last."""
        return ops.concatenate([ops.zeros_like(h[:, :1]) + self.first, h[:, :-1]], axis=1)

    def _moves(self, x):
        h = self._shifted(numerics.matmul(x, self.taken)) + self.place
        query, key, value = (numerics.matmul(h, w) for w in (self.query, self.key, self.value))
        scores = numerics.matmul(query, ops.transpose(key, (0, 2, 1))) / math.sqrt(self.width)
        scores = ops.where(ops.convert_to_tensor(causal(x.shape[1])), scores, -1e9)
        h = h + numerics.matmul(ops.softmax(scores), value)
        shift, log_scale = ops.split(numerics.matmul(numerics.tanh(h), self.given), 2, axis=-1)
        return shift, numerics.tanh(log_scale)

    def _forward(self, x):
        shift, log_scale = self._moves(x)
        return (x - shift) * ops.exp(-log_scale), -sum_event(log_scale)

    def _inverse(self, z):
        x = ops.zeros_like(z)
        for _ in range(z.shape[1]):
            shift, log_scale = self._moves(x)
            x = z * ops.exp(log_scale) + shift
        return x, sum_event(log_scale)


def reader(**options):
    """A small network that reads a context."""
    return MLP([4], context="required", **options)


VECTOR = ((3,),)

FAMILIES = [
    Case("spline coupling", lambda: Coupling(reader(), RationalQuadratic(3)), VECTOR),
    Case("masked autoregressive", lambda: Autoregressive(MADE([4], context="required")), VECTOR),
    Case("planar", FreePlanar, ((3,),)),
    Case("continuous", Continuous, VECTOR),
    Case("attention", Attention, ((3, 2),)),
]
