"""Shifts and scales, given or learned, one for each channel."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.fixed import fixed_weight
from flowkit.bijectors.places import channel_log_det
from flowkit.contract import Bijector, BijectorSpec, ContractError


@keras.saving.register_keras_serializable("flowkit")
class Shift(Bijector):
    """z = x + shift: `shift` is a number, a list with one for each channel, or None to learn it (from 0)."""

    spec = BijectorSpec(log_det="zero")

    def __init__(self, shift: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = _plain(shift)

    def build(self, x_shape: Any) -> None:
        self.shift = _channel_weight(self, "shift", self.given, x_shape[-1])

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": self.given}


@keras.saving.register_keras_serializable("flowkit")
class Scale(Bijector):
    """z = x exp(log_scale): `log_scale` is a number, a list with one for each channel, or None to learn them.

    A scale in logarithms can neither vanish nor change sign while it is learned.
    """

    spec = BijectorSpec(log_det="constant")

    def __init__(self, log_scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = _plain(log_scale)

    def build(self, x_shape: Any) -> None:
        self.log_scale = _channel_weight(self, "log_scale", self.given, x_shape[-1])

    def _forward(self, x):
        return x * ops.exp(self.log_scale), channel_log_det(self.log_scale, x)

    def _inverse(self, z):
        return z * ops.exp(-self.log_scale), -channel_log_det(self.log_scale, z)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "log_scale": self.given}


def _plain(given):
    """A number or a list of them, which a file can hold, from whatever was given."""
    return None if given is None else np.asarray(ops.convert_to_numpy(given), "float64").tolist()


def _channel_weight(layer, name, given, channels):
    """A weight of shape (channels,): fixed to what was given, or learned from zero."""
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
    return fixed_weight(layer, name, np.broadcast_to(value, (channels,)))
