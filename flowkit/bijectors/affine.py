"""Shifts and scales, given or learned, one for each channel."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from flowkit.bijectors.weights import new_weight
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.arguments import shown
from flowkit.contract.shapes import channel_log_det


def per_channel(given: Any, name: str) -> Any:
    """Return a number or a list of them, which a file can hold. Raises ValueError unless all are finite."""
    try:
        value = np.asarray(ops.convert_to_numpy(given), "float64")
    except (TypeError, ValueError):
        value = np.array(np.nan)
    if not np.isfinite(value).all():
        raise ValueError(
            f"{name}: expected a finite number, a list of them or None to learn it, received {shown(given)}."
        )
    return value.tolist()


PerChannel = Annotated[ArrayLike, per_channel]


@keras.saving.register_keras_serializable("flowkit")
class Shift(Bijector):
    """z = x + shift: `shift` is a number, a list with one for each channel, or None to learn it (from 0).

    Raises ValueError for other words and for NaN and infinity, ContractError for a list of another length.

    >>> z, log_det = Shift([1.0, -1.0])(ops.zeros((1, 2)))
    >>> ops.convert_to_numpy(z).tolist(), float(log_det[0])
    ([[1.0, -1.0]], 0.0)
    """

    spec = BijectorSpec(log_det="zero")

    def __init__(self, shift: PerChannel | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = shift

    def build(self, x_shape: Any) -> None:
        self.shift = _channel_weight(self, "shift", self.given, x_shape[-1])

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0


@keras.saving.register_keras_serializable("flowkit")
class Scale(Bijector):
    """z = x exp(log_scale): `log_scale` is a number, a list with one for each channel, or None to learn them.

    A scale in logarithms can neither vanish nor change sign while it is learned. Raises what `Shift` does.

    >>> z, log_det = Scale([1.0, -1.0])(ops.ones((1, 2)))
    >>> [round(float(entry), 4) for entry in z[0]], float(log_det[0])
    ([2.7183, 0.3679], 0.0)
    """

    spec = BijectorSpec(log_det="constant")

    def __init__(self, log_scale: PerChannel | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = log_scale

    def build(self, x_shape: Any) -> None:
        self.log_scale = _channel_weight(self, "log_scale", self.given, x_shape[-1])

    def _derive(self, x_shape, inverse):
        log_scale = -self.log_scale.value if inverse else self.log_scale.value
        return {"scale": ops.exp(log_scale), "log_det": channel_log_det(log_scale, x_shape)}

    def _forward(self, x, derived=None):
        derived = derived or self._derive(x.shape, inverse=False)
        return x * derived["scale"], derived["log_det"]

    def _inverse(self, z, derived=None):
        derived = derived or self._derive(z.shape, inverse=True)
        return z * derived["scale"], derived["log_det"]


def _channel_weight(layer, name, given, channels):
    """Return a weight of shape (channels,): fixed to what was given, or learned from zero."""
    if given is None:
        return layer.add_weight(shape=(channels,), initializer="zeros", name=name)
    value = np.asarray(given, "float64")
    if value.shape not in ((), (channels,)):
        raise ContractError(
            "event shape",
            layer,
            expected=f"one {name} for all channels, or {channels} for as many",
            received=f"{given}",
        )
    return new_weight(layer, name, np.broadcast_to(value, (channels,)), trainable=False)
