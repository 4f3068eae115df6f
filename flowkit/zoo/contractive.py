"""Residual flows: networks that shrink distances, added to their inputs."""

from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import ActNorm, Chain, Repeat, Residual
from flowkit.conditioners import LipschitzMLP
from flowkit.flow.flow import Flow
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.table_front import table_front
from flowkit.zoo.vectors import check_sizes, network_context, vector_flow


@told_if_misspelt
def residual(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (64, 64),
    lipschitz: float = 0.9,
    trace: str = "exact",
    terms: int | None = None,
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Residual flow: `layers` of z = x + g(x), g a network that shrinks distances, and an actnorm between each two.

    All features move together, each given all others: no halves, no order. Samples are found by iteration.

    - `hidden`: the widths of the networks. `lipschitz`: by how much g may stretch at most, below 1. Larger is more
      expressive, and takes more iterations: 152 for 0.9, 23 for 0.5.
    - `trace`: how log-dets are found, as in `flowkit.bijectors.Residual`. "exact" takes a derivative for each feature,
      for up to some tens of them; "hutchinson" and "roulette" estimate. `terms`: of their series.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Behrmann et al., Invertible Residual Networks (2019); Chen et al., Residual Flows for
    Invertible Generative Modeling (2019).

    >>> residual(features=3, layers=2, hidden=[8]).exact
    'exact'
    """
    check_sizes(
        "residual", features=features, context=context, layers=layers, hidden=hidden, embedding=embedding
    )
    network = LipschitzMLP(hidden, lipschitz=lipschitz, context=network_context(context))
    step = Chain([ActNorm(factor=1.0), Residual(network, trace=trace, terms=terms)])
    return vector_flow(
        "residual",
        [Repeat(step, layers)],
        features=features,
        context=context,
        domains=domains,
        base=base,
        embedding=embedding,
        front=table_front(features=features, domains=domains),
    )
