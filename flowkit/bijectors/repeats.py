"""Blocks of a chain that are alike but for their weights, as the steps of a Glow: what can be compiled once."""

import keras

from flowkit import backends
from flowkit.contract.derived import says_pure


def repeats(parts):
    """`parts` in their order as runs of blocks that are alike: [a, b, c, b, c] is [[(a,)], [(b, c), (b, c)]]."""
    parts, keys, runs = tuple(parts), [key(part) for part in parts], []
    start = 0
    while start < len(parts):
        size, count = _longest_run(keys[start:])
        stop = start + size * count
        runs.append([parts[i : i + size] for i in range(start, stop, size)])
        start = stop
    return runs


def _longest_run(keys):
    """(size, count) of the blocks at the start of `keys` that cover the most of it, the smallest that do."""
    best = 1, 1
    for size in range(1, len(keys) // 2 + 1):
        count = 1
        while keys[count * size : (count + 1) * size] == keys[:size]:
            count += 1
        if count > 1 and size * count > best[0] * best[1]:
            best = size, count
    return best


def key(part):
    """Equal for parts that compute the same from equal weights."""
    if not _only_computes(part):
        return id(part)
    with backends.sparing_tensorflow():
        config = _nameless(keras.saving.serialize_keras_object(part))
    if "'class_name': 'function'" in repr(config):  # a function is told by its name alone
        return id(part)
    weights = [
        (weight.name, tuple(weight.shape), weight.dtype, weight.trainable) for weight in part.variables
    ]
    return repr(config), tuple(weights)


def _only_computes(part):
    """Whether a part is made of layers that draw nothing, keep no statistics and add nothing to the loss.

    Of layers that do not say so that is not known.
    """
    return all(
        (says_pure(type(layer)) or type(layer) is keras.layers.Dense)
        and getattr(layer, "activity_regularizer", None) is None
        for layer in part._flatten_layers()
    )


def _nameless(config):
    """A config without what does not matter to a layer that has its weights: names and, if it only computes, seeds."""
    if isinstance(config, list | tuple):
        return [_nameless(item) for item in config]
    if not isinstance(config, dict):
        return config
    left = {key: _nameless(value) for key, value in config.items() if key not in ("name", "build_config")}
    made = keras.saving.get_registered_object(config.get("registered_name"))
    if made is not None and says_pure(made):
        left["config"].pop("seed", None)
    return left
