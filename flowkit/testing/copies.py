"""Copies of layers, in another precision, with weights moved off their start, adapted or refreshed."""

import json
from typing import Any

import keras
import numpy as np

from flowkit.contract import Tensor
from flowkit.engines import engine

SCALE = 0.3
"""The scale of weight moves: enough for each term to show, since at the start most mistakes read 0 = 0."""

STEPS = 8
"""The refreshing steps after a jump of the weights, so that a power iteration has caught up."""


def randomize(layer: keras.Layer, seed: int = 0, scale: Tensor = SCALE) -> Any:
    """Add normal noise to every trainable weight of the built `layer`, reproducibly. Returns `layer`.

    Vectors move by `scale`, kernels by scale / sqrt(fan in), so that what a unit receives changes by
    about `scale` whatever the layer's width. `scale` may be a list, dealt out to the weights in turn.
    Fixed weights (a permutation, a sign, the flag that says "adapted") stay: they are structure.
    Data-dependent ones are set by `adapt`, before this.
    """
    variables, rng = layer.trainable_variables, np.random.default_rng([seed, 0])
    for variable, times in zip(variables, np.resize(scale, len(variables)), strict=True):
        value = variable.numpy()
        fan_in = np.prod(value.shape[:-1]) if value.ndim > 1 else 1
        noise = rng.normal(size=value.shape) * times / np.sqrt(max(1, fan_in))
        variable.assign((value + noise).astype("float32"))  # whatever the layer's dtype
    return layer


def recreate(layer, dtype=None):
    """Return a new, unbuilt layer from `layer`'s config; with every dtype policy in it replaced by `dtype`, if given.

    The config goes through JSON, as it does in a `.keras` file.
    """
    if hasattr(layer, "remade"):  # of another library, without a config
        return layer.remade(dtype)
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    if dtype is not None:
        stored = _retype(stored, dtype)
    with keras.saving.CustomObjectScope({type(layer).__name__: type(layer)}):
        return keras.saving.deserialize_keras_object(stored)


def _retype(config, dtype):
    """Return the config with each stored dtype policy (a dict, or the word under the key "dtype") replaced."""
    if isinstance(config, list):
        return [_retype(item, dtype) for item in config]
    if not isinstance(config, dict):
        return config
    if "DTypePolicy" in str(config.get("class_name")):
        return {**config, "class_name": "DTypePolicy", "config": {"name": dtype}}
    return {
        key: dtype if key == "dtype" and isinstance(value, str) else _retype(value, dtype)
        for key, value in config.items()
    }


def adapt(layer, given):
    """Adapt `layer` to a batch of `Inputs`."""
    x, context, noise = given.tensors(layer.compute_dtype)
    layer.adapt(x, context, noise=noise)


def refresh(layer, given):
    """Refresh `layer` as one training step does."""
    x, context, noise = given.tensors(layer.compute_dtype)
    with engine.no_grad():
        layer.run_refresh(x, context, noise=noise)


def nudged(layer, step, rng):
    """Return all weights of a layer, floating-point ones larger or smaller by a relative `step`."""
    return [
        v * (1 + step * rng.choice([-1.0, 1.0], size=v.shape)) if v.dtype.kind == "f" else v
        for v in layer.get_weights()
    ]


def stored(layer):
    """Return all weights of a layer; float64 ones as float32 numbers."""
    return [v.astype("float32") if v.dtype == "float64" else v for v in layer.get_weights()]
