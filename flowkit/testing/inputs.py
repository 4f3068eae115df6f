"""The inputs of a direction, points, context and noise: arrays from seeds, and tensors of them."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from flowkit.contract.domain import first_and_last
from flowkit.contract.noise import given, needs_for
from flowkit.testing.examples import ROWS

EDGE = 1 / 8
"""How far the uniform numbers of an example stay from 0 and 1, where rounding takes some layers a whole step on."""


class Inputs(NamedTuple):
    """Points, a context (an array or a dict of arrays) and noise: numpy arrays, rows first, or None."""

    x: Any
    context: Any = None
    noise: Any = None

    def rows(self, places):
        """Return the rows that `places` names: a slice or a list."""
        return each(lambda array: array[places], self)

    def tiled(self):
        """Return the inputs with context and noise repeated for points that consist of several batches."""
        count = len(self.x)
        return each(lambda array: np.concatenate([array] * (count // len(array))), self)

    def tensors(self, dtype=None):
        """Return tensors, of arrays that nothing else holds; points and noise in a type, by default Keras's."""
        dtype = dtype or keras.config.floatx()
        x, noise = each(lambda a: ops.convert_to_tensor(np.array(a), dtype=dtype), (self.x, self.noise))
        return Inputs(x, tensor(self.context), noise)


def each(function, nest):
    """Return `function` of each array of a nest; None stays None."""
    return tree.map_structure(lambda array: None if array is None else function(array), nest)


def tensor(context):
    """Return a context as tensors, of arrays that nothing else holds."""
    return each(lambda array: ops.convert_to_tensor(np.array(array)), context)


def direction(layer, inverse, training=None):
    """Return one direction of `layer` as a function of points, context and noise."""

    def run(x, context=None, noise=None):
        return layer(x, context=context, inverse=inverse, training=training, **given(noise))

    return run


# Points of a domain, from real numbers: numpy arrays


def points_of(domain, t):
    """Return points of `domain` for an array of real numbers of the same shape, strictly inside.

    They are float32 numbers held in float64 (except on the simplex, whose sum would suffer), so that
    both precisions judge the same point.
    """
    x = np.asarray(ops.convert_to_numpy(domain.from_real(ops.convert_to_tensor(t))), "float64")
    if domain.kind == "simplex":
        x = np.maximum(x, 2.0**-20)  # nearer to the edge, the sum leaves the largest entry too few digits
        return x / x.sum(axis=-1, keepdims=True)
    return as_float32(domain, x).astype("float64")


def as_float32(domain, x):
    """Return the float32 numbers nearest to `x` that lie inside of the open intervals of `domain`."""
    low, high = (np.asarray(end, "float32") for end in (domain.low, domain.high))
    open_low = (domain.kinds == "interval") & np.isfinite(low)
    open_high = (domain.kinds != "whole") & np.isfinite(high)
    first, last = first_and_last(low, high, "float32")
    first, last = np.where(open_low, first, low), np.where(open_high, last, high)
    return np.clip(x.astype("float32"), first, last)


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


# Contexts


def described(context):
    """Return the description of a context; raise TypeError for anything else."""
    if context is None or callable(context):
        return context
    if isinstance(context, dict) and context and all(map(is_shape, context.values())):
        return {key: tuple(map(int, shape)) for key, shape in context.items()}
    if is_shape(context):
        return tuple(map(int, context))
    raise TypeError(
        f"context: got {context!r}, expected the shape of one context, such as (3,), a dict of shapes, or a function "
        "(rng, batch, event) -> array or dict of arrays."
    )


def is_shape(shape):
    """Return True for a tuple or list of whole numbers."""
    return isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in shape)


def context_for(description, rng, batch, event):
    """Return a context of `batch` rows that looks as `described`."""
    if callable(description):
        return each(np.asarray, description(rng, batch, event))
    if isinstance(description, dict):
        return {key: context_for(shape, rng, batch, event) for key, shape in description.items()}
    return rng.normal(size=(batch, *description)).astype("float32")


def floating(context):
    """Return {name: array} of those arrays of a context, numpy's, that are no labels."""
    leaves = [] if context is None else tree.flatten_with_path(context)
    named = {"context" + "".join(f"[{key!r}]" for key in path): array for path, array in leaves}
    return {name: array for name, array in named.items() if array.dtype.kind == "f"}


def replaced(context, arrays):
    """Return a context of tensors with its `floating` ones replaced by the next of the iterator `arrays`."""
    return each(lambda old: next(arrays) if keras.backend.is_float_dtype(old.dtype) else old, context)


def placeholder(context):
    """Return symbolic inputs that look as the context does."""
    name = None if isinstance(context, dict) else "context"  # Keras expects the key in a dict of inputs
    return each(lambda array: keras.Input(array.shape[1:], dtype=array.dtype.name, name=name), context)


# Noise: numpy arrays, the same on every engine


def needs_of(layer, shape, inverse):
    """Return the noise needs of a direction of a built layer for inputs of `shape`; () for none, or a wrong shape."""
    try:
        return needs_for(layer, shape, inverse=inverse)
    except ValueError:  # the layer itself will refuse such inputs
        return ()
    except NotImplementedError as error:  # a missing noise_size does not mean that the direction is missing
        raise TypeError(str(error)) from error


def noise_for(layer, shape, inverse, seed):
    """Return noise (batch, k) for inputs of `shape`, or None for none: that of ROWS samples, over and over.

    They are float32 numbers held in float64, as points are.
    """
    needs = needs_of(layer, shape, inverse)
    if not needs:
        return None
    block = noise_of(needs, ROWS, np.random.default_rng([seed, 9, inverse]), edge=EDGE)
    return np.resize(block, (shape[0], block.shape[1])).astype("float32").astype("float64")


def noise_of(needs, count, rng, edge=0.0):
    """Return (count, k) numbers of the kinds that are needed; uniform ones from `edge` to 1 - edge."""
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "uniform": lambda size: rng.uniform(edge, 1 - edge, size=size),
    }
    return np.concatenate([draw[need.kind]((count, need.size)) for need in needs], axis=1)


def noise_log_density(needs, noise):
    """Return the logarithm of the density of each row of `noise`."""
    total, start = np.zeros(len(noise)), 0
    for need in needs:
        if need.kind == "normal":
            part = noise[:, start : start + need.size]
            total -= 0.5 * np.sum(part * part + math.log(2 * math.pi), axis=1)
        start += need.size
    return total
