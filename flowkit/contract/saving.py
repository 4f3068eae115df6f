"""Checks of what a saved file can hold, and configs that do not depend on the engine that wrote them."""

import keras

from flowkit.contract.inside import keras_layers


def engine_neutral(config):
    """Return `config` with every class of an engine's own optimizers by its public name, at any depth.

    On torch Keras makes `keras.optimizers.Adam` an instance of a class that only exists if torch is
    installed, and stores that class: such a file would load nowhere else.
    """
    if isinstance(config, list):
        return [engine_neutral(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: engine_neutral(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config


def refuse_shared(layer):
    """Raise ValueError if two layers inside `layer` hold one and the same layer.

    A file would hold it once and be read as if it held two.
    """
    owners: dict[int, keras.Layer] = {}
    waiting = [layer]
    while waiting:
        owner = waiting.pop()
        for inner in keras_layers(owner, include_self=False, recursive=False):
            if id(inner) in owners:
                raise ValueError(
                    f"'{inner.name}' is part of '{owners[id(inner)].name}' and of '{owner.name}': expected a "
                    "layer of its own in each, since a saved flow could not be loaded."
                )
            owners[id(inner)] = owner
            waiting.append(inner)


def built_late(layer):
    """Return the names of unbuilt layers inside the built `layer`: a file could not load weights into them."""
    return frozenset(
        inner.name
        for inner in keras_layers(layer, include_self=False)
        if not inner.built and type(inner).build is not keras.Layer.build
    )


def refuse_late(layer, late):
    """Raise ValueError for the `late`, layers inside `layer` which get their weights after it is built."""
    if late:
        raise ValueError(
            f"{type(layer).__name__}.build expected to make all weights, received none for {', '.join(sorted(late))}: "
            "a saved flow would lose them. Build them in build(self, z_shape, context_shape)."
        )
