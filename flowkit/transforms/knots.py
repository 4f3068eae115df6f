"""Where the bins of a spline begin and end, and which of them a number falls into."""

from keras import ops

from flowkit import backends
from flowkit.numerics import cumsum
from flowkit.transforms.slopes import LEAST


def knots_of(raw, low, high):
    """The n + 1 knots from `low` to `high`, and the distances between them, of n raw numbers on the last axis but one.

    No bin is narrower than a thousandth of the whole; raw numbers of 0 make all equal.
    """
    shares = LEAST + (1 - LEAST * raw.shape[-2]) * ops.softmax(raw, axis=-2)
    inner = (high - low) * cumsum(shares[..., :-1, :], axis=-2) + low
    edge = raw[..., :1, :]
    knots = ops.concatenate([ops.full_like(edge, low), inner, ops.full_like(edge, high)], axis=-2)
    return knots, knots[..., 1:, :] - knots[..., :-1, :]


def bin_of(at, knots):
    """Which bin each entry of `at` falls into, with an axis of 1 before the last; a knot is in the bin above it."""
    above = ops.cast(ops.expand_dims(at, -2) >= knots[..., 1:-1, :], "int32")
    return ops.sum(above, axis=-2, keepdims=True)


def picked(index, rows):
    """Of each of `rows`, which have an entry for each bin, the one of the bin `index`."""
    return [backends.entries_at(row, index) for row in rows]
