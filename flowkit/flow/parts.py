"""Check the parts of a flow, and build its embedding."""

from typing import TYPE_CHECKING, Any

import keras
from keras import tree

from flowkit.contract import Domain, FlowLayer, Surjection
from flowkit.contract.arguments import shown
from flowkit.contract.inside import refuse_shared
from flowkit.contract.shapes import as_tuple
from flowkit.flow.inputs import context_error

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow


def check_parts(bijector: Any, base: Any, embedding: Any, dequantize: Any) -> None:
    """Raise TypeError or ValueError unless the parts make a flow."""
    if not isinstance(bijector, FlowLayer):
        raise TypeError(
            f"Flow: got {bijector!r}, expected a bijector. Call a class, and join several by Chain([...])."
        )
    if base is not None and not isinstance(base, keras.Layer):
        raise TypeError(f"Flow's base: got {shown(base)}, expected a base density, such as StudentT().")
    if not isinstance(dequantize, Surjection | None):
        raise TypeError(
            f"Flow's dequantize: got {shown(dequantize)}, expected a flowkit.data.Dequantize, or a Surjection with "
            'noise="forward" and no context that has validate(x) and as_stored(y).'
        )
    if not isinstance(embedding, keras.Layer | None):
        raise TypeError(f"Flow's embedding: got {embedding!r}, expected a Keras layer or model.")
    if embedding is not None and needed_by(bijector, base) == "none":
        raise ValueError(
            f"Flow: got a bijector and a base that read no context, expected one that reads the output of the "
            f"embedding '{embedding.name}'. Give a network context='required', or leave the embedding out."
        )
    refuse_shared([part for part in (bijector, base, embedding) if part is not None])
    codomain = bijector.spec.codomain
    if codomain != Domain.REAL and getattr(base, "domain", Domain.REAL) == Domain.REAL:
        raise ValueError(
            f"Flow's bijector: got one onto {codomain}, expected one onto {Domain.REAL}, which its base draws. A "
            "bijector maps data to latents: turn it round with Inverse, or give a base such as Uniform(0.0, 1.0)."
        )


# Context


def needed_by(*parts: Any) -> str:
    """Return "required", "optional" or "none": whether the parts read a context."""
    kinds = {
        part.spec.context if hasattr(part, "spec") else getattr(part, "context", "none") for part in parts
    }
    return next(word for word in ("required", "optional", "none") if word in kinds)


def guidance_of(flow: "Flow", weight: float, context: Any) -> float | None:
    """Return the weight of a guidance. Raises ValueError without an optional context."""
    if context is None or flow.context_kind != "optional":
        found = "no context" if context is None else f"a context that is {flow.context_kind!r}"
        raise ValueError(
            f"guidance: got {weight} with {found}, expected a context of a flow that can do without it. Pass "
            "context=labels to a flow such as zoo.tarflow(num_classes=10)."
        )
    return weight


def classes_of(embedding: Any) -> int | None:
    """Return how many rows a table of labels has, if the embedding is one or begins with one; None otherwise."""
    if getattr(embedding, "num_classes", None) is not None:
        return embedding.num_classes
    sequence = isinstance(embedding, keras.Sequential) and embedding.layers
    first = embedding.layers[0] if sequence else embedding
    return first.input_dim if isinstance(first, keras.layers.Embedding) else None


# The embedding


def build_embedding(flow: "Flow", context_shape: Any) -> Any:
    """Build the flow's embedding; return the shape, or the dict of shapes, of its output.

    It is called on a placeholder, so that layers inside it that Keras builds at their first call are built too.
    """
    if context_shape is None:
        hint = "Pass context=, or build with {'x': shape, 'context': shape}."
        raise context_error(flow, "a context to build its embedding for", "none", hint)
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
            raise context_error(flow, wanted, f"shape {shape} for a context of shape {context_shape}")
    return shapes if isinstance(output, dict) else shapes[None]
