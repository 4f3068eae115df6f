"""Moving every weight away from where it starts, since at the start most mistakes read 0 = 0."""

from typing import Any

import numpy as np

SCALE = 0.3
"""How far a weight moves: enough that a term which it belongs to shows."""


def randomize(layer: Any, seed: int = 0, scale: Any = SCALE) -> None:
    """Add normal noise to every trainable weight of the built `layer`, reproducibly. Returns `layer`.

    Vectors move by `scale`, kernels by scale / sqrt(fan in), so that what a unit receives changes by
    about `scale` whatever the layer's width. `scale` may be a list, dealt out to the weights in turn.
    Fixed weights (a permutation, a sign, the flag that says "adapted") stay: they are structure.
    Data-dependent ones are set by `adapt`, before this.
    """
    for variable, value in zip(layer.trainable_variables, moved(layer, seed, scale), strict=True):
        variable.assign(value)
    return layer


def moved(layer, seed, scale, start=None):
    """The values that `randomize` would give the trainable weights, as numpy arrays.

    They are float32 numbers, whatever the layer's dtype: so a float32 and a float64 copy of a layer
    hold the same.
    """
    rng = np.random.default_rng([seed, 0])
    variables = layer.trainable_variables
    values = [v.numpy() for v in variables] if start is None else start
    scales = np.resize(scale, len(values))
    result = []
    for value, scale in zip(values, scales, strict=True):
        fan_in = np.prod(value.shape[:-1]) if value.ndim > 1 else 1
        noise = rng.normal(size=value.shape) * scale / np.sqrt(max(1, fan_in))
        result.append((value + noise).astype("float32"))
    return result
