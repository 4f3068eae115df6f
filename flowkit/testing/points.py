"""Points of a domain, from real numbers, as numpy arrays."""

import functools

import numpy as np
from keras import ops

from flowkit.contract import Domain


def _by_column(function):
    """Apply `function(domain, x, ...)` to each column of a domain with intervals and circles side by side."""

    @functools.wraps(function)
    def over_columns(domain, *arrays):
        if not isinstance(domain.kind, tuple):
            return function(domain, *arrays)
        parts = [
            function(column, *(a[..., i] if np.ndim(a) else a for a in arrays))
            for i, column in enumerate(domain.columns)
        ]
        return np.stack(parts, axis=-1)

    return over_columns


@_by_column
def points_of(domain, t):
    """Return points of `domain` for an array of real numbers of the same shape, strictly inside.

    They are float32 numbers held in float64 (except on the simplex, whose sum would suffer), so that
    both precisions judge the same point.
    """
    x = np.asarray(ops.convert_to_numpy(domain.from_real(ops.convert_to_tensor(t))), "float64")
    if domain.kind == "simplex":
        x = np.maximum(x, 2.0**-20)  # nearer to the edge, the sum leaves the largest entry too few digits
        return x / x.sum(axis=-1, keepdims=True)
    x = x.astype("float32")
    if domain == Domain.REAL or domain.kind == "whole":
        return x.astype("float64")
    low, high = np.float32(domain.low), np.float32(domain.high)
    if domain.kind != "circle":
        low = np.where(np.isfinite(low), np.nextafter(low, high), low)
    high = np.where(np.isfinite(high), np.nextafter(high, low), high)
    # Engines flush what is smaller than the smallest normal number to zero.
    low = np.where(low == np.nextafter(np.float32(0), np.float32(1)), np.finfo("float32").tiny, low)
    return np.clip(x, low, high).astype("float64")


@_by_column
def room(domain, x):
    """Return how far each entry of `x` is from the edge of an interval; infinity without one, 0 for whole numbers."""
    if domain.kind == "whole":
        return np.zeros(x.shape)
    if domain.kind != "interval":
        return np.full(x.shape, np.inf)
    with np.errstate(invalid="ignore"):  # an infinite point has no room, whatever this says
        return np.minimum(x - np.asarray(domain.low), np.asarray(domain.high) - x)


def within(domain, x, step, rng):
    """Return a move of each entry of `x` by about `step`, in random directions; 4 such moves stay in the domain."""
    signs = rng.choice([-1.0, 1.0], size=x.shape)
    if domain.kind != "simplex":
        return np.minimum(step, room(domain, x) / 4) * signs
    # Along the simplex: what is added to some entries is taken from the others.
    signs = signs * rng.uniform(0.5, 1, size=x.shape)
    signs = (signs - signs.mean(axis=-1, keepdims=True)) / 2
    return signs * np.minimum(step, x / 4).min(axis=-1, keepdims=True)


@_by_column
def inside(domain, x, slack=0.0):
    """Return for each entry of `x` if it lies in the domain, up to `slack`."""
    with np.errstate(invalid="ignore"):
        if domain.kind == "simplex":
            total = np.abs(x.sum(axis=-1, keepdims=True) - 1) <= np.sum(
                np.broadcast_to(slack, x.shape), axis=-1, keepdims=True
            )
            return (x >= -slack) & total
        if domain == Domain.REAL:
            return np.isfinite(x)
        if domain.kind == "whole":
            slack = np.minimum(slack, 0.25)
            return (np.abs(x - np.round(x)) <= slack) & (x >= domain.low - slack) & (x <= domain.high + slack)
        return (x >= np.asarray(domain.low) - slack) & (x <= np.asarray(domain.high) + slack)


@_by_column
def difference(domain, one, other):
    """Return |one - other|, on the circle the short way round."""
    gap = np.abs(one - other)
    if domain.kind == "circle":
        turn = domain.high - domain.low
        gap = np.minimum(gap % turn, turn - gap % turn)
    return gap
