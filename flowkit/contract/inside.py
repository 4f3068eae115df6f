"""The layers inside a layer."""

from collections.abc import Iterator

import keras


def layers_inside(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yield `layer` and every layer inside it, at any depth.

    Keras does not see the block of a `Repeat`, since the weights of its copies belong to the `Repeat`.

    >>> [type(inner).__name__ for inner in layers_inside(keras.Sequential([keras.layers.ReLU()]))]
    ['Sequential', 'ReLU']
    """
    for inner in layer._flatten_layers():
        yield inner
        block = getattr(inner, "repeated_block", None)
        if block is not None:
            yield from layers_inside(block)
