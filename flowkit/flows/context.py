"""What a flow is given beside the data: the context, checked, and the one network that reads it for every part."""

import math
import warnings

import keras
import numpy as np
from keras import ops, tree

from flowkit.contract import ContractError
from flowkit.contract.precision import floats_as
from flowkit.contract.shapes import as_tuple
from flowkit.data.frame import Columns, is_frame
from flowkit.flows.in_batches import count, default_batch_size, run_in_batches


def refuse_other_classes(bijector, base):
    """Raise ValueError if both read labels, and know of different classes."""
    here, there = (getattr(part, "num_classes", None) for part in (bijector, base))
    if None not in (here, there) and here != there:
        raise ValueError(
            f"Flow expects a bijector and a base of the same classes, since both are given the same labels; received "
            f"num_classes={here} and num_classes={there}. Make them equal."
        )


# The embedding


def check_embedding(embedding, bijector, base):
    """Raise if `embedding` is no layer (TypeError), or if nobody would read what it answers (ValueError)."""
    if embedding is None:
        return
    if not isinstance(embedding, keras.Layer):
        raise TypeError(f"Flow expects a Keras layer or model as its embedding, received {embedding!r}.")
    if _needs(bijector, base) == "none":
        raise ValueError(
            f"Flow expects a bijector or a base that reads the answer of its embedding, '{embedding.name}'; received "
            "ones that read no context. Give a network context='required', or leave the embedding out."
        )
    inside = {id(layer) for part in (bijector, base) if part is not None for layer in part._flatten_layers()}
    if any(id(layer) in inside for layer in embedding._flatten_layers()):
        raise ValueError(
            f"'{embedding.name}' shares a layer with the bijector or the base: expected layers of its own, since a "
            "saved flow could not be loaded."
        )


def classes_of(embedding):
    """How many rows a table of labels has, if the embedding is one or begins with one; None otherwise."""
    if getattr(embedding, "num_classes", None) is not None:
        return embedding.num_classes
    sequence = isinstance(embedding, keras.Sequential) and embedding.layers
    first = embedding.layers[0] if sequence else embedding
    return first.input_dim if isinstance(first, keras.layers.Embedding) else None


def build_embedding(flow, context_shape):
    """Make the weights of the flow's embedding; returns the shape, or the dict of shapes, of what it answers.

    It is called on a placeholder, so that layers inside it which Keras builds at their first call are built too.
    """
    if context_shape is None:
        raise ContractError(
            "context",
            flow,
            expected="a context to build its embedding for",
            received="none",
            hint="Pass context=, or build with {'x': shape, 'context': shape}.",
        )
    # A shape does not tell whether the context is labels, and some layers take nothing else: `ops.take(table, labels)`.
    kinds = ("float32", "int32") if classes_of(flow.embedding) is None else ("int32",)
    try:
        answer = _answer_to(flow.embedding, context_shape, kinds[0])
    except (TypeError, ValueError):
        if len(kinds) == 1:
            raise
        answer = _answer_to(flow.embedding, context_shape, kinds[1])
    shapes = tree.map_structure(lambda t: Shape(as_tuple(t.shape)), answer)
    for shape in tree.flatten(shapes):
        if not shape.sizes or shape.sizes[0] is not None:
            raise ContractError(
                "context",
                flow,
                expected=f"its embedding '{flow.embedding.name}' to answer with a row for each row of the context",
                received=f"shape {shape.sizes} for a context of shape {context_shape}",
            )
    return tree.map_structure(lambda shape: shape.sizes, shapes)


def _answer_to(embedding, context_shape, dtype):
    """What an embedding answers to a placeholder of a shape, or of a dict of shapes."""
    shapes = context_shape if isinstance(context_shape, dict) else {None: context_shape}
    given = {key: keras.KerasTensor((None, *shape[1:]), dtype) for key, shape in shapes.items()}
    return embedding(given if isinstance(context_shape, dict) else given[None])


class Shape:
    """A shape that a tree takes for one leaf."""

    def __init__(self, sizes):
        self.sizes = sizes


def embed(embedding, context, dtype):
    """What the parts of a flow see of a context: the embedding's answer, floats in their precision."""
    return floats_as(embedding(context), dtype)


def answers_of(flow, context, batch_size):
    """What the parts of `flow` see of a context, as numpy: each row once, for all that one call does with it."""
    if flow.embedding is None or context is None:
        return context
    if batch_size is None:
        entries = sum(math.prod(part.shape[1:]) for part in tree.flatten(context))
        batch_size = default_batch_size(max(entries, math.prod(flow._event())))

    def answer(start, stop, piece):
        return flow._run(flow._embed, piece)

    return run_in_batches(answer, context, count(context), flow._batch_size(batch_size))


# What is given


def _needs(*parts):
    """ "required", "optional" or "none": whether the parts read a context."""
    kinds = {
        part.spec.context if hasattr(part, "spec") else getattr(part, "context", "none") for part in parts
    }
    return next(word for word in ("required", "optional", "none") if word in kinds)


