"""Families in which each feature is changed given those before it, by formulas in both directions."""

from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import Autoregressive, Chain, Inverse
from flowkit.conditioners import MADE, ResidualMADE
from flowkit.contract.arguments import one_of
from flowkit.flow.flow import Flow
from flowkit.transforms import RationalQuadratic, Transform
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.mixed import Mixed, spline_flow
from flowkit.zoo.vectors import alternating, check_sizes, gentle, network_context, vector_flow


@told_if_misspelt
def maf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    residual: bool = False,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Masked autoregressive flow: `layers` of z_i = (x_i + t_i) exp(s_i), t_i and s_i of x_1, ..., x_(i-1).

    A density takes one pass of the networks; samples find one feature after the other. The scale of each layer
    is between e^-b and e^b, b = min(2, 8 / layers).

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `residual`: whether each of `hidden`, which are then all the same, is a block of two layers that is added to what
      came before it, as in the networks of Neural Spline Flows (2019).
    - `linear`: "none", as published, "lu", a learned matrix between layers, or "permutation", a fixed one before each
      two.

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
    steps = masked_layers(
        "maf", None, features, context, layers, hidden, linear, embedding, residual=residual
    )
    return vector_flow(
        "maf", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )


@told_if_misspelt
def iaf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    residual: bool = False,
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
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
    steps = masked_layers(
        "iaf", None, features, context, layers, hidden, linear, embedding, residual=residual
    )
    return vector_flow(
        "iaf",
        [Inverse(Chain(steps))],
        features=features,
        context=context,
        domains=domains,
        base=base,
        embedding=embedding,
    )


@told_if_misspelt
def nsf_autoregressive(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    bound: float = 5.0,
    tails: str = "linear",
    linear: str = "lu",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Neural spline flow, autoregressive: `layers` of rational-quadratic splines, each feature's by those before it.

    A density takes one pass of the networks; samples find one feature after the other. For fast ones take `nsf`.

    - `layers`: each takes the features in the reverse order of the one before it.
    - `hidden`: the widths of their networks, MADEs, each at least as wide as there are features.
    - `bins`, `bound`, `tails`: the splines' own, as in `flowkit.transforms.RationalQuadratic`.
    - `linear`: "lu", a learned matrix between layers; "permutation", a fixed one before each two; or "none".
    - `domains`: as for `nsf`, circular columns among them; then samples take passes of the networks until nothing
      changes, at most as many as there are features. What `linear` permutes is then the order in which layers take
      the columns, and its matrix mixes real columns alone.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, ContractError for networks that are too narrow. Durkan, Bekasov, Murray & Papamakarios,
    Neural Spline Flows (2019).

    >>> nsf_autoregressive(features=1, layers=1, hidden=[8]).event_shape
    (1,)
    """
    return spline_flow(
        "nsf_autoregressive",
        RationalQuadratic(bins, bound=bound, tails=tails),
        masked_layers,
        Mixed.autoregressive,
        features=features,
        context=context,
        layers=layers,
        hidden=hidden,
        linear=linear,
        domains=domains,
        base=base,
        embedding=embedding,
    )


def masked_layers(
    family: str,
    transform: Transform | None,
    features: int | None,
    context: int,
    layers: int,
    hidden: Sequence[int],
    linear: str,
    embedding: Any,
    *,
    residual: bool = False,
) -> list[Any]:
    """Autoregressive layers in one order, then the other, and what mixes the features between them.

    `transform` None is `gentle`. Raises ValueError for residual blocks of several widths.
    """
    check_sizes(family, features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)
    transform = gentle(layers) if transform is None else transform
    if one_of(f"{family}'s residual", residual, (False, True)) and len(set(hidden)) > 1:
        raise ValueError(
            f"{family}'s hidden: expected the same width for each block, for residual=True, received {list(hidden)}."
        )

    def layer(turned):
        reads = network_context(context)
        network = (
            ResidualMADE(hidden[0], blocks=len(hidden), context=reads)
            if residual
            else MADE(hidden, context=reads)
        )
        return Autoregressive(network, transform, order="reversed" if turned else None)

    return alternating(family, linear, layers, layer)
