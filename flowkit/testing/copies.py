"""Copies of a layer under test, in two precisions, with weights moved off their start."""

import contextlib
import functools
import json
from typing import Any

import keras
import numpy as np

from flowkit.contract import ContractError, FlowLayer
from flowkit.contract.adaptation import adapted_flags, mark_adapted
from flowkit.engines import engine

SCALE = 0.3
"""How far a weight moves: enough that a term which it belongs to shows, since at the start most mistakes read 0 = 0."""

STEPS = 8
"""How many training steps' refreshing follows a jump of the weights, so that a power iteration has caught up."""


def randomize(layer: Any, seed: int = 0, scale: Any = SCALE) -> Any:
    """Add normal noise to every trainable weight of the built `layer`, reproducibly. Returns `layer`.

    Vectors move by `scale`, kernels by scale / sqrt(fan in), so that what a unit receives changes by
    about `scale` whatever the layer's width. `scale` may be a list, dealt out to the weights in turn.
    Fixed weights (a permutation, a sign, the flag that says "adapted") stay: they are structure.
    Data-dependent ones are set by `adapt`, before this.
    """
    values = [v.numpy() for v in layer.trainable_variables]
    for variable, value in zip(layer.trainable_variables, moved(values, seed, scale), strict=True):
        variable.assign(value)
    return layer


def moved(values, seed, scale):
    """Return what `randomize` makes of the values of trainable weights: float32 numbers, whatever the layer's dtype."""
    rng = np.random.default_rng([seed, 0])
    result = []
    for value, times in zip(values, np.resize(scale, len(values)), strict=True):
        fan_in = np.prod(value.shape[:-1]) if value.ndim > 1 else 1
        noise = rng.normal(size=value.shape) * times / np.sqrt(max(1, fan_in))
        result.append((value + noise).astype("float32"))
    return result


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


class Copies:
    """One copy of a `Subject` for each event and precision, made once, whose weights move from example to example.

    `subject` makes, builds and feeds them.
    """

    def __init__(self, subject):
        self._subject, self._now = subject, {}
        self._kept = functools.cache(self._layer)
        self._start, self._values = functools.cache(self._start_values), functools.cache(self._moved_values)

    def layer(self, event, dtype="float32"):
        """Return the copy for `event`: built, adapted to a batch, not yet moved."""
        return self._kept(event, dtype)

    def _layer(self, event, dtype):
        subject = self._subject
        if dtype == "float64":
            with engine.float64():
                layer = subject.build(subject.make("float64"), event)
                self._adapt(layer, event)
            return layer
        layer, start = subject.build(subject.make(), event), self._start(event)
        if len(start) != len(layer.weights):
            raise ContractError(
                "config",
                subject.model,
                expected=f"a copy with {len(start)} weights, like the first",
                received=f"{len(layer.weights)} weights",
            )
        layer.set_weights(start)
        return layer

    def _start_values(self, event):
        """Return all weights as they are before they move."""
        layer = self.layer(event, "float64")
        with engine.float64():
            return _stored(layer)

    def _adapt(self, layer, event):
        flags = adapted_flags(layer)
        hooks = ("_adapt", "run_adapt")
        if not flags and all(getattr(type(layer), h) is getattr(FlowLayer, h) for h in hooks):
            return
        with contextlib.suppress(NotImplementedError):  # an inverse cannot be adapted from its own side
            adapt(layer, self._subject.batch(layer, event))
        mark_adapted(layer)

    def weighted(self, example, dtype="float32"):
        """Return the copy for the event of `example`, with its weights moved as that says."""
        event, moves = tuple(example.event), (example.seed, example.scales)
        layer = self.layer(event, dtype)
        if self._now.get((event, dtype)) != moves:
            values = self._values(event, *moves)
            self._now.pop((event, dtype), None)
            # Outside the scope, JAX would make float32 of what is assigned to a float64 weight.
            with engine.float64() if dtype == "float64" else contextlib.nullcontext():
                _assign(layer, values)
            self._now[event, dtype] = moves
        return layer

    def _moved_values(self, event, seed, scales):
        layer, start = self.layer(event, "float64"), self._start(event)
        values = dict(zip(map(id, layer.weights), start, strict=True))
        trained = list(map(id, layer.trainable_variables))
        new = moved([values[i] for i in trained], seed, [SCALE * times for times in scales])
        values = list((values | dict(zip(trained, new, strict=True))).values())
        if not layer.refreshes:
            return values
        # As a few training steps' refreshing leaves them, from which they were one step away before.
        self.forget(event, "float64")
        with engine.float64():
            _assign(layer, values)
            for _ in range(STEPS):
                refresh(layer, self._subject.batch(layer, event))
            return _stored(layer)

    def forget(self, event, dtype="float32"):
        """Have the weights of that copy set anew before its next use: a clause has changed them."""
        self._now.pop((event, dtype), None)


def adapt(layer, given):
    """Adapt `layer` to a batch of `Inputs`."""
    x, context, noise = given.tensors(layer.compute_dtype)
    layer.adapt(x, context, noise=noise)


def refresh(layer, given):
    """Refresh `layer` as one training step does."""
    x, context, noise = given.tensors(layer.compute_dtype)
    with engine.no_grad():
        layer.run_refresh(x, context, noise=noise)


def _assign(layer, values):
    for variable, value in zip(layer.weights, values, strict=True):
        variable.assign(value)


def _stored(layer):
    """Return all weights of a layer; float64 ones as float32 numbers."""
    values = [v.numpy() for v in layer.weights]
    return [v.astype("float32") if v.dtype == "float64" else v for v in values]
