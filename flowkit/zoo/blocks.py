"""Block neural autoregressive flows: each layer is one network."""

from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import BlockAutoregressive, Chain, Permute, Repeat
from flowkit.conditioners import MLP
from flowkit.flow.flow import Flow
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.vectors import check_sizes, vector_flow


@told_if_misspelt
def bnaf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (64, 64),
    units: int = 8,
    depth: int = 1,
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Block neural autoregressive flow: `layers` networks z_i = f_i(x_1, ..., x_i), each increasing in x_i.

    A density takes one pass of the networks; samples find one feature after the other, and solve for it. It has
    few weights: there is no network that steers another.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `units`, `depth`: hidden units for each feature, and hidden layers, as in `flowkit.bijectors.BlockAutoregressive`.
    - `hidden`: the widths of the networks by which a context moves the biases; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number out
    of range. De Cao, Titov & Aziz, Block Neural Autoregressive Flow (2019).

    >>> bnaf(features=3, layers=2, units=4).event_shape
    (3,)
    """
    check_sizes("bnaf", features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)

    def layer():
        return BlockAutoregressive(units, depth=depth, conditioner=MLP(hidden) if context else None)

    steps = [layer()]
    if layers > 1:
        steps += [Repeat(Chain([Permute("reverse"), layer()]), layers - 1)]
    return vector_flow(
        "bnaf", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )
