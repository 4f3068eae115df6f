"""Shifts and scales, one for each channel: given, learned, or statistics of data."""

import math
import warnings
from typing import Annotated, Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from flowkit.bijectors.weights import new_weight
from flowkit.contract import Bijector, BijectorSpec, ContractError, Shape, Tensor
from flowkit.contract.adaptation import adapted_flag, normalizing
from flowkit.contract.arguments import Fraction, Positive, shown
from flowkit.contract.columns import ColumnError
from flowkit.contract.errors import label
from flowkit.engines import engine
from flowkit.numerics import mean


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
        derived = {"shift": shift, "scale": None, "offset": offset, "log_det": 0.0}
        if log_scale is not None:
            log_scale = -log_scale if inverse else log_scale
            log_det = math.prod(x_shape[1:-1]) * ops.sum(log_scale, axis=-1)
            derived |= {"scale": ops.exp(log_scale), "log_det": log_det}
        return derived

    # The shift first: a product with the whole of x would leave few digits of a column far from 0.

    def _forward(self, x, derived=None):
        derived = derived or self._derive(x.shape, inverse=False)
        x = x if derived["shift"] is None else x + derived["shift"]
        x = x if derived["scale"] is None else x * derived["scale"]
        return x if derived["offset"] is None else x + derived["offset"], derived["log_det"]

    def _inverse(self, z, derived=None):
        derived = derived or self._derive(z.shape, inverse=True)
        z = z if derived["offset"] is None else z - derived["offset"]
        z = z if derived["scale"] is None else z * derived["scale"]
        return z if derived["shift"] is None else z - derived["shift"], derived["log_det"]


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


