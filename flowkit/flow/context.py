"""The context of a flow: its checks, and the embedding that reads it once for all parts."""

import math
from typing import Any

import keras
import numpy as np
from keras import tree

from flowkit.contract import ContractError
from flowkit.contract.shapes import as_tuple
from flowkit.data.frame import Columns, is_frame
from flowkit.flow.batches import default_batch_size, map_leaves, real_numbers, run, run_in_batches

# Who reads it


def needed_by(*parts: Any) -> str:
    """Return "required", "optional" or "none": whether the parts read a context."""
    kinds = {
        part.spec.context if hasattr(part, "spec") else getattr(part, "context", "none") for part in parts
    }
    return next(word for word in ("required", "optional", "none") if word in kinds)


def guidance_of(flow: Any, weight: float, context: Any) -> float | None:
    """Return the weight of a guidance; None for 0. Raises ValueError without an optional context."""
    if weight and (context is None or flow.context_kind != "optional"):
        found = "no context" if context is None else f"a context that is {flow.context_kind!r}"
        raise ValueError(
            f"guidance: got {weight} with {found}, expected a context of a flow that can do without it. Pass "
            "context=labels to a flow such as zoo.tarflow(num_classes=10)."
        )
    return weight or None


def classes_of(embedding: Any) -> int | None:
    """Return how many rows a table of labels has, if the embedding is one or begins with one; None otherwise."""
    if getattr(embedding, "num_classes", None) is not None:
        return embedding.num_classes
    sequence = isinstance(embedding, keras.Sequential) and embedding.layers
    first = embedding.layers[0] if sequence else embedding
    return first.input_dim if isinstance(first, keras.layers.Embedding) else None


# Checks


def _error(flow, expected, received, hint=None):
    return ContractError("context", flow, expected=expected, received=received, hint=hint)


def check_context(flow: Any, context: Any, samples: int | None = None) -> Any:
    """Return the context as numpy, or None.

    Raises ContractError if it is missing or not read, has not one row for each of `samples`, holds NaN, or names a
    class that is not there, and ValueError if it holds no numbers.
    """
    kind = flow.context_kind
    if context is None:
        if kind == "required":
            hint = "A data set yields it as ({'x': ..., 'context': ...},)."
            raise _error(flow, "context=, batch first", "none", hint)
        return None
    if kind == "none":
        hint = (
            "To have it read, make the flow with context=, as flowkit.zoo.nsf(context=3), or with a network of "
            "context='required', as Coupling(MLP([64], context='required')). Or leave context= out."
        )
        wanted = "none, since neither its bijector nor its base reads one"
        raise _error(flow, wanted, type(context).__name__, hint)
    if is_frame(context):
        try:
            context = (flow.context_columns or Columns.of(context)).values(context)
        except ValueError as error:  # other columns, or some that hold no numbers
            raise ValueError(f"context: {error}") from None
    hint = " Labels are whole numbers from 0; context=[1] is one row."
    if isinstance(context, dict):
        context = {key: real_numbers(part, "context", hint) for key, part in context.items()}
    else:
        context = real_numbers(context, "context", hint)
    _check_classes(flow, context)
    # Floats in the flow's precision, as Keras passes them on in training.
    context = map_leaves(
        lambda c: c.astype(flow.compute_dtype, copy=False) if c.dtype.kind == "f" else c, context
    )
    parts = tree.flatten(context)
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise _error(flow, "finite numbers", "NaN or infinite ones")
    counts = {len(part) for part in parts}
    if len(counts) != 1 or (samples is not None and counts != {samples}):
        wanted = "as many rows in each part" if samples is None else f"one row for each of {samples} samples"
        raise _error(flow, wanted, f"{' and '.join(map(str, sorted(counts)))} rows")
    return context


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
        wanted = f"integer labels {'(batch, ...)' if words else '(batch,)'} in 0..{classes - 1}"
        raise _error(flow, wanted, f"{context.dtype} of shape {context.shape}{span}")


# The embedding


def build_embedding(flow: Any, context_shape: Any) -> Any:
    """Build the flow's embedding; return the shape, or the dict of shapes, of its output.

    It is called on a placeholder, so that layers inside it that Keras builds at their first call are built too.
    """
    if context_shape is None:
        hint = "Pass context=, or build with {'x': shape, 'context': shape}."
        raise _error(flow, "a context to build its embedding for", "none", hint)
    # A shape does not tell whether the context is labels, and some layers take nothing else: `ops.take(table, labels)`.
    kinds = ("float32", "int32") if classes_of(flow.embedding) is None else ("int32",)
    for kind in kinds:
        inputs = tree.map_shape_structure(
            lambda shape, kind=kind: keras.KerasTensor((None, *shape[1:]), kind), context_shape
        )
        try:
            output = flow.embedding(inputs)
            break
        except (TypeError, ValueError):
            if kind == kinds[-1]:
                raise
    shapes = {
        key: as_tuple(t.shape) for key, t in (output if isinstance(output, dict) else {None: output}).items()
    }
    for shape in shapes.values():
        if not shape or shape[0] is not None:
            wanted = f"its embedding '{flow.embedding.name}' to answer with a row for each row of the context"
            raise _error(flow, wanted, f"shape {shape} for a context of shape {context_shape}")
    return shapes if isinstance(output, dict) else shapes[None]


def embedded(flow: Any, context: Any, batch_size: Any) -> Any:
    """Return what the parts of a flow receive for a checked context, as numpy: each row once for a whole call."""
    if flow.embedding is None or context is None:
        return context
    if batch_size is None:
        entries = sum(math.prod(part.shape[1:]) for part in tree.flatten(context))
        batch_size = default_batch_size(max(entries, math.prod(flow._event())))
    return run_in_batches(flow, lambda start, stop, piece: run(flow, flow.embed, piece), context, batch_size)
