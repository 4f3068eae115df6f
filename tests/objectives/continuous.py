"""A small continuous flow, for the tests: dx/dt = v(x, t), solved by Runge-Kutta, with the exact divergence."""

import itertools

import keras
from keras import ops

from flowkit import Bijector, BijectorSpec
from flowkit.numerics import matmul, tanh


@keras.saving.register_keras_serializable("tests")
class Continuous(Bijector):
    """Latents at t = 0, data at t = 1; v is a network of two hidden layers, and log-det the integral of div v."""

    def __init__(self, width=64, *, steps=12, **kwargs):
        super().__init__(**kwargs)
        self.width, self.steps = width, steps
        # What twelve steps of fourth order leave of a round trip, here and there.
        self.spec = BijectorSpec(event_rank=1, forward="iterative", inverse="iterative")

    def build(self, x_shape):
        sizes = [x_shape[-1] + 1, self.width, self.width, x_shape[-1]]
        starts = ["glorot_uniform", "glorot_uniform", "zeros"]
        shapes = list(itertools.pairwise(sizes))
        self.kernels = [
            self.add_weight(shape=shapes[i], initializer=starts[i], name=f"kernel_{i}") for i in range(3)
        ]
        self.biases = [
            self.add_weight(shape=shapes[i][1:], initializer="zeros", name=f"bias_{i}") for i in range(3)
        ]

    def velocity(self, x, t, context=None):
        return self._velocity_and_divergence(x, t, tangents=False)[0]

    def _velocity_and_divergence(self, x, t, tangents=True):
        d = x.shape[-1]
        first, second, last = (kernel.value for kernel in self.kernels)
        one, two, three = (bias.value for bias in self.biases)
        h = tanh(matmul(ops.concatenate([x, t[:, None]], axis=-1), first) + one)
        g = tanh(matmul(h, second) + two)
        v = matmul(g, last) + three
        divergence = 0.0
        for i in range(d if tangents else 0):  # the derivative of v_i by x_i, along with v
            dh = (1 - ops.square(h)) * first[i]
            dg = (1 - ops.square(g)) * matmul(dh, second)
            divergence = divergence + matmul(dg, last)[:, i]
        return v, divergence

    def _solve(self, x, begin, end):
        step, log_det = (end - begin) / self.steps, 0.0
        for i in range(self.steps):
            rates = []
            for ahead in (0.0, 0.5, 0.5, 1.0):
                at = x + ahead * step * rates[-1][0] if rates else x
                t = ops.zeros_like(x[:, 0]) + (begin + (i + ahead) * step)
                rates.append(self._velocity_and_divergence(at, t))
            mean = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(*rates, strict=True)]
            x, log_det = x + step * mean[0], log_det + step * mean[1]
        return x, log_det

    def _forward(self, x):
        return self._solve(x, 1.0, 0.0)

    def _inverse(self, z):
        return self._solve(z, 0.0, 1.0)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "steps": self.steps}