class ActNorm(ChannelAffine):
    """z = (x + shift) exp(factor * logs), one shift and one logs for each channel.

    `adapt(x)` sets both so that the batch `x` leaves with mean 0 and variance 1; until then the
    layer refuses to work. `factor` = 3,
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
        _warn_of_constants(self, log_scale)
        self._assign(shift, log_scale)

    def _assign(self, shift, log_scale):
        self.shift.assign(shift)
        self.logs.assign(log_scale / self.factor)
        self.flag.assign(True)


class BatchNorm(ChannelAffine):
    """z = (x - mean) / sqrt(variance + epsilon) * exp(g) + b, log-det = places * sum(g - log(variance + epsilon) / 2).

    Mean and variance of each channel are stored, and both directions use what is stored: so each sample is mapped by
    itself, and the inverse is exact, in training too. `adapt(x)` sets them from a batch; until then the layer refuses
    to work. Each training step then moves them: stored * momentum + batch * (1 - momentum), the biased variance. They
    carry no gradient; g and b are learned, from 0.

    Other implementations normalise by the batch at hand, which makes a sample's likelihood depend on its neighbours.
    `ActNorm` takes its statistics once, and is what Glow has in its place.

    Raises ValueError for a momentum outside of [0, 1) or an epsilon that is not above 0. Dinh, Sohl-Dickstein & Bengio,
    Density Estimation using Real NVP (2017), section 3.7; Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow
    (2017).

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    >>> z, log_det = BatchNorm().adapt(x)(x)
    >>> bool(abs(ops.convert_to_numpy(z).std() - 1) < 1e-3)
    True
    """

    def __init__(self, *, momentum: Fraction = 0.9, epsilon: Positive = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, x_shape: Shape) -> None:
        shape = (x_shape[-1],)
        self.g = self.add_weight(shape=shape, initializer="zeros", name="g")
        self.b = self.add_weight(shape=shape, initializer="zeros", name="b")
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.variance = self.add_weight(shape=shape, initializer="ones", name="variance", trainable=False)
        self.flag = adapted_flag(self)

    @property
    def log_scale(self) -> Tensor:
        """Return g - log(variance + epsilon) / 2, shape (channels,)."""
        return self.g.value - 0.5 * ops.log(self.variance.value + self.epsilon)

    def _numbers(self):
        return -self.mean.value, self.log_scale, self.b.value

    def _adapt(self, x):
        center, variance = _statistics(x)
        _warn_of_constants(self, -0.5 * ops.log(variance + 1e-12))
        self.mean.assign(center)
        self.variance.assign(variance)
        self.flag.assign(True)

    def _refresh(self, x):
        for stored, seen in zip((self.mean, self.variance), _statistics(x), strict=True):
            stored.assign(stored.value * self.momentum + seen * (1 - self.momentum))


def _warn_of_constants(layer, log_scale):
    """Warn of channels that do not vary in the batch: they are scaled by up to 1e6, and what varies later too."""

    def warn(constant):
        if constant:
            warnings.warn(
                f"{label(layer)}: {int(constant)} of {log_scale.shape[0]} channels do not vary in the batch that it "
                "adapts to; expected a larger batch, or data without constant columns",
                stacklevel=2,
            )

    engine.tell(warn, ops.sum(ops.cast(log_scale > 11.5, "int32")))  # deviation < 1e-5


def _statistics(x):
    """Return the mean and the biased variance of each channel."""
    axes = tuple(range(len(x.shape) - 1))
    center = mean(x, axis=axes)
    return center, mean(ops.square(x - center), axis=axes)


class Standardize(ChannelAffine):
    """z = (x - mean) / std for each column, log-det = -sum(log std).

    Mean and (biased) standard deviation are those of the data that `adapt(x)` is given; they are stored and never
    trained. `Flow.fit` hands over up to 10,000 rows, where an `ActNorm` has its first batch. The statistics are
    computed in float64, and the mean is subtracted first: so columns far from 0, or of very different scales, keep
    all the digits that they came with. As the volume is counted, log_prob is a density in the data's own units.

    `adapt` raises ContractError for a column that does not vary, since it has no density, for one that varies by less
    than its numbers resolve (10^9 + noise in float32), and for NaN and infinity. It names the column.

    >>> x = np.random.default_rng(0).normal([1e6, 0.0], [1.0, 1e-6], (500, 2)).astype("float32")
    >>> z, log_det = Standardize().adapt(x)(x)
    >>> z = ops.convert_to_numpy(z)
    >>> bool(abs(z.mean(0)).max() < 0.05 and abs(z.std(0) - 1).max() < 1e-3)
    True
    """

    rows_to_adapt = 10_000

    def build(self, x_shape: Shape) -> None:
        shape = (x_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.log_std = self.add_weight(shape=shape, initializer="zeros", name="log_std", trainable=False)
        self.flag = adapted_flag(self)

    def _numbers(self):
        return -self.mean.value, -self.log_std.value, None

    def _adapt(self, x):
        mean, std = column_statistics(self, x)
        self._assign(mean, np.log(std))

    def _assign(self, mean, log_std):
        self.mean.assign(mean.astype(self.variable_dtype))
        self.log_std.assign(log_std.astype(self.variable_dtype))
        self.flag.assign(True)


def column_statistics(layer, x):
    """Return (mean, standard deviation) of each column, float64.

    Raises ColumnError, in the name of `layer`, for a column that does not vary, or is not finite.
    """
    x = ops.convert_to_numpy(x).reshape(-1, x.shape[-1])
    finite = np.isfinite(x)
    _refuse(
        layer,
        ~finite.all(axis=0),
        lambda i: f"{x[np.argmin(finite[:, i]), i]} in row {np.argmin(finite[:, i])}",
        "Drop or repair those rows.",
    )
    steps = np.spacing(np.abs(x).max(axis=0))  # between neighbouring numbers
    x = x.astype("float64")
    _refuse(
        layer,
        (x == x[0]).all(axis=0),
        lambda i: f"all {len(x)} entries are {x[0, i]:g} in {layer.compute_dtype}",
        "Leave it out; or, if it does vary, give more rows, or subtract a round number or multiply, in float64.",
    )
    mean = x.mean(axis=0)
    std = np.sqrt(np.square(x - mean).mean(axis=0))
    _refuse(
        layer,
        std < 4 * steps,
        lambda i: (
            f"{mean[i]:g} +- {std[i]:.2g}, which {layer.compute_dtype} holds in steps of {steps[i]:.2g}"
        ),
        "Subtract a round number first, in float64.",
    )
    return mean, std


def _refuse(layer, bad, fault, hint):
    """Raise ColumnError for the first column that is `bad`; `fault(column)` describes it."""
    if not bad.any():
        return
    first, more = int(np.argmax(bad)), int(bad.sum()) - 1
    raise ColumnError(
        "adapt",
        layer,
        first,
        f"{fault(first)}{f', and {more} more such columns' if more else ''}",
        expected="columns of finite numbers that vary",
        hint=hint,
    )
