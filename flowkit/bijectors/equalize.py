"""Histogram equalisation: pixel values onto the real line by their own distribution."""

from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.elementwise import Elementwise, inside
from flowkit.bijectors.weights import new_weight
from flowkit.contract import BijectorSpec, Domain, Shape, Tensor
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import whole
from flowkit.engines import engine
from flowkit.numerics import cumsum, log_sigmoid

SPARE = 1e-3  # the share of a bin beyond each end
LEAST = 1e-4  # of a level, beside its own share: none is impossible


class Equalize(Elementwise):
    """z = log F(x) - log(1 - F(x)), F the distribution function of all entries: a straight line on each level.

    Entries are those of `flowkit.data.Dequantize`: `levels` bins of the same width from -1/2 to 1/2. One more bin at
    each end, with a share of 0.001, keeps z finite. `adapt` sets the shares from data.
    The result has a logistic distribution, however often a value such as 0 occurs.

    Raises ValueError for fewer than 2 levels. Gonzalez & Woods, Digital Image Processing (2018), section 3.3.

    >>> layer = Equalize(levels=4).adapt(ops.convert_to_tensor([[-0.4], [-0.3], [0.1], [0.4]]))
    >>> z, log_det = layer(ops.zeros((1, 1)))  # half of the data are below 0
    >>> round(abs(float(z[0, 0])), 4)
    0.0
    """

    rows_to_adapt = 10_000

    def __init__(self, levels: Annotated[int, whole(2, 2**16)] = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = levels
        self.spec = BijectorSpec(domain=Domain.interval(-0.5 - 1 / levels, 0.5 + 1 / levels))

    def build(self, x_shape: Shape) -> None:
        start = _with_ends(np.full(self.levels, 1 / self.levels))
        self.shares = new_weight(self, "shares", start, trainable=False)
        self.flag = adapted_flag(self)

    def _adapt(self, x):
        level = np.floor((ops.convert_to_numpy(x).ravel() + 0.5) * self.levels)
        counts = np.bincount(np.clip(level, 0, self.levels - 1).astype(int), minlength=self.levels)
        shares = counts / counts.sum() + LEAST
        self.shares.assign(_with_ends(shares / shares.sum()))
        self.flag.assign(True)

    def _derive(self, x_shape: Shape, inverse: bool) -> dict[str, Tensor]:
        """Return the share of each bin, and those of all bins before it and after it."""
        shares = engine.tensor(self.shares)
        before = cumsum(shares, axis=-1) - shares
        after = ops.flip(cumsum(ops.flip(shares, axis=-1), axis=-1), axis=-1) - shares
        return {"share": shares, "before": before, "after": after}

    def _forward(self, x, derived):
        place = (x + 0.5) * self.levels + 1
        start = ops.clip(ops.floor(place), 0, self.levels + 1)
        share, before, after = _rows(derived, ops.cast(start, "int32"))
        part = ops.clip(place - start, 0, 1)
        # A number that is rounded to an end of the domain must not give the logarithm of 0.
        log_below, log_above = (
            ops.log(ops.maximum(side, 1e-30)) for side in (before + share * part, after + share * (1 - part))
        )
        return log_below - log_above, ops.log(share * self.levels) - log_below - log_above

    def _inverse(self, z, derived):
        knots = ops.log(derived["before"][1:]) - ops.log(derived["after"][:-1])
        start = ops.reshape(ops.searchsorted(knots, ops.reshape(z, (-1,)), side="right"), ops.shape(z))
        share, before, after = _rows(derived, start)
        # From the nearer end, where a small distance keeps its digits.
        low, high = (ops.sigmoid(z) - before) / share, 1 - (ops.sigmoid(-z) - after) / share
        part = ops.clip(ops.where(z < 0, low, high), 0, 1)
        x = (ops.cast(start, z.dtype) - 1 + part) / self.levels - 0.5
        x = inside(x, self.spec.domain)  # so that a flow can score what it draws
        return x, log_sigmoid(z) + log_sigmoid(-z) - ops.log(share * self.levels)


def _with_ends(shares):
    return np.concatenate([[SPARE], (1 - 2 * SPARE) * shares, [SPARE]])


def _rows(derived, index):
    return (ops.take(derived[name], index, axis=0) for name in ("share", "before", "after"))
