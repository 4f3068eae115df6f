"""The layers inside a layer, and building one for a context."""

import inspect
from collections.abc import Iterator

import keras


def keras_layers(
    layer: keras.Layer, *, include_self: bool = True, recursive: bool = True
) -> list[keras.Layer]:
    """Return `layer` and the layers inside it that Keras sees. Keras has no public list of them.

    >>> [type(inner).__name__ for inner in keras_layers(keras.Sequential([keras.layers.ReLU()]), include_self=False)]
    ['ReLU']
    """
    return layer._flatten_layers(include_self=include_self, recursive=recursive)


def layers_inside(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yield `layer` and every layer inside it, at any depth.

    Keras does not see the block of a `Repeat`, since the weights of its copies belong to the `Repeat`.

    >>> [type(inner).__name__ for inner in layers_inside(keras.Sequential([keras.layers.ReLU()]))]
    ['Sequential', 'ReLU']
    """
    for inner in keras_layers(layer):
        yield inner
        block = getattr(inner, "repeated_block", None)
        if block is not None:
            yield from layers_inside(block)


def build_for(layer, shape, context_shape=None):
    """Build `layer` for inputs of `shape`, once; hands on the context's shape to a `build` that asks for it.

    >>> import keras
    >>> layer = keras.layers.Dense(2)
    >>> build_for(layer, (None, 3))
    >>> layer.built
    True
    """
    if layer.built:
        return
    if "context_shape" in inspect.signature(layer.build).parameters:
        layer.build(shape, context_shape)
    else:
        layer.build(shape)
