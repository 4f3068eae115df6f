"""Families made of couplings: one pass of a network, in both directions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from flowkit.bijectors import Coupling, Scale
from flowkit.conditioners import MLP
from flowkit.contract.arguments import one_of
from flowkit.distributions import Logistic
from flowkit.flow.flow import Flow
from flowkit.transforms import Additive, Affine, RationalQuadratic, Transform
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.mixed import Mixed, spline_flow
from flowkit.zoo.vectors import (
    alternating,
    check_sizes,
    gentle,
    network_context,
    refuse_one_feature,
    vector_flow,
)


@told_if_misspelt
def nice(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 4,
    hidden: Sequence[int] = (128, 128),
    linear: str = "none",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """NICE: `layers` of z_b = x_b + m(x_a), then z = x exp(s): all volumes change alike.

    - `layers`: couplings; one half is kept, then the other. `hidden`: the widths of their networks.
    - `linear`: "none", as published, "permutation" (a fixed one before each two layers), or "lu" (a learned matrix
      before each layer as well).
    - `base` None is the standard logistic, as published.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for one feature,
    and for a number or a word out of range. Dinh, Krueger & Bengio, NICE (2014).

    >>> import numpy as np
    >>> flow = nice(features=3, layers=2, hidden=[8])
    >>> x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    >>> flow.adapt(x).log_prob(x).shape
    (64,)
    """
    steps = _couplings("nice", Additive(), features, context, layers, hidden, linear, embedding, take="maf")
    base = Logistic() if base is None else base
    return vector_flow(
        "nice",
        [*steps, Scale()],
        features=features,
        context=context,
        domains=domains,
        base=base,
        embedding=embedding,
    )


@told_if_misspelt
def realnvp(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (128, 128),
    scale: str = "tanh",
    linear: str = "lu",
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Real NVP: `layers` of z_b = (x_b + t(x_a)) exp(s(x_a)).

    - `layers`: couplings; one half is kept, then the other. `hidden`: the widths of their networks.
    - `scale`: "tanh", in (e^-b, e^b) with b = min(2, 8 / layers), so that deep flows can be undone far out as well; or
      "sigmoid", in (0.1, 1).
    - `linear`: "lu", a learned matrix between layers; "permutation", a fixed one before each two; or "none".

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for one feature,
    and for a number or a word out of range. Dinh, Sohl-Dickstein & Bengio, Real NVP (2017).

    >>> import numpy as np
    >>> flow = realnvp(features=3, context=2, layers=2, hidden=[8])
    >>> x, c = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    >>> flow.adapt(x, c[:, :2]).sample(5, context=c[:1, :2]).shape
    (5, 1, 3)
    """
    one_of("realnvp's scale", scale, ("tanh", "sigmoid"))
    transform = Affine(scale, min_scale=0.1) if scale == "sigmoid" else None
    steps = _couplings("realnvp", transform, features, context, layers, hidden, linear, embedding, take="maf")
    return vector_flow(
        "realnvp", steps, features=features, context=context, domains=domains, base=base, embedding=embedding
    )


@told_if_misspelt
def nsf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    bound: float = 5.0,
    tails: str = "linear",
    linear: str = "lu",
    marginals: bool = True,
    domains: Any = None,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
    """Neural spline flow: `layers` of couplings by rational-quadratic splines, one pass in both directions.

    The one to begin with for tables.

    - `layers`: couplings; one half is kept, then the other. `hidden`: the widths of their networks.
    - `bins`, `bound`, `tails`: the splines' own, as in `flowkit.transforms.RationalQuadratic`: splines on
      [-bound, bound], "linear" (the identity) or "affine" outside, for data with heavy tails.
    - `linear`: "lu", a learned matrix between layers; "permutation", a fixed one before each two; or "none".
    - `marginals`: whether a spline of each feature alone comes first, the same for all rows, so that networks need not
      say what a column looks like by itself.
    - `domains`: beside those of `table_front` also "circular", an angle in [-pi, pi), and ("circular", low, high), a
      circle on which high is low again, such as the hour of the day. Circular splines move such columns, networks
      see their cosines and sines, and they are uniform at the end: densities have no jump where a circle closes. `base`
      is then that of the other columns. What `linear` permutes is then which columns are kept, and its matrix mixes
      real columns alone.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for one feature,
    and for a number or a word out of range. Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019).

    >>> import numpy as np
    >>> flow = nsf(layers=2, hidden=[8], bins=4)
    >>> x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    >>> flow.adapt(x).sample(5, seed=0).shape
    (5, 3)
    """
    take = "nsf_autoregressive"
    return spline_flow(
        "nsf",
        RationalQuadratic(bins, bound=bound, tails=tails),
        partial(_couplings, take=take),
        Mixed.coupling,
        features=features,
        context=context,
        layers=layers,
        hidden=hidden,
        linear=linear,
        domains=domains,
        base=base,
        embedding=embedding,
        marginals=marginals,
        take=take,
    )


def _couplings(
    family: str,
    transform: Transform | None,
    features: int | None,
    context: int,
    layers: int,
    hidden: Sequence[int],
    linear: str,
    embedding: Any,
    *,
    take: str,
) -> list[Any]:
    """Couplings that keep one half, then the other, and what mixes the features between them.

    `transform` None is `gentle`.
    """
    check_sizes(family, features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)
    refuse_one_feature(family, features, take)
    transform = gentle(layers) if transform is None else transform

    def coupling(swap):
        return Coupling(MLP(hidden, context=network_context(context)), transform, swap=swap)

    return alternating(family, linear, layers, coupling)
