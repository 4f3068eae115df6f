"""Bins of a spline: their ends and slopes, and which of them a number falls into."""

import math

from keras import ops

from flowkit.engines import engine
from flowkit.numerics import cumsum, softplus

LEAST = 1e-3
"""The least slope; and the least width of a bin, as a share of all bins."""

_ONE = math.log(math.expm1(1 - LEAST))  # softplus of it, and LEAST, make 1


def slopes_of(raw):
    """Return slopes above LEAST, of raw numbers of any size: of 0, the slope 1."""
    return LEAST + softplus(raw + _ONE)


def knots_of(raw, low, high):
    """Return the n + 1 knots from `low` to `high` of n raw numbers, which are on the last axis but one.

    No bin is narrower than a thousandth of the whole; raw numbers of 0 make all equal.
    """
    shares = LEAST + (1 - LEAST * raw.shape[-2]) * ops.softmax(raw, axis=-2)
    return knots_from(shares, low, high)


def knots_from(shares, low, high):
    """Return the n + 1 knots from `low` to `high` of n bins that have these shares of the whole."""
    inner, last = engine.split(cumsum(shares, axis=-2), [shares.shape[-2] - 1, 1], axis=-2)
    whole = ops.concatenate([ops.zeros_like(last), inner, ops.ones_like(last)], axis=-2)
    return (high - low) * whole + low


def distances(knots):
    """Return how far each knot is from the one before it: one fewer than there are knots."""
    return knots[..., 1:, :] - knots[..., :-1, :]


def bin_of(at, knots):
    """Return (start, end) of the bin of each entry: (..., n + 1, channels) with 1 at one knot and 0 at others.

    A knot is in the bin above it; what is below the first knot is in the first bin, and so is NaN.
    """
    size = knots.shape[-2] - 1
    _, inner, _ = engine.split(knots, [1, size - 1, 1], axis=-2)
    reached = engine.reaches(ops.expand_dims(at, -2), inner)
    one = ops.ones_like(reached[..., :1, :])
    none = ops.zeros_like(one)
    bins = ops.concatenate([one, reached], axis=-2) - ops.concatenate([reached, none], axis=-2)
    return ops.concatenate([bins, none], axis=-2), ops.concatenate([none, bins], axis=-2)


def picked(knot, rows):
    """Return the entry at `knot` of each of `rows`, which have one entry for each knot."""
    # Products and sums: they go through memory as it lies, where to gather is to jump.
    return [ops.sum(knot * row, axis=-2) for row in rows]
