"""Right layers whose weights are held within bounds, which only large weights reach."""

import math

import numpy as np
from keras import ops

from flowkit import numerics
from flowkit.bijectors import Elementwise
from flowkit.contract import Bijector, BijectorSpec
from flowkit.testing import Case


class FreePlanar(Bijector):
    """x + u tanh(w.x + b), with u bent such that w.u > -1 (Rezende and Mohamed, 2015); w.x by bisection."""

    spec = BijectorSpec(inverse="iterative", event_rank=1)

    def build(self, x_shape):
        self.w = self.add_weight(shape=(x_shape[-1],), initializer="ones", name="w")
        self.u = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="u")
        self.b = self.add_weight(shape=(), initializer="zeros", name="b")

    def _norm(self):
        """|w|^2, which makes w.u the wanted number."""
        return ops.sum(self.w * self.w)

    def _bent(self):
        reach = ops.sum(self.w * self.u)
        return self.u + (numerics.softplus(reach) - 1 - reach) * self.w / self._norm()

    def _along(self, a, reach):
        """(a + w.u tanh(a + b), the logarithm of its slope)."""
        t = numerics.tanh(a + self.b)
        return a + reach * t, ops.log(ops.abs(1 + reach * (1 - t * t)))

    def _forward(self, x):
        u, a = self._bent(), ops.sum(x * self.w, axis=-1, keepdims=True)
        return x + u * numerics.tanh(a + self.b), self._along(a, ops.sum(self.w * u))[1][:, 0]

    def _inverse(self, z):
        u, target = self._bent(), ops.sum(z * self.w, axis=-1, keepdims=True)
        reach = ops.sum(self.w * u)
        size = ops.abs(reach) + 1
        a = numerics.solve_increasing(lambda a: self._along(a, reach), target, target - size, target + size)
        return z - u * numerics.tanh(a + self.b), -self._along(a, reach)[1][:, 0]


class Residual(Bijector):
    """x + g V tanh(U x), where the norms of U and V are below 0.75 and |g| < 1, for two entries.

    A fixed-point step leaves at most 0.57 of the error. With g at its start of 0 the layer is the identity.
    """

    spec = BijectorSpec(inverse="iterative", event_rank=1, event_multiple=(2,))
    steps = 28

    def build(self, x_shape):
        self.u = self.add_weight(shape=(2, 2), initializer="glorot_uniform", name="U")
        self.v = self.add_weight(shape=(2, 2), initializer="glorot_uniform", name="V")
        self.g = self.add_weight(shape=(), initializer="zeros", name="g")

    @staticmethod
    def _bounded(kernel):
        return 0.75 * kernel / ops.sqrt(1 + ops.sum(kernel * kernel))

    def _branch(self, x):
        """(g V tanh(U x), the determinant of 1 + its Jacobian)."""
        u, v, g = self._bounded(self.u), self._bounded(self.v), numerics.tanh(self.g)
        t = numerics.tanh(numerics.matmul(x, u))
        slope = (1 - t * t)[:, None, :] * u  # (batch, in, hidden)
        j = g * numerics.matmul(slope, v)
        return g * numerics.matmul(t, v), (1 + j[:, 0, 0]) * (1 + j[:, 1, 1]) - j[:, 0, 1] * j[:, 1, 0]

    def _forward(self, x):
        shift, det = self._branch(x)
        return x + shift, ops.log(det)

    def _inverse(self, z):
        x = z
        for _ in range(self.steps):
            x = z - self._branch(x)[0]
        return x, -ops.log(self._branch(x)[1])


class Spline(Elementwise):
    """A monotone rational-quadratic spline on [-3, 3] for each channel, straight outside (Durkan et al., 2019)."""

    bins, edge, least = 4, 3.0, 1e-3

    def build(self, x_shape):
        for name, size in (("widths", self.bins), ("heights", self.bins), ("slopes", self.bins - 1)):
            weight = self.add_weight(shape=(size, x_shape[-1]), initializer="zeros", name=name)
            setattr(self, name, weight)

    def _knots(self, raw):
        share = self.least + (1 - self.least * self.bins) * ops.softmax(raw, axis=0)
        inner = 2 * self.edge * numerics.cumsum(share, axis=0)[:-1] - self.edge
        side = ops.ones_like(inner[:1]) * self.edge
        return ops.concatenate([-side, inner, side], axis=0)

    def _bin(self, place, by):
        """Left and right knots on both axes and the slopes there, for the bin that holds `place` on the axis `by`."""
        xs, ys = self._knots(self.widths), self._knots(self.heights)
        slopes = self.least + numerics.softplus(self.slopes + math.log(math.e - 1))
        one = ops.ones_like(slopes[:1])
        slopes = ops.concatenate([one, slopes, one], axis=0)
        inner = (xs if by == 0 else ys)[1:-1]
        index = ops.sum(ops.cast(place[..., None, :] >= inner, "int32"), axis=-2)
        here = ops.cast(index[..., None, :] == np.arange(self.bins)[:, None], place.dtype)
        return [ops.sum(here * part, axis=-2) for k in (xs, ys, slopes) for part in (k[:-1], k[1:])]

    def _forward(self, x):
        clipped = ops.clip(x, -self.edge, self.edge)
        x0, x1, y0, y1, d0, d1 = self._bin(clipped, 0)
        t, s = (clipped - x0) / (x1 - x0), (y1 - y0) / (x1 - x0)
        bend = s + (d0 + d1 - 2 * s) * t * (1 - t)
        y = y0 + (y1 - y0) * (s * t * t + d0 * t * (1 - t)) / bend
        return self._outside(x, y, self._log_slope(t, s, d0, d1, bend))

    def _inverse(self, z):
        clipped = ops.clip(z, -self.edge, self.edge)
        x0, x1, y0, y1, d0, d1 = self._bin(clipped, 1)
        s, up, rest = (y1 - y0) / (x1 - x0), clipped - y0, d0 + d1 - 2 * (y1 - y0) / (x1 - x0)
        a = (y1 - y0) * (s - d0) + up * rest
        b = (y1 - y0) * d0 - up * rest
        c = -s * up
        t = 2 * c / (-b - ops.sqrt(ops.abs(b * b - 4 * a * c)))
        bend = s + rest * t * (1 - t)
        return self._outside(z, x0 + (x1 - x0) * t, -self._log_slope(t, s, d0, d1, bend))

    @staticmethod
    def _log_slope(t, s, d0, d1, bend):
        top = s * s * (d1 * t * t + 2 * s * t * (1 - t) + d0 * (1 - t) * (1 - t))
        return ops.log(top) - 2 * ops.log(bend)

    def _outside(self, given, answer, log_slope):
        inside = ops.abs(given) < self.edge
        return ops.where(inside, answer, given), ops.where(inside, log_slope, ops.zeros_like(log_slope))


BOUNDED = [
    Case("FreePlanar", FreePlanar, ((1,), (3,))),
    Case("Residual", Residual, ((2,),)),
    Case("Spline", Spline, ((1,), (3,))),
]
