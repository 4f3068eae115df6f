"""The random numbers that a direction is given: from a seed, as numpy arrays, the same on every engine."""

import math

import numpy as np

from flowkit.testing.given.example import ROWS

EDGE = 1 / 8
"""How far the uniform numbers of an example stay from 0 and 1, where rounding takes some layers a whole step on."""


def needs_of(layer, shape, inverse):
    """What a built layer's direction needs for inputs of `shape`; () for nothing, or if they do not fit it."""
    if not layer.spec.draws(inverse=inverse):
        return ()
    try:
        return layer.noise_needs(layer.compute_inverse_shape(shape) if inverse else shape, inverse=inverse)
    except ValueError:  # the layer itself will refuse such inputs
        return ()
    except NotImplementedError as error:  # a noise_size that is missing: no word that the direction is
        raise TypeError(str(error)) from error


def noise_for(layer, shape, inverse, seed):
    """Noise (batch, k) for inputs of `shape`, or None for none: that of ROWS samples, over and over.

    They are float32 numbers held in float64, as points are.
    """
    needs = needs_of(layer, shape, inverse)
    if not needs:
        return None
    block = drawn(needs, ROWS, np.random.default_rng([seed, 9, inverse]), edge=EDGE)
    return np.resize(block, (shape[0], block.shape[1])).astype("float32").astype("float64")


def drawn(needs, rows, rng, edge=0.0):
    """(rows, k) numbers of the kinds that are needed; uniform ones from `edge` to 1 - edge."""
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "uniform": lambda size: rng.uniform(edge, 1 - edge, size=size),
    }
    return np.concatenate([draw[need.kind]((rows, need.size)) for need in needs], axis=1)


def log_density(needs, noise):
    """The logarithm of the density of each row of `noise`."""
    total, start = np.zeros(len(noise)), 0
    for need in needs:
        part = noise[:, start : start + need.size]
        if need.kind == "normal":
            total -= 0.5 * np.sum(part * part + math.log(2 * math.pi), axis=1)
        start += need.size
    return total
