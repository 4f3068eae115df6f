"""Gaussianization: each feature by itself is made normal, and all are turned, again and again."""

from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import Chain, HouseholderRotation, Pointwise, Repeat
from flowkit.conditioners import MLP
from flowkit.contract.arguments import whole_number
from flowkit.flow.flow import Flow
from flowkit.transforms import MixtureOfLogistics
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.vectors import check_sizes, vector_flow


@told_if_misspelt
def gaussianization(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 10,
    hidden: Sequence[int] = (64, 64),
    components: int = 32,
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Gaussianization flow: `layers` of z = f_i(x_i), which makes each feature normal, and a rotation between each two.

    `adapt(x)` alone fits: f is the distribution of x as a mixture of logistics at its quantiles, and so in each layer
    after the one before. Give it some thousands of rows; training starts from there, and learns rotations as well. No
    networks, so that both directions are quick for few features; samples solve for one number at a time.

    - `components`: of each mixture.
    - `hidden`: the widths of the networks by which a context moves the mixtures; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number out
    of range. Laparra, Camps-Valls & Malo, Iterative Gaussianization (2011); Meng, Song, Song & Ermon,
    Gaussianization Flows (2020).

    >>> import numpy as np
    >>> x = np.random.default_rng(0).gamma(1.0, size=(500, 1)).astype("float32")
    >>> flow = gaussianization(layers=1).adapt(x)
    >>> bool(abs(flow.encode(x).std() - 1) < 0.1)
    True
    """
    family = "gaussianization"
    check_sizes(family, features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)
    mixture = MixtureOfLogistics(whole_number(components, f"{family}'s components", least=1))

    def marginals():
        return Pointwise(mixture, MLP(hidden) if context else None, init="data")

    steps = [marginals()]
    if layers > 1:
        steps += [Repeat(Chain([HouseholderRotation(init="random"), marginals()]), layers - 1)]
    return vector_flow(
        family, steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )
