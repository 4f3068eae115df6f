"""Families in which each feature is changed given those before it."""

from typing import Any

from flowkit.bijectors import Autoregressive, Chain, Inverse, Pointwise
from flowkit.conditioners import MADE, ResidualMADE
from flowkit.contract.arguments import Count, Positive
from flowkit.transforms import (
    Bernstein,
    RationalQuadratic,
    SigmoidMixture,
    SumOfSquares,
    Transform,
    UnconstrainedMonotone,
)
from flowkit.zoo.family import Plan, Tails, alternating, family, gentle
from flowkit.zoo.mixed import Mixed


@family(layers=5, hidden=(128, 128), linear="none", residual=False, start="closed form")
def maf(plan: Plan) -> list[Any]:
    """Masked autoregressive flow: `layers` of z_i = (x_i + t_i) exp(s_i), t_i and s_i of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other. The scale of each layer
    is between e^-b and e^b, b = min(2, 8 / layers).

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `residual`: whether each of `hidden`, which are then all the same, is a block of two layers that is added to what
      came before it, as in the networks of Neural Spline Flows (2019).
    - `linear`: "none", as published, "lu", a learned matrix before each layer, or "permutation", a fixed one before
      each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Papamakarios, Pavlakou & Murray, Masked
    Autoregressive Flow (2017).

    >>> import numpy as np
    >>> flow = maf(features=1, context=2, layers=1, hidden=[8])  # a density of one number, given two
    >>> rng = np.random.default_rng(0)
    >>> y, x = rng.normal(size=(64, 1)), rng.normal(size=(64, 2))
    >>> flow.adapt(y, x).log_prob(y, context=x).shape
    (64,)
    """
    return _masked(plan, gentle(plan.layers))


@family(layers=5, hidden=(128, 128), linear="none", residual=False)
def iaf(plan: Plan) -> list[Any]:
    """Inverse autoregressive flow: `maf` read backwards, x_i = (z_i + t_i) exp(s_i), t_i, s_i of z_1, ..., z_(i-1).

    Samples, with their densities, take one pass of the networks; the density of data takes as many as there are
    features. So it is for what is trained on its own draws, such as `flowkit.objectives.ReverseKL`, and slow to train
    on data.

    Arguments and errors are those of `maf`. Kingma et al., Improved Variational Inference with Inverse Autoregressive
    Flow (2016).

    >>> flow = iaf(features=3, layers=2, hidden=[8])
    >>> x, log_q = flow.adapt().draw(5, seed=0)
    >>> tuple(x.shape), tuple(log_q.shape)
    ((5, 3), (5,))
    """
    return [Inverse(Chain(_masked(plan, gentle(plan.layers))))]


@family(layers=5, hidden=(128, 128), linear="lu", residual=False, start="closed form")
def nsf_autoregressive(
    plan: Plan, *, bins: Count = 8, bound: Positive = 5.0, tails: Tails = "linear", marginals: bool = True
) -> list[Any]:
    """Neural spline flow, autoregressive: `layers` of rational-quadratic splines, each feature's by those before it.

    A density takes one pass of the networks; samples find one feature after the other. For fast ones take `nsf`.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `bins`, `bound`, `tails`: the splines' own, as in `flowkit.transforms.RationalQuadratic`.
    - `marginals`: as for `nsf`.
    - `linear`: "lu", a learned matrix before each layer; "permutation", a fixed one before each two; or "none".
    - `residual`: whether each of `hidden`, which are then all the same, is a residual block of two layers. For columns
      without circles.
    - `domains`: as for `nsf`, circular columns among them; then samples take passes of the networks until nothing
      changes, at most as many as there are features. What `linear` permutes is then the order in which layers take
      the columns, and its matrix mixes real columns alone.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Durkan, Bekasov, Murray & Papamakarios,
    Neural Spline Flows (2019).

    >>> nsf_autoregressive(features=1, layers=1, hidden=[8]).event_shape
    (1,)
    """
    spline = RationalQuadratic(bins, bound=bound, tails=tails)
    if not any(plan.circular):
        plan.marginals = Pointwise(spline) if marginals else None
        return _masked(plan, spline)
    mixed = Mixed(plan, spline, marginals)
    return [part for i in range(plan.layers) for part in mixed.autoregressive(i)]


