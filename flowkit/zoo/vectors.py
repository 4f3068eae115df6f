"""What all families of vectors have in common: where their flows begin and end, and when their weights are made."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from flowkit.bijectors import ActNorm, Chain, LULinear, Permute, Repeat
from flowkit.conditioners import StandardizedContext
from flowkit.contract.arguments import one_of, whole_number, widths
from flowkit.flow.context import classes_of
from flowkit.flow.flow import Flow
from flowkit.transforms import Affine
from flowkit.zoo.table_front import table_front

MIXING = ("lu", "permutation", "none")


def check_sizes(
    family: str, *, features: int | None, context: int, layers: int, hidden: Sequence[int], embedding: Any
) -> None:
    """Raise ValueError for what is no size, and for an embedding that has no context to read."""
    if features is not None:
        whole_number(features, f"{family}'s features", least=1, most=2**20)
    whole_number(context, f"{family}'s context", least=0, most=2**20)
    whole_number(layers, f"{family}'s layers", least=1, most=1024)
    widths(hidden, f"{family}'s hidden")
    if embedding is not None and not context:
        raise ValueError(
            f"{family}'s embedding reads a context: expected context=, the number of its entries, received 0."
        )


def refuse_one_feature(family: str, features: int | None, take: str) -> None:
    """Raise ValueError for vectors of one entry, of which a coupling could keep none; says what to `take`."""
    if features == 1:
        raise ValueError(
            f"{family}'s features: expected at least 2, since a coupling changes some entries by the others, received "
            f"1. For one feature take {take}."
        )


def network_context(context: int) -> str:
    """What the networks of a flow ask for: the word of `Conditioner`."""
    return "required" if context else "none"


def gentle(layers: int) -> Affine:
    """The scale of one of `layers`: together they multiply by e^8 at most, and what they have squeezed comes back.

    Heavy tails drive the scales of all layers to one end: at e^2 each, 32 layers leave no digit of a row.
    """
    return Affine("tanh", bound=min(2.0, 8.0 / layers))


def alternating(family: str, linear: str, layers: int, make: Callable[[bool], Any]) -> list[Any]:
    """`layers` layers that take turns, `make(False)` and `make(True)`, and what mixes the features before them.

    A shuffle comes before each two: within them it might undo the change of roles. `linear` "lu" puts a matrix before
    each layer as well. Alike pairs are one `Repeat`.
    """
    one_of(f"{family}'s linear", linear, MIXING)

    def step(turned):
        shuffle = [Permute("shuffle")] if linear != "none" and not turned else []
        matrix = [LULinear(bias=True)] if linear == "lu" else []
        return [*shuffle, *matrix, make(turned)]

    pairs = [Repeat(Chain([*step(False), *step(True)]), layers // 2)] if layers > 1 else []
    return [*pairs, *(step(False) if layers % 2 else [])]


def vector_flow(
    family: str,
    layers: Sequence[Any],
    *,
    features: int | None,
    context: int,
    base: Any,
    embedding: Any,
    domains: Any = None,
    front: Sequence[Any] | None = None,
) -> Flow:
    """The flow of `front`, what brings data to the scale that layers are made for, then of `layers`.

    `front` None is that of tables: from the `domains` of the features onto the real line, then standardised; and an
    ActNorm, which training may move. A context without an `embedding` is standardised too. With `features` the weights
    are made now.
    """
    if context and embedding is None:
        embedding = StandardizedContext()
    if front is None:
        front = [*table_front(features=features, domains=domains), ActNorm(factor=1.0)]
    flow = Flow(Chain([*front, *layers]), base, embedding=embedding, name=family)
    if features is not None:
        x_shape = (None, features)
        flow.build({"x": x_shape, "context": _context_shape(context, embedding)} if context else x_shape)
    return flow


def _context_shape(context: int, embedding: Any) -> Any:
    """The shape of what is given beside the data, or a dict of shapes: what the embedding says, if it says it."""
    if getattr(embedding, "inputs", None):  # a model whose inputs were declared, by `keras.Input`
        given = embedding.inputs[0] if isinstance(embedding, keras.Sequential) else embedding.input
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), given)
    labels = embedding is not None and classes_of(embedding) is not None
    return (None,) if labels else (None, context)
