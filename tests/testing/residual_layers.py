"""Residual blocks, z = x + g(x): exact and estimated log-dets, an inverse by fixed points, a norm that is refreshed."""

import keras
from keras import ops

from flowkit import numerics
from flowkit.contract import Bijector, BijectorSpec, sum_event


@keras.saving.register_keras_serializable("tests")
class Residual(Bijector):
    """z = x + g(x) with g(x) = W2 tanh(W1 x + b), each W short enough for a slope below `bound`.

    log|det dz/dx| = sum_k (-1)^(k + 1) tr(J^k) / k, the trace by one probe for each axis.
    """

    bound, steps, terms = 0.25, 14, 10
    # A step brings the fixed point nearer by `bound`: all of them by 4e-9. The terms left out add up to less than
    # n bound^11 / 11 / (1 - bound) = 3e-8 n, a unit of 1.2e-7 or two for some entries.
    spec = BijectorSpec(event_rank=1, inverse="iterative", log_det_error=2.0)

    def build(self, x_shape):
        n = x_shape[-1]
        self.w1 = self.add_weight(shape=(n, 4), initializer="glorot_uniform", name="w1")
        self.b = self.add_weight(shape=(4,), initializer="zeros", name="b")
        self.w2 = self.add_weight(shape=(4, n), initializer="glorot_uniform", name="w2")

    def _short(self, w):
        """`w` with a norm below the root of `bound`, by its Frobenius norm: no stretch is larger."""
        w = ops.convert_to_tensor(w)  # from Keras 3.16 on, variables in float64 are multiplied in float32
        return w * (self.bound / (self.bound + ops.sum(w * w))) ** 0.5

    def _g(self, x, *vectors):
        """g(x), and J v for each of the vectors."""
        w1, w2 = self._short(self.w1), self._short(self.w2)
        h = numerics.tanh(numerics.matmul(x, w1) + self.b)
        moved = [numerics.matmul((1 - h * h) * numerics.matmul(v, w1), w2) for v in vectors]
        return numerics.matmul(h, w2), *moved

    def _series(self, x, *probes):
        """sum_k (-1)^(k + 1) v' J^k v / k for each sample, added up over the probes v."""
        moved, total = probes, 0.0
        for k in range(1, self.terms + 1):
            moved = self._g(x, *moved)[1:]
            trace = sum(sum_event(v * jv) for v, jv in zip(probes, moved, strict=True))
            total = total + (-1) ** (k + 1) / k * trace
        return total

    def _log_det(self, x):
        axes = ops.eye(x.shape[-1], dtype=x.dtype)
        return self._series(x, *(ops.zeros_like(x) + axes[i] for i in range(x.shape[-1])))

    def _solve(self, z):
        x = z
        for _ in range(self.steps):
            x = z - self._g(x)[0]
        return x

    def _forward(self, x):
        return x + self._g(x)[0], self._log_det(x)

    def _inverse(self, z):
        x = self._solve(z)
        return x, -self._log_det(x)


@keras.saving.register_keras_serializable("tests")
class Hutchinson(Residual):
    """The trace by one random probe in its noise: an estimate, whose mean is the trace."""

    spec = BijectorSpec(
        event_rank=1, inverse="iterative", log_det_error=2.0, noise="both", likelihood="estimated"
    )

    def noise_size(self, x_shape):
        return x_shape[-1]

    def _forward(self, x, noise):
        return x + self._g(x)[0], self._series(x, noise)

    def _inverse(self, z, noise):
        x = self._solve(z)
        return x, -self._series(x, noise)


@keras.saving.register_keras_serializable("tests")
class Spectral(Residual):
    """Norms by power iteration, one more step of which is taken whenever it is refreshed."""

    def build(self, x_shape):
        super().build(x_shape)
        self.sizes, self.vectors = [], []
        for w in (self.w1, self.w2):
            start = keras.initializers.RandomNormal(seed=len(self.sizes))
            shape = (w.shape[1], 1)
            self.vectors.append(
                self.add_weight(shape=shape, initializer=start, trainable=False, name="vector")
            )
            self.sizes.append(self.add_weight(shape=(), initializer="ones", trainable=False, name="size"))

    def _short(self, w):
        size = self.sizes[0 if w is self.w1 else 1]
        return w * (self.bound / (self.bound + size**2)) ** 0.5

    def _refresh(self, x):
        for w, vector, size in zip((self.w1, self.w2), self.vectors, self.sizes, strict=True):
            v = ops.convert_to_tensor(vector)
            for _ in range(4):
                u = numerics.matmul(w, v / (numerics.norm(v) + 1e-6))
                v = numerics.matmul(ops.transpose(w), u / (numerics.norm(u) + 1e-6))
            vector.assign(v)
            size.assign(numerics.norm(v))
