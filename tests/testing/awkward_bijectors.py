"""Correct bijectors that a careless checker would cry out at."""

import numpy as np
from keras import ops

from flowkit import bijectors as fb
from flowkit.bijectors import Elementwise
from flowkit.conditioners import MLP
from flowkit.contract import Bijector, BijectorSpec, Domain
from flowkit.testing import Case
from tests.testing.wrong_bijectors.contexts import Conditional
from tests.testing.wrong_bijectors.gradients import Tilted
from tests.testing.wrong_bijectors.inverses import Bisected
from tests.testing.wrong_bijectors.saving import Inner, Slope


class Cube(Elementwise):
    """x^3 on the positive numbers, where its slope reaches from 0 to infinity."""

    spec = BijectorSpec(domain=Domain.POSITIVE, codomain=Domain.POSITIVE)

    def _forward(self, x):
        return x * x * x, np.log(3.0) + 2 * ops.log(x)

    def _inverse(self, z):
        log_x = ops.log(z) / 3
        return ops.exp(log_x), -np.log(3.0) - 2 * log_x


class Hyperbolic(Bijector):
    """Shears that nearly cancel: a matrix of condition number about 10^4 and determinant 1."""

    spec = BijectorSpec(log_det="zero")

    def _forward(self, x):
        a, b = x[..., :1], x[..., 1:]
        a = a + 10 * ops.sum(b, axis=-1, keepdims=True)
        return ops.concatenate([a, b + 10 * a], axis=-1), 0.0

    def _inverse(self, z):
        a, b = z[..., :1], z[..., 1:]
        b = b - 10 * a
        return ops.concatenate([a - 10 * ops.sum(b, axis=-1, keepdims=True), b], axis=-1), 0.0


class Float32Inside(Elementwise):
    """Falls to float32 on the way, whatever the policy, as many keras ops do."""

    def _forward(self, x):
        x = ops.cast(ops.cast(x, "float32") * 1.5, x.dtype)
        return x, ops.zeros_like(x) + np.log(1.5)

    def _inverse(self, z):
        return ops.cast(ops.cast(z, "float32") / 1.5, z.dtype), ops.zeros_like(z) - np.log(1.5)


class ManyTerms(Elementwise):
    """A round trip of a hundred steps: rounding errors add up."""

    spec = BijectorSpec(log_det="constant")

    def _forward(self, x):
        for _ in range(100):
            x = x * 1.1 - 0.1
        return x, ops.zeros_like(x) + 100 * np.log(1.1)

    def _inverse(self, z):
        for _ in range(100):
            z = (z + 0.1) / 1.1
        return z, ops.zeros_like(z) - 100 * np.log(1.1)


class ThereAndBack(Elementwise):
    """A shift by 1e5 and back, which loses what is small: around 0, and around 477 / 256, both sides alike."""

    spec = BijectorSpec(log_det="zero")

    def _forward(self, x):
        return (x + 1e5) - 1e5, ops.zeros_like(x)

    def _inverse(self, z):
        return (z + 1e5) - 1e5, ops.zeros_like(z)


class Simplex(Bijector):
    """A power on the simplex: p_i^2 / sum p_j^2, with the log-det of its free coordinates."""

    spec = BijectorSpec(domain=Domain.SIMPLEX, codomain=Domain.SIMPLEX)

    @staticmethod
    def _power(p, a):
        log_p = a * ops.log(p)
        log_q = log_p - ops.logsumexp(log_p, axis=-1, keepdims=True)
        n = p.shape[-1]
        # In log-ratio coordinates the map is multiplication by a.
        log_det = (n - 1) * np.log(a) + ops.sum(log_q, axis=-1) - ops.sum(ops.log(p), axis=-1)
        return ops.exp(log_q), log_det

    def _forward(self, p):
        return self._power(p, 2.0)

    def _inverse(self, q):
        return self._power(q, 0.5)


class Power(Elementwise):
    """x^p, p = exp(a): where a is large it overflows in the middle of its domain."""

    spec = BijectorSpec(domain=Domain.POSITIVE, codomain=Domain.POSITIVE)

    def build(self, x_shape):
        self.a = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="a")

    def _power(self, x, a):
        return ops.exp(ops.exp(a) * ops.log(x)), a + (ops.exp(a) - 1) * ops.log(x)

    def _forward(self, x):
        return self._power(x, self.a.value)

    def _inverse(self, z):
        return self._power(z, -self.a.value)


class OtherNames(Conditional):
    """`build` names its shapes otherwise."""

    def build(self, shape, context_shape=None):
        super().build(shape, context_shape)


VECTOR = ((1,), (3,))
AWKWARD = [
    Case("Cube", Cube, VECTOR),
    Case("Bisected", Bisected, VECTOR),
    Case("Hyperbolic", Hyperbolic, ((2,), (3,))),
    Case("Float32Inside", Float32Inside, VECTOR),
    Case("ManyTerms", ManyTerms, VECTOR),
    Case("ThereAndBack", ThereAndBack, VECTOR),
    Case("Simplex", Simplex, ((3,),)),
    Case("Tilted", Tilted, ((3,), (2, 4))),
    Case("Conditional", Conditional, VECTOR),
    Case("Power", Power, VECTOR),
    Case("OtherNames", OtherNames, VECTOR),
    Case("Steep", lambda: fb.Scale(12.0), VECTOR),
    Case("Flat", lambda: fb.Scale(-12.0), VECTOR),
    Case("FarShift", lambda: fb.Shift(1e6), VECTOR),
    Case("OneChannel", lambda: fb.Conv1x1(seed=0), ((1,), (1, 1, 1))),
    Case(
        "DoubleExponential",
        lambda: fb.Chain([fb.Scale(-2.0), fb.Exp(), fb.Inverse(fb.Softplus()), fb.Exp()]),
        VECTOR,
    ),
    Case(
        "DeepCouplings",
        lambda: fb.Chain([fb.Coupling(MLP([6]), swap=bool(i % 2)) for i in range(6)]),
        ((3,),),
    ),
    Case("WithArgument", lambda: Slope(3.0), VECTOR),
    Case("PartAsDefault", Inner, VECTOR),
]
