"""Families of few parameters, made for variational inference: each layer bends or stretches space in one place."""

from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import Inverse, Planar, Radial, Repeat, Sylvester
from flowkit.conditioners import MLP
from flowkit.contract.arguments import one_of
from flowkit.flow.flow import Flow
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.vectors import check_sizes, vector_flow

DIRECTIONS = ("density", "sampling")


@told_if_misspelt
def planar(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 16,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Planar flow: `layers` of z = x + u tanh(w . x + b), a bend along one direction each.

    - `direction`: the cheap one, "density" (from data to latents) or "sampling", as published, for
      `flowkit.objectives.ReverseKL`. The other solves for one number in each layer.
    - `hidden`: the widths of the networks that make u, w and b of a context; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Rezende & Mohamed, Variational Inference with Normalizing Flows (2015).

    >>> planar(features=2, layers=4).event_shape
    (2,)
    """
    return _bends("planar", Planar, features, context, layers, hidden, direction, domains, base, embedding)


@told_if_misspelt
def radial(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 16,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Radial flow: `layers` of z = x + beta (x - c) / (alpha + |x - c|), a stretch around one point each.

    Both directions are formulas.

    - `direction`: that in which the formula above is used, "density" (from data to latents) or "sampling".
    - `hidden`: the widths of the networks that make c, alpha and beta of a context; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Rezende & Mohamed, Variational Inference with Normalizing Flows (2015).

    >>> radial(features=2, layers=4).event_shape
    (2,)
    """
    return _bends("radial", Radial, features, context, layers, hidden, direction, domains, base, embedding)


@told_if_misspelt
def sylvester(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    units: int | None = None,
    direction: str = "density",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Sylvester flow: `layers` of z = x + Q R tanh(S Q^T x + b), bends along `units` directions at once.

    - `units`: columns of Q; None takes 8, or as many as there are features if those are fewer.
    - `direction`: the cheap one, "density" (from data to latents) or "sampling", as published, for
      `flowkit.objectives.ReverseKL`. The other solves for `units` numbers in each layer, one after another.
    - `hidden`: the widths of the networks that make Q, R, S and b of a context; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for more units than features. van den Berg, Hasenclever, Tomczak & Welling,
    Sylvester Normalizing Flows (2018).

    >>> sylvester(features=3, layers=2, units=2).event_shape
    (3,)
    """

    def layer(network):
        return Sylvester(network, units=units)

    return _bends("sylvester", layer, features, context, layers, hidden, direction, domains, base, embedding)


def _bends(family, layer, features, context, layers, hidden, direction, domains, base, embedding):
    check_sizes(family, features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)
    one_of(f"{family}'s direction", direction, DIRECTIONS)
    step = layer(MLP(hidden) if context else None)
    steps = Repeat(Inverse(step) if direction == "sampling" else step, layers)
    return vector_flow(
        family, [steps], features=features, context=context, domains=domains, base=base, embedding=embedding
    )
