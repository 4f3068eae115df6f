"""The layers inside a layer: find them, build one for a context, and check that a file can hold them."""

import contextlib
import inspect
from collections.abc import Iterator

import keras
from keras import tree

from flowkit.contract.configured import Configured, arguments_of


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
    """Build `layer` for inputs of `shape`, once; pass the context's shape if its `build` takes it.

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


@contextlib.contextmanager
def kept_frozen(layer: keras.Layer) -> Iterator[None]:
    """Enter a scope that builds `layer`: weights of frozen layers are made as those of others, then frozen."""
    inside = list(layers_inside(layer))
    if all(inner.trainable for inner in inside):
        yield
        return
    # A layer that is an argument of another keeps its own state; one that another makes has the state of that one.
    passed = {id(value) for outer in inside for value in _passed_to(outer)}
    before = [(inner, inner.trainable) for inner in inside if id(inner) in passed or not inner.trainable]
    # Each, since on TensorFlow Keras passes over a layer that has the value already, with all layers inside it.
    for inner, _ in before:
        inner.trainable = True
    try:
        yield
    finally:
        for inner, trainable in before:  # a layer comes before those inside it
            inner.trainable = trainable


def _passed_to(layer):
    """Return the arguments of a layer of flowkit, and the layers inside another one."""
    if isinstance(layer, Configured):
        return tree.flatten([value for _, value in arguments_of(layer)])
    return keras_layers(layer, include_self=False, recursive=False)


def refuse_shared(parts: list[keras.Layer]) -> None:
    """Raise ValueError if two of a flow's parts, or two layers inside them, hold one and the same layer.

    A file would hold it once and be read as if it held two.
    """
    owners: dict[int, str] = {}
    waiting = [("the flow", part) for part in parts]
    while waiting:
        owner, layer = waiting.pop(0)
        if id(layer) in owners:
            raise ValueError(
                f"{owner}: got '{layer.name}', which is also part of {owners[id(layer)]}, expected a layer of its own, "
                "since a saved flow could not be loaded. Make a layer for each."
            )
        owners[id(layer)] = owner
        block = getattr(layer, "repeated_block", None)  # of a Repeat, which does not track it
        inside = keras_layers(layer, include_self=False, recursive=False)
        waiting += [(f"'{layer.name}'", inner) for inner in [*inside, block] if inner is not None]


def refuse_late(layer):
    """Raise ValueError if layers inside a built `layer` are not built: a file's weights would find no place in them."""
    late = [
        inner.name
        for inner in keras_layers(layer, include_self=False)
        if not inner.built and type(inner).build is not keras.Layer.build
    ]
    if late:
        raise ValueError(
            f"{type(layer).__name__}.build: got no weights for {', '.join(sorted(late))}, expected all weights, since "
            "a saved flow would lose them. Build them in build(self, z_shape, context_shape)."
        )
