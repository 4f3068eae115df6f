"""Families in which each feature is changed given those before it, by increasing maps with many parameters."""

from collections.abc import Sequence
from typing import Any

from flowkit.flow.flow import Flow
from flowkit.transforms import Bernstein, SigmoidMixture, SumOfSquares, UnconstrainedMonotone
from flowkit.zoo.masked import masked_layers
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.vectors import vector_flow


@told_if_misspelt
def naf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (128, 128),
    units: int = 16,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Neural autoregressive flow: `layers` of z_i = logit(sum_k w_k sigmoid(a_k x_i + b_k)).

    w, a and b follow from x_1, ..., x_(i-1). A density takes one pass of the networks; samples find one
    feature after the other, and solve for it. Both tails are straight lines, so that all of the real line is reached.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `units`: sigmoids for each feature, as in `flowkit.transforms.SigmoidMixture`.
    - `linear`: "none", as published, "lu", a learned matrix between layers, or "permutation", a fixed one before each
      two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Huang, Krueger, Lacoste & Courville, Neural
    Autoregressive Flows (2018).

    >>> naf(features=3, layers=1, hidden=[8], units=4).event_shape
    (3,)
    """
    steps = masked_layers("naf", SigmoidMixture(units), features, context, layers, hidden, linear, embedding)
    return vector_flow(
        "naf", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )


@told_if_misspelt
def umnn(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (128, 128),
    units: int = 16,
    nodes: int = 33,
    bound: float = 5.0,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Unconstrained monotonic neural network: `layers` of z_i = b + int_0^(x_i) g, g > 0, given x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other. The integral is that of the line
    through `nodes` values of g, so that both directions are formulas.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of the MADEs that steer g, each at least as wide as there are features.
    - `units`, `nodes`, `bound`: those of g, as in `flowkit.transforms.UnconstrainedMonotone`.
    - `linear`: "none", "lu", a learned matrix between layers, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Wehenkel & Louppe, Unconstrained Monotonic
    Neural Networks (2019).

    >>> umnn(features=3, layers=1, hidden=[8], units=4).event_shape
    (3,)
    """
    transform = UnconstrainedMonotone(units, nodes=nodes, bound=bound)
    steps = masked_layers("umnn", transform, features, context, layers, hidden, linear, embedding)
    return vector_flow(
        "umnn", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )


@told_if_misspelt
def bernstein(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (128, 128),
    degree: int = 16,
    bound: float = 5.0,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Bernstein polynomials: `layers` of z_i = sum_k theta_k B_k(x_i), theta increasing, of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other, and solve for it.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `degree`, `bound`: polynomials of that degree on [-bound, bound], straight lines outside.
    - `linear`: "none", "lu", a learned matrix between layers, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Ramasinghe, Fernando, Khan & Barnes, Robust
    Normalizing Flows Using Bernstein-type Polynomials (2022).

    >>> bernstein(features=3, layers=1, hidden=[8], degree=4).event_shape
    (3,)
    """
    transform = Bernstein(degree, bound=bound)
    steps = masked_layers("bernstein", transform, features, context, layers, hidden, linear, embedding)
    return vector_flow(
        "bernstein",
        steps,
        features=features,
        context=context,
        domains=domains,
        base=base,
        embedding=embedding,
    )


@told_if_misspelt
def sos(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 3,
    hidden: Sequence[int] = (128, 128),
    terms: int = 3,
    degree: int = 4,
    bound: float = 5.0,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Sum-of-squares polynomials: `layers` of z_i = c + int_0^(x_i) sum_k p_k^2, c and the p_k of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other, and solve for it.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `terms`, `degree`, `bound`: so many squares of polynomials of that degree on [-bound, bound], straight lines
      outside.
    - `linear`: "none", "lu", a learned matrix between layers, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Jaini, Selby & Yu, Sum-of-Squares Polynomial
    Flow (2019).

    >>> sos(features=3, layers=1, hidden=[8], degree=2).event_shape
    (3,)
    """
    transform = SumOfSquares(terms, degree, bound=bound)
    steps = masked_layers("sos", transform, features, context, layers, hidden, linear, embedding)
    return vector_flow(
        "sos", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )
