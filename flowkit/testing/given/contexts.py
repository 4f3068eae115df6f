"""A context, one array or a dict of several: how it is described, drawn, cut to rows and handed on."""

import keras
import numpy as np
from keras import ops, tree


def described(context):
    """What says how a context looks, if it is something that does. Raises TypeError otherwise."""
    if context is None or callable(context):
        return context
    if isinstance(context, dict) and context and all(map(_is_shape, context.values())):
        return {key: tuple(map(int, shape)) for key, shape in context.items()}
    if _is_shape(context):
        return tuple(map(int, context))
    raise TypeError(
        "context= expects the shape of one context, as (3,), or a dict of shapes, or a function (rng, batch, event) -> "
        f"array or dict of arrays; received {context!r}."
    )


def _is_shape(shape):
    return isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in shape)


def drawn(description, rng, batch, event):
    """A context of `batch` rows that looks as `described`."""
    if callable(description):
        return each(np.asarray, description(rng, batch, event))
    if isinstance(description, dict):
        return {key: drawn(shape, rng, batch, event) for key, shape in description.items()}
    return rng.normal(size=(batch, *description)).astype("float32")


def each(function, context):
    """`function` of the array, or of each array of a dict; None stays None."""
    return None if context is None else tree.map_structure(function, context)


def rows(context, places):
    """The rows of a context that `places` names: a slice or a list."""
    return each(lambda c: c[places], context)


def tiled(context, count):
    """A context repeated for a batch of `count` rows that was put together of pieces of its own rows."""
    return each(lambda c: np.tile(c, (count // len(c), *(1,) * (c.ndim - 1))), context)


def tensor(context):
    """A context as tensors, of arrays that nobody else holds."""
    return each(lambda c: ops.convert_to_tensor(np.array(c)), context)


def floating(context, name="context"):
    """{name: array} of those arrays of a context, numpy's, that are no labels."""
    if isinstance(context, dict):  # sorted, as JAX hands a dict on
        return {
            n: a for key in sorted(context) for n, a in floating(context[key], f"{name}[{key!r}]").items()
        }
    return {name: context} if context is not None and context.dtype.kind == "f" else {}


def replaced(context, arrays):
    """A context of tensors with its `floating` ones replaced by the next of the iterator `arrays`."""
    if isinstance(context, dict):
        return {key: replaced(context[key], arrays) for key in sorted(context)}
    return next(arrays) if keras.backend.is_float_dtype(context.dtype) else context


def placeholder(context):
    """Symbolic inputs that look as the context does."""

    def one(array, name):
        return keras.Input(array.shape[1:], dtype=array.dtype.name, name=name)

    if isinstance(context, dict):
        return {key: one(array, f"context_{key}") for key, array in context.items()}
    return None if context is None else one(context, "context")
