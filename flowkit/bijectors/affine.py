"""Shifts and scales, given or learned, one for each channel."""

from typing import Annotated, Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from flowkit.bijectors.weights import new_weight
from flowkit.contract import Bijector, BijectorSpec, ContractError, Shape
from flowkit.contract.arguments import shown
from flowkit.contract.shapes import places


def per_channel(given: Any, name: str) -> Any:
    """Return a number or a list of them, which a file can hold. Raises ValueError unless all are finite."""
    try:
        value = np.asarray(ops.convert_to_numpy(given), "float64")
    except (TypeError, ValueError):
        value = np.array(np.nan)
    if not np.isfinite(value).all():
        raise ValueError(
            f"{name}: got {shown(given)}, expected a finite number, a list of them or None to learn it."
        )
    return value.tolist()


PerChannel = Annotated[ArrayLike, per_channel]


class ChannelAffine(Bijector):
    """z = (x + shift) exp(log_scale) + offset, with one of each for every channel: log-det = places * sum(log_scale).

    A subclass returns the three in `_numbers`, each (..., channels), or None to leave it out.
    """

    spec = BijectorSpec(log_det="constant")

    def _derive(self, x_shape, inverse):
        shift, log_scale, offset = self._numbers()
        if inverse:
            offset, log_scale, shift = (None if n is None else -n for n in (shift, log_scale, offset))
        return {
            "shift": shift,
            "scale": None if log_scale is None else ops.exp(log_scale),
            "offset": offset,
            "log_det": 0.0 if log_scale is None else places(x_shape) * ops.sum(log_scale, axis=-1),
        }

    def _forward(self, x, derived=None):
        return self._map(x, derived or self._derive(x.shape, inverse=False))

    def _inverse(self, z, derived=None):
        return self._map(z, derived or self._derive(z.shape, inverse=True))

    def _map(self, x, derived):
        # The shift first: a product with the whole of x would leave few digits of a column far from 0.
        x = x if derived["shift"] is None else x + derived["shift"]
        x = x if derived["scale"] is None else x * derived["scale"]
        return x if derived["offset"] is None else x + derived["offset"], derived["log_det"]


class Shift(ChannelAffine):
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

    def build(self, x_shape: Shape) -> None:
        self.shift = _channel_weight(self, "shift", self.given, x_shape[-1])

    def _numbers(self):
        return self.shift.value, None, None


class Scale(ChannelAffine):
    """z = x exp(log_scale): `log_scale` is a number, a list with one for each channel, or None to learn them.

    A scale in logarithms can neither vanish nor change sign while it is learned. Raises what `Shift` does.

    >>> z, log_det = Scale([1.0, -1.0])(ops.ones((1, 2)))
    >>> [round(float(entry), 4) for entry in z[0]], float(log_det[0])
    ([2.7183, 0.3679], 0.0)
    """

    def __init__(self, log_scale: PerChannel | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = log_scale

    def build(self, x_shape: Shape) -> None:
        self.log_scale = _channel_weight(self, "log_scale", self.given, x_shape[-1])

    def _numbers(self):
        return None, self.log_scale.value, None


def _channel_weight(layer, name, given, channels):
    """Return a weight of shape (channels,): fixed to what was given, or learned from zero."""
    if given is None:
        return layer.add_weight(shape=(channels,), initializer="zeros", name=name)
    value = np.asarray(given, "float64")
    if value.shape not in ((), (channels,)):
        wanted = f"one {name} for all channels, or {channels} for as many"
        raise ContractError("event shape", layer, expected=wanted, received=f"{given}")
    return new_weight(layer, name, np.broadcast_to(value, (channels,)), trainable=False)
