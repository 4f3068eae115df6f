"""Families of one kind of layer, again and again."""

from typing import Annotated, Any

from flowkit.bijectors import (
    ActNorm,
    BlockAutoregressive,
    Chain,
    HouseholderRotation,
    Inverse,
    Permute,
    Planar,
    Pointwise,
    Radial,
    Repeat,
    Residual,
    Sylvester,
)
from flowkit.conditioners import LipschitzMLP
from flowkit.contract.arguments import Between0And1, Count, words
from flowkit.transforms import MixtureOfLogistics
from flowkit.zoo.family import Plan, Trace, family

Direction = Annotated[str, words("density", "sampling")]


@family(layers=16, hidden=(64, 64), start="closed form")
def planar(plan: Plan, *, direction: Direction = "density") -> list[Any]:
    """Planar flow: `layers` of z = x + u tanh(w . x + b), a bend along one direction each.

    - `direction`: the cheap one, "density" (from data to latents) or "sampling", as published, for
      `flowkit.objectives.ReverseKL`. The other solves for one number in each layer.
    - `hidden`: the widths of the networks that make u, w and b of a context; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Rezende & Mohamed, Variational Inference with Normalizing Flows (2015).

    >>> planar(features=2, layers=4).event_shape
    (2,)
    """
    return _bends(plan, Planar(plan.network_of_context()), direction)


@family(layers=16, hidden=(64, 64), start="closed form")
def radial(plan: Plan, *, direction: Direction = "density") -> list[Any]:
    """Radial flow: `layers` of z = x + beta (x - c) / (alpha + |x - c|), a stretch around one point each.

    Both directions are formulas.

    - `direction`: that in which the formula above is used, "density" (from data to latents) or "sampling".
    - `hidden`: the widths of the networks that make c, alpha and beta of a context; without one there are none.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Rezende & Mohamed, Variational Inference with Normalizing Flows (2015).

    >>> radial(features=2, layers=4).event_shape
    (2,)
    """
    return _bends(plan, Radial(plan.network_of_context()), direction)


@family(layers=8, hidden=(64, 64), start="closed form")
def sylvester(plan: Plan, *, units: Count | None = None, direction: Direction = "density") -> list[Any]:
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
    return _bends(plan, Sylvester(plan.network_of_context(), units=units), direction)


def _bends(plan, layer, direction):
    return [Repeat(Inverse(layer) if direction == "sampling" else layer, plan.layers)]


@family(layers=8, hidden=(64, 64), start="closed form")
def residual(
    plan: Plan, *, lipschitz: Between0And1 = 0.9, trace: Trace = "exact", terms: Count | None = None
) -> list[Any]:
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
    plan.actnorm = False  # each layer begins with one
    network = LipschitzMLP(plan.hidden, lipschitz=lipschitz, context=plan.reads)
    return [Repeat(Chain([ActNorm(factor=1.0), Residual(network, trace=trace, terms=terms)]), plan.layers)]


@family(layers=3, hidden=(64, 64))
def bnaf(plan: Plan, *, units: Count = 8, depth: Count = 1) -> list[Any]:
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

    def layer():
        return BlockAutoregressive(units, depth=depth, conditioner=plan.network_of_context())

    return _with_between(plan, Permute("reverse"), layer)


@family(layers=10, hidden=(64, 64))
def gaussianization(plan: Plan, *, components: Count = 32) -> list[Any]:
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
    mixture = MixtureOfLogistics(components)

    def layer():
        return Pointwise(mixture, plan.network_of_context(), init="data")

    return _with_between(plan, HouseholderRotation(init="random"), layer)


def _with_between(plan, between, layer):
    """Return the plan's layers and the map `between` each two."""
    rest = [Repeat(Chain([between, layer()]), plan.layers - 1)] if plan.layers > 1 else []
    return [layer(), *rest]
