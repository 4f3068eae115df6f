"""Points of a domain, from real numbers, as numpy arrays."""

import numpy as np
from keras import ops


def points_of(domain, t):
    """Return points of `domain` for an array of real numbers of the same shape, strictly inside.

    They are float32 numbers held in float64 (except on the simplex, whose sum would suffer), so that
    both precisions judge the same point.
    """
    x = np.asarray(ops.convert_to_numpy(domain.from_real(ops.convert_to_tensor(t))), "float64")
    if domain.kind == "simplex":
        x = np.maximum(x, 2.0**-20)  # nearer to the edge, the sum leaves the largest entry too few digits
        return x / x.sum(axis=-1, keepdims=True)
    low, high = (np.asarray(end, "float32") for end in (domain.low, domain.high))
    open_low = (domain.kinds == "interval") & np.isfinite(low)
    open_high = (domain.kinds != "whole") & np.isfinite(high)
    first = np.where(open_low, np.nextafter(low, high), low)
    last = np.where(open_high, np.nextafter(high, low), high)
    # Engines flush what is smaller than the smallest normal number to zero.
    first = np.where(first == np.nextafter(np.float32(0), np.float32(1)), np.finfo("float32").tiny, first)
    return np.clip(x.astype("float32"), first, last).astype("float64")


def room(domain, x):
    """Return how far each entry of `x` is from the edge of an interval; infinity without one, 0 for whole numbers."""
    with np.errstate(invalid="ignore"):  # an infinite point has no room, whatever this says
        edge = np.minimum(x - np.asarray(domain.low), np.asarray(domain.high) - x)
    return np.select([domain.kinds == "interval", domain.kinds == "whole"], [edge, np.zeros_like(x)], np.inf)


def within(domain, x, step, rng):
    """Return a move of each entry of `x` by about `step`, in random directions; 4 such moves stay in the domain."""
    signs = rng.choice([-1.0, 1.0], size=x.shape)
    if domain.kind != "simplex":
        return np.minimum(step, room(domain, x) / 4) * signs
    # Along the simplex: what is added to some entries is taken from the others.
    signs = signs * rng.uniform(0.5, 1, size=x.shape)
    signs = (signs - signs.mean(axis=-1, keepdims=True)) / 2
    return signs * np.minimum(step, x / 4).min(axis=-1, keepdims=True)


def difference(domain, one, other):
    """Return |one - other|, on the circle the short way round."""
    gap, turn = np.abs(one - other), np.subtract(domain.high, domain.low)
    with np.errstate(invalid="ignore"):
        return np.where(domain.kinds == "circle", np.minimum(gap % turn, turn - gap % turn), gap)
