"""Families made of couplings: one pass of a network, in both directions."""

import math
from typing import Annotated, Any

from flowkit.bijectors import Coupling, Pointwise, Scale
from flowkit.conditioners import MLP, AngularMLP, ResidualMLP
from flowkit.contract.arguments import Count, Positive, words
from flowkit.distributions import Logistic, Uniform
from flowkit.transforms import Additive, Affine, CircularRationalQuadratic, RationalQuadratic, Transform
from flowkit.zoo.family import Plan, Tails, alternating, family, gentle
from flowkit.zoo.mixed import Mixed


@family(layers=4, hidden=(128, 128), linear="none")
def nice(plan: Plan) -> list[Any]:
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
    plan.base = Logistic() if plan.base is None else plan.base
    return [*_couplings(plan, Additive(), take="maf"), Scale()]


@family(layers=8, hidden=(128, 128), linear="lu", start="closed form")
def realnvp(plan: Plan, *, scale: Annotated[str, words("tanh", "sigmoid")] = "tanh") -> list[Any]:
    """Real NVP: `layers` of z_b = (x_b + t(x_a)) exp(s(x_a)).

    - `layers`: couplings; one half is kept, then the other. `hidden`: the widths of their networks.
    - `scale`: "tanh", in (e^-b, e^b) with b = min(2, 8 / layers), so that deep flows can be undone far out as well; or
      "sigmoid", in (0.1, 1).
    - `linear`: "lu", a learned matrix before each layer; "permutation", a fixed one before each two; or "none".

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for one feature,
    and for a number or a word out of range. Dinh, Sohl-Dickstein & Bengio, Real NVP (2017).

    >>> import numpy as np
    >>> flow = realnvp(features=3, context=2, layers=2, hidden=[8])
    >>> x, c = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    >>> flow.adapt(x, c[:, :2]).sample(5, context=c[:1, :2]).shape
    (5, 1, 3)
    """
    transform = Affine(scale, min_scale=0.1) if scale == "sigmoid" else gentle(plan.layers)
    return _couplings(plan, transform, take="maf")


@family(layers=8, hidden=(128, 128), linear="lu", residual=False, start="closed form")
def nsf(
    plan: Plan, *, bins: Count = 8, bound: Positive = 5.0, tails: Tails = "linear", marginals: bool = True
) -> list[Any]:
    """Neural spline flow: `layers` of couplings by rational-quadratic splines, one pass in both directions.

    The one to begin with for tables.

    - `layers`: couplings; one half is kept, then the other. `hidden`: the widths of their networks.
    - `bins`, `bound`, `tails`: the splines' own, as in `flowkit.transforms.RationalQuadratic`: splines on
      [-bound, bound], "linear" (the identity) or "affine" outside, for data with heavy tails.
    - `linear`: "lu", a learned matrix before each layer; "permutation", a fixed one before each two; or "none".
    - `marginals`: whether a spline of each feature alone comes first, the same for all rows, so that networks need not
      say what a column looks like by itself. With a start in closed form it is `NormalScores`, so that the flow
      begins as a Gaussian copula.
    - `residual`: whether each of `hidden`, which are then all the same, is a residual block of two layers, gated by the
      context if there is one, as in the paper's code. For columns without circles.
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
    spline, take = RationalQuadratic(bins, bound=bound, tails=tails), "nsf_autoregressive"
    if any(plan.circular):
        mixed = Mixed(plan, spline, marginals)
        plan.refuse_one_feature(take)
        return [part for i in range(plan.layers) for part in mixed.coupling(i)]
    plan.marginals = Pointwise(spline) if marginals else None
    return _couplings(plan, spline, take)


@family(layers=8, hidden=(128, 128), without="domains")
def circular_nsf(plan: Plan, *, bins: Count = 8) -> list[Any]:
    """Circular neural spline flow: densities of several angles in [-pi, pi), continuous where pi meets -pi.

    `layers` of couplings by circular rational-quadratic splines, each with a rotation; the networks see cosines and
    sines of the angles that are kept. Angles outside are wrapped.

    - `layers`: couplings; one half is kept, then the other, and a fixed permutation comes before each two.
    - `hidden`: the widths of their networks. `bins`: of the splines.
    - `base` None is the uniform density on the torus.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for one angle,
    and for a number out of range. Rezende et al., Normalizing Flows on Tori and Spheres (2020).

    >>> flow = circular_nsf(features=2, layers=2, hidden=[8])
    >>> round(float(flow.log_prob([[3.0, -3.0]])[0]), 4)  # -2 ln(2 pi)
    -3.6758
    """
    plan.refuse_one_feature("Flow(Pointwise(CircularRationalQuadratic()), Uniform(-math.pi, math.pi))")
    plan.base = Uniform(-math.pi, math.pi) if plan.base is None else plan.base
    plan.front, plan.linear = (), "permutation"
    spline = CircularRationalQuadratic(bins)

    def coupling(swap):
        return Coupling(AngularMLP(plan.hidden, context=plan.reads), spline, swap=swap)

    return alternating(plan, coupling)


def _couplings(plan: Plan, transform: Transform, take: str) -> list[Any]:
    """Return couplings that keep one half, then the other, and maps between them that mix the features."""
    plan.refuse_one_feature(take)

    options = {"gated": plan.context > 0, "activate_last": False, "damped": True}

    def coupling(swap):
        return Coupling(plan.network(MLP, ResidualMLP, **options), transform, swap=swap)

    return alternating(plan, coupling)
