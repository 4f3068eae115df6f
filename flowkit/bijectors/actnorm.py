"""Activation normalisation with data-dependent initialisation."""

from typing import Any

import keras
from keras import ops

from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.adaptation import adapted_flag, normalizing, warn_of_constants
from flowkit.contract.arguments import Positive
from flowkit.contract.shapes import channel_log_det


@keras.saving.register_keras_serializable("flowkit")
class ActNorm(Bijector):
    """z = (x + shift) exp(factor * logs), one shift and one logs for each channel.

    `adapt(x)` sets both so that the batch `x` leaves with mean 0 and variance 1; until then the
    layer refuses to work. Without data, by `Flow.adapt()`, it is what leaves the inverse. `factor` = 3,
    as published, makes a step on `logs` count three times.

    Raises ValueError for a factor that is not above 0. Kingma & Dhariwal, Glow (2018), section 3.1.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    >>> z, log_det = ActNorm().adapt(x)(x)
    >>> bool(abs(ops.convert_to_numpy(z).std() - 1) < 1e-3)
    True
    """

    spec = BijectorSpec(log_det="constant")

    def __init__(self, factor: Positive = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, x_shape: Any) -> None:
        channels = x_shape[-1]
        self.shift = self.add_weight(shape=(channels,), initializer="zeros", name="shift")
        self.logs = self.add_weight(shape=(channels,), initializer="zeros", name="logs")
        self.flag = adapted_flag(self)

    @property
    def log_scale(self) -> Any:
        """Return factor * logs, shape (channels,)."""
        return self.factor * self.logs.value

    def _derive(self, x_shape, inverse):
        log_scale = -self.log_scale if inverse else self.log_scale
        return {
            "shift": self.shift.value,
            "scale": ops.exp(log_scale),
            "log_det": channel_log_det(log_scale, x_shape),
        }

    def _leave_scale(self, derived):
        """Return (what is left to do, the scale, its log-det): the next part may do the scaling."""
        return {**derived, "scale": None, "log_det": 0.0}, derived["scale"], derived["log_det"]

    def _forward(self, x, derived=None):
        derived = derived or self._derive(x.shape, inverse=False)
        x = x + derived["shift"]
        return x if derived["scale"] is None else x * derived["scale"], derived["log_det"]

    def _inverse(self, z, derived=None):
        derived = derived or self._derive(z.shape, inverse=True)
        z = z if derived["scale"] is None else z * derived["scale"]
        return z - derived["shift"], derived["log_det"]

    def _adapt(self, x):
        shift, log_scale = normalizing(x)
        warn_of_constants(self, log_scale)
        self.shift.assign(shift)
        self.logs.assign(log_scale / self.factor)
        self.flag.assign(True)

    def _adapt_inverse(self, z):
        # The inverse is z exp(-log_scale) - shift: what leaves it has mean 0 and variance 1.
        shift, log_scale = normalizing(z)
        warn_of_constants(self, log_scale)
        self.shift.assign(-shift * ops.exp(log_scale))
        self.logs.assign(-log_scale / self.factor)
        self.flag.assign(True)
