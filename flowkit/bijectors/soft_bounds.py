"""Columns with bounds onto the real line, moved near the bounds only."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.elementwise import Elementwise
from flowkit.bijectors.unconstrain import numbers_of
from flowkit.contract import BijectorSpec, Domain
from flowkit.contract.arguments import Between0And1, is_number, shown
from flowkit.contract.columns import check_count
from flowkit.engines import engine
from flowkit.numerics import log1mexp, log_sigmoid, maximum, minimum, softplus


def finite_bounds(bounds: Any, name: str) -> list[list[float]]:
    """Return pairs of numbers, low < high, one for each column. Raises ValueError for anything else."""
    try:
        pairs = [[low, high] for low, high in bounds]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or not all(is_number(low) and is_number(high) and low < high for low, high in pairs):
        raise ValueError(f"{name}: got {shown(bounds)}, expected a list of finite (low, high), low < high.")
    return [[float(low), float(high)] for low, high in pairs]


class SoftBounds(Elementwise):
    """z = x + s log(1 - e^(-(x - low) / s)) - s log(1 - e^(-(high - x) / s)), from (low, high) onto the real line.

    s is `softness` times the width high - low of a column. Farther from the bounds than a few s it is the identity, and
    near them it is like a logit, which stretches the whole interval: a density that ends at a bound keeps its shape.
    Its inverse is x = low + s softplus((z - low) / s) - s softplus((z - high) / s), and

        log dz/dx = log(1 - e^(-1 / softness)) - log(1 - e^(-(x - low) / s)) - log(1 - e^(-(high - x) / s)).

    `bounds` has (low, high) for each column. The inverse stays strictly inside. Raises ValueError for bounds that are
    not finite and in order, and ContractError for data of another number of columns.

    >>> z, log_det = SoftBounds([(0.0, 10.0)])(ops.convert_to_tensor([[5.0], [0.1]]))
    >>> [round(float(n), 3) for n in (z[0, 0], z[1, 0], log_det[0])]
    [5.0, -0.278, 0.0]
    """

    def __init__(
        self,
        bounds: Annotated[Sequence[tuple[float, float]], finite_bounds],
        *,
        softness: Between0And1 = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bounds, self.softness = bounds, softness
        self.spec = BijectorSpec(domain=Domain.intervals(*map(tuple, bounds)))
        self.columns = self._ends = tuple(map(tuple, bounds))
        self._log_middle = math.log(-math.expm1(-1 / softness))

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        check_count(self, x_shape, "as there are bounds")

    def _forward(self, x):
        low, high, scale, _, _ = self._numbers(x)
        from_low, from_high = log1mexp((x - low) / scale), log1mexp((high - x) / scale)
        return x + scale * (from_low - from_high), self._log_middle - from_low - from_high

    def _inverse(self, z):
        low, high, scale, first, last = self._numbers(z)
        above, below = (z - low) / scale, (high - z) / scale
        # From the nearer end, so that a small distance keeps its digits.
        from_low = low + scale * (softplus(above) - softplus(-below))
        from_high = high - scale * (softplus(below) - softplus(-above))
        x = ops.where(above < below, from_low, from_high)
        log_det = log_sigmoid(above) + log_sigmoid(below) + self._log_middle
        return minimum(maximum(x, first), last), log_det

    def _numbers(self, x):
        """Return the ends, the scale s, and the first and the last number inside, as tensors like `x`."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        return engine.unstack(engine.constant(_rows, self._ends, self.softness, dtype, like=x))


def _rows(ends, softness, dtype):
    """Return low, high, s, and the first and the last number of a type inside, for each column."""
    low, high, width, _, _, first, last, *_ = numbers_of([("interval", *pair) for pair in ends], dtype)
    return np.stack([low, high, softness * width, first, last])