@family(layers=3, hidden=(128, 128), linear="none")
def naf(plan: Plan, *, units: Count = 16) -> list[Any]:
    """Neural autoregressive flow: `layers` of z_i = logit(sum_k w_k sigmoid(a_k x_i + b_k)).

    w, a and b follow from x_1, ..., x_(i-1). A density takes one pass of the networks; samples find one
    feature after the other, and solve for it. Both tails are straight lines, so that all of the real line is reached.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `units`: sigmoids for each feature, as in `flowkit.transforms.SigmoidMixture`.
    - `linear`: "none", as published, "lu", a learned matrix before each layer, or "permutation", a fixed one before
      each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Huang, Krueger, Lacoste & Courville, Neural
    Autoregressive Flows (2018).

    >>> naf(features=3, layers=1, hidden=[8], units=4).event_shape
    (3,)
    """
    return _masked(plan, SigmoidMixture(units))


@family(layers=3, hidden=(128, 128), linear="none", start="closed form")
def umnn(plan: Plan, *, units: Count = 16, nodes: Count = 33, bound: Positive = 5.0) -> list[Any]:
    """Unconstrained monotonic neural network: `layers` of z_i = b + int_0^(x_i) g, g > 0, given x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other. The integral is that of the line
    through `nodes` values of g, so that both directions are formulas.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of the MADEs that steer g, each at least as wide as there are features.
    - `units`, `nodes`, `bound`: those of g, as in `flowkit.transforms.UnconstrainedMonotone`.
    - `linear`: "none", "lu", a learned matrix before each layer, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Wehenkel & Louppe, Unconstrained Monotonic
    Neural Networks (2019).

    >>> umnn(features=3, layers=1, hidden=[8], units=4).event_shape
    (3,)
    """
    return _masked(plan, UnconstrainedMonotone(units, nodes=nodes, bound=bound))


@family(layers=3, hidden=(128, 128), linear="none", start="closed form")
def bernstein(plan: Plan, *, degree: Count = 16, bound: Positive = 5.0) -> list[Any]:
    """Bernstein polynomials: `layers` of z_i = sum_k theta_k B_k(x_i), theta increasing, of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other, and solve for it.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `degree`, `bound`: polynomials of that degree on [-bound, bound], straight lines outside.
    - `linear`: "none", "lu", a learned matrix before each layer, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Ramasinghe, Fernando, Khan & Barnes, Robust
    Normalizing Flows Using Bernstein-type Polynomials (2022).

    >>> bernstein(features=3, layers=1, hidden=[8], degree=4).event_shape
    (3,)
    """
    return _masked(plan, Bernstein(degree, bound=bound))


@family(layers=3, hidden=(128, 128), linear="none", start="closed form")
def sos(plan: Plan, *, terms: Count = 3, degree: Count = 4, bound: Positive = 5.0) -> list[Any]:
    """Sum-of-squares polynomials: `layers` of z_i = c + int_0^(x_i) sum_k p_k^2, c and the p_k of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other, and solve for it.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `terms`, `degree`, `bound`: so many squares of polynomials of that degree on [-bound, bound], straight lines
      outside.
    - `linear`: "none", "lu", a learned matrix before each layer, or "permutation", a fixed one before each two.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Jaini, Selby & Yu, Sum-of-Squares Polynomial
    Flow (2019).

    >>> sos(features=3, layers=1, hidden=[8], degree=2).event_shape
    (3,)
    """
    return _masked(plan, SumOfSquares(terms, degree, bound=bound))


def _masked(plan: Plan, transform: Transform) -> list[Any]:
    """Return autoregressive layers in one order, then the other, and maps between them that mix the features."""

    damped = isinstance(transform, RationalQuadratic)  # splines have many parameters for each entry

    def layer(turned):
        network = plan.network(MADE, ResidualMADE, damped=damped)
        return Autoregressive(network, transform, order="reversed" if turned else None)

    return alternating(plan, layer)
