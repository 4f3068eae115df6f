"""Types of tensors and shapes in signatures, and event shapes: axis 0 is the batch, all other axes are the event."""

import math
import numbers
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
from keras import ops, tree

from flowkit.contract.errors import ContractError

# Each backend has another class of tensors.

AnySeed: TypeAlias = int | keras.random.SeedGenerator | None

if TYPE_CHECKING:
    Tensor: TypeAlias = Any
    Shape: TypeAlias = Any
    Context: TypeAlias = Any
else:

    class Tensor:
        """A tensor of the backend, or a value that becomes one: a numpy array, a list of numbers, a data frame."""

    class Context:
        """A tensor that a density is conditional on, a dict of tensors, or None."""

    class Shape:
        """A tuple of ints, (batch, *event), with None for sizes that are not known; a dict of tuples for a dict."""


def sum_event(x: Tensor) -> Tensor:
    """Sum over all axes but the first: one number for each sample, shape (batch,).

    >>> sum_event(ops.ones((2, 3, 4))).shape[0]
    2
    """
    axes = tuple(range(1, len(x.shape)))
    if not axes:
        return x
    # A tensor's own method, if it has one, takes a fifth of the time on torch.
    return x.sum(axis=axes) if hasattr(x, "sum") else ops.sum(x, axis=axes)


def per_sample(layer, log_det, x):
    """Return a hook's log-det as (batch,) in the layer's precision; a scalar is that of each sample."""
    # `ops.cast` rounds a number to float32 on TensorFlow.
    convert = ops.convert_to_tensor if isinstance(log_det, int | float) else ops.cast
    log_det = convert(log_det, layer.compute_dtype)
    shape = tuple(log_det.shape)
    if shape == tuple(x.shape)[:1]:
        return log_det
    if shape == ():
        return ops.broadcast_to(log_det, (ops.shape(x)[0],))
    if not fits(shape, tuple(x.shape)[:1]):
        wanted = f"a scalar, or one number for each sample, ({x.shape[0]},)"
        hint = "flowkit.contract.sum_event sums over an event."
        raise ContractError("log-det shape", layer, expected=wanted, received=f"shape {shape}", hint=hint)
    return log_det


def event_size(shape):
    """Return the number of entries of one event of a (batch, *event) shape; None if an axis is unknown."""
    return None if None in shape[1:] else math.prod(shape[1:])


def as_tuple(shape):
    """Return a shape as a tuple of int and None, whatever the engine calls it: None for a size that is not known yet.

    An exporter traces with such sizes, which must not be taken for the number that they stand for just then.
    """
    return tuple(n if isinstance(n, int) else _size(n) for n in shape)


def _size(n):
    return int(n) if isinstance(n, numbers.Integral) or hasattr(n, "shape") else None


def fits(shape, wanted):
    """Return True if two shapes are the same, where None is any size."""
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )


def context_shape(context):
    """Return the shape of a context, or the dict of shapes of a dict of tensors; None for none."""
    if context is None:
        return None
    return tree.map_structure(lambda t: as_tuple(ops.shape(t)), context)


def tiled(rows, times):
    """Return a tensor, or a dict of tensors, with all rows `times` times, one block after another; None for None.

    >>> ops.convert_to_numpy(tiled(ops.convert_to_tensor([[1], [2]]), 2)).tolist()
    [[1], [2], [1], [2]]
    """
    if rows is None:
        return None
    return tree.map_structure(lambda t: ops.tile(t, (times, *(1,) * (len(t.shape) - 1))), rows)
