"""The one network that reads the context, for all parts of a flow."""

import math

import keras
from keras import tree

from flowkit.contract import ContractError
from flowkit.contract.inside import keras_layers
from flowkit.contract.precision import floats_as
from flowkit.contract.shapes import as_tuple
from flowkit.flow.context import needed_by
from flowkit.flow.in_batches import count, default_batch_size, run_in_batches


def check_embedding(embedding, bijector, base):
    """Raise if `embedding` is no layer (TypeError), or if nobody would read what it answers (ValueError)."""
    if embedding is None:
        return
    if not isinstance(embedding, keras.Layer):
        raise TypeError(f"Flow expects a Keras layer or model as its embedding, received {embedding!r}.")
    if needed_by(bijector, base) == "none":
        raise ValueError(
            f"Flow expects a bijector or a base that reads the answer of its embedding, '{embedding.name}'; received "
            "ones that read no context. Give a network context='required', or leave the embedding out."
        )
    inside = {id(layer) for part in (bijector, base) if part is not None for layer in keras_layers(part)}
    if any(id(layer) in inside for layer in keras_layers(embedding)):
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
        return flow._run(flow.embed, piece)

    return run_in_batches(answer, context, count(context), flow._batch_size(batch_size))