def context_kind(flow):
    """ "required", "optional" or "none": the most that its bijector, its base or the flow itself asks for."""
    return _needs(flow.bijector, flow.base, flow)


def context_as_array(flow, context):
    """`context`, or the array of a frame: by the names of the flow's columns of context if it knows them.

    A list of numbers is an array, too. Raises ValueError for other columns, and for some that hold no numbers.
    """
    context = _listed(context)
    if not is_frame(context):
        return context
    try:
        return (flow.context_columns or Columns.of(context)).values(context)
    except ValueError as error:
        raise ValueError(f"context: {error}") from None


def _listed(context):
    """The array of a list of numbers, or of lists of them; anything else as it is."""
    if not isinstance(context, list | tuple):
        return context
    if not all(isinstance(number, int | float | np.number) for number in tree.flatten(context)):
        return context
    try:
        return np.asarray(context)
    except ValueError:
        raise ValueError("context: expected lists of one length, received some of several.") from None


def check_context(flow, context, samples=None):
    """The context as numpy, None if the flow takes none: neither its bijector nor its base nor itself.

    Raises ContractError if it is missing, has not one row for each of `samples`, holds NaN, or names a
    class that is not there.
    """
    kind = context_kind(flow)
    if context is None and kind == "required":
        raise ContractError(
            "context",
            flow,
            expected="context=, batch first",
            received="none",
            hint="A data set yields it as ({'x': ..., 'context': ...},).",
        )
    if context is not None and kind == "none":
        warnings.warn(
            "a context was given, and neither the bijector nor the base of this flow reads one: it is left out. Give a "
            "conditioner context='required', as in Coupling(MLP(context='required')), or leave the context out.",
            stacklevel=2,
        )
    if context is None or kind == "none":
        return None
    context = context_as_array(flow, context)
    context = tree.map_structure(lambda c: np.asarray(ops.convert_to_numpy(c)), context)
    for part in tree.flatten(context):
        if part.dtype.kind in "OSUMm":
            raise ContractError(
                "context",
                flow,
                expected="numbers",
                received=f"{part.dtype}",
                hint="Give labels as whole numbers from 0.",
            )
    if any(part.ndim == 0 for part in tree.flatten(context)):
        raise ContractError(
            "context",
            flow,
            expected="a context, batch first",
            received="a single number",
            hint="context=[1] is one row; sample(n, context) draws n for each.",
        )
    _check_classes(flow, context)
    context = tree.map_structure(lambda c: _in_precision(c, flow.compute_dtype), context)
    parts = tree.flatten(context)
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise ContractError("context", flow, expected="finite numbers", received="NaN or infinite ones")
    counts = {len(part) for part in parts}
    if len(counts) != 1 or (samples is not None and counts != {samples}):
        raise ContractError(
            "context",
            flow,
            expected="as many rows in each part"
            if samples is None
            else f"one row for each of {samples} samples",
            received=f"{' and '.join(map(str, sorted(counts)))} rows",
        )
    return context


def refuse_unread(flow, context):
    """Raise ContractError for a context that a flow is to be trained with and would not read: says how it would."""
    if context is None or context_kind(flow) != "none":
        return
    shape = tree.map_structure(lambda part: tuple(np.shape(part)), _listed(context))
    if isinstance(shape, dict):
        asked = "context=1, embedding=a model that takes the dict"
    elif len(shape) == 1:
        asked = "context=1, embedding=keras.layers.Embedding(classes, 8)"
    else:
        asked = f"context={shape[-1]}"
    raise ContractError(
        "context",
        flow,
        expected="none, since neither its bijector nor its base reads one",
        received=f"one of shape {shape}",
        hint=f"To have it read, make the flow as flowkit.zoo.nsf({asked}), or of parts of your own with a network of "
        "context='required', as Coupling(MLP([64], context='required')). Or leave context= out.",
    )


def _in_precision(array, dtype):
    """Floats in the flow's precision, as Keras hands them on in training."""
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array


def _check_classes(flow, context):
    """Raise ContractError for labels that name no class, if the flow knows how many there are."""
    classes = flow.num_classes
    if classes is None or not isinstance(context, np.ndarray):
        return
    # A table of Keras's takes labels of any shape, such as the words of a text.
    words = flow.embedding is not None and getattr(flow.embedding, "num_classes", None) is None
    whole = np.issubdtype(context.dtype, np.integer) and (words or context.ndim == 1)
    if not whole or (context.size and not 0 <= context.min() <= context.max() < classes):
        span = f" with values {context.min()}..{context.max()}" if context.size else ""
        raise ContractError(
            "context",
            flow,
            expected=f"integer labels {'(batch, ...)' if words else '(batch,)'} in 0..{classes - 1}",
            received=f"{context.dtype} of shape {context.shape}{span}",
        )
