"""Families of angles."""

import math
from collections.abc import Sequence
from typing import Any

from flowkit.bijectors import Coupling
from flowkit.conditioners import AngularMLP
from flowkit.distributions import Uniform
from flowkit.flow.flow import Flow
from flowkit.transforms import CircularRationalQuadratic
from flowkit.zoo.misspelt import told_if_misspelt
from flowkit.zoo.vectors import alternating, check_sizes, network_context, refuse_one_feature, vector_flow


@told_if_misspelt
def circular_nsf(
    *,
    features: int | None = None,
    context: int = 0,
    layers: int = 8,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    base: Any = None,
    embedding: Any = None,
) -> Flow:
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
    family = "circular_nsf"
    check_sizes(family, features=features, context=context, layers=layers, hidden=hidden, embedding=embedding)
    refuse_one_feature(
        family, features, "Flow(Pointwise(CircularRationalQuadratic()), Uniform(-math.pi, math.pi))"
    )
    spline = CircularRationalQuadratic(bins)

    def coupling(swap):
        return Coupling(AngularMLP(hidden, context=network_context(context)), spline, swap=swap)

    steps = alternating(family, "permutation", layers, coupling)
    base = Uniform(-math.pi, math.pi) if base is None else base
    return vector_flow(
        family, steps, features=features, context=context, base=base, embedding=embedding, front=()
    )
