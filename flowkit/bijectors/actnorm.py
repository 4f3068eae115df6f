"""Activation normalisation with data-dependent initialisation."""

from typing import Any

from keras import ops

from flowkit.bijectors.affine import ChannelAffine
from flowkit.contract import Shape, Tensor
from flowkit.contract.adaptation import adapted_flag, normalizing, warn_of_constants
from flowkit.contract.arguments import Positive


class ActNorm(ChannelAffine):
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

    def __init__(self, factor: Positive = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, x_shape: Shape) -> None:
        channels = x_shape[-1]
        self.shift = self.add_weight(shape=(channels,), initializer="zeros", name="shift")
        self.logs = self.add_weight(shape=(channels,), initializer="zeros", name="logs")
        self.flag = adapted_flag(self)

    @property
    def log_scale(self) -> Tensor:
        """Return factor * logs, shape (channels,)."""
        return self.factor * self.logs.value

    def _numbers(self):
        return self.shift.value, self.log_scale, None

    def _leave_scale(self, derived):
        """Return (what is left to do, the scale, its log-det): the next part may do the scaling."""
        return {**derived, "scale": None, "log_det": 0.0}, derived["scale"], derived["log_det"]

    def _adapt(self, x):
        shift, log_scale = normalizing(x)
        warn_of_constants(self, log_scale)
        self._assign(shift, log_scale)

    def _adapt_inverse(self, z):
        # The inverse is z exp(-log_scale) - shift: what leaves it has mean 0 and variance 1.
        shift, log_scale = normalizing(z)
        warn_of_constants(self, log_scale)
        self._assign(-shift * ops.exp(log_scale), -log_scale)

    def _assign(self, shift, log_scale):
        self.shift.assign(shift)
        self.logs.assign(log_scale / self.factor)
        self.flag.assign(True)
