"""distrax: the bijectors that it exports, with random parameters."""

import distrax as d
import jax.numpy as jnp
import jax.random as jr
from peers.recipe import Recipe, classes

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "distrax", "jax", "distrax"

UNIT, BALL = Domain.UNIT_INTERVAL, Domain.interval(-1, 1)


def normal(seed, *shape):
    return jr.normal(jr.key(seed), shape)


def matrix(n):
    return normal(1, n, n) + 3 * jnp.eye(n)


def conditioner(inputs, outputs):
    """A small network with fixed random weights."""
    weight = normal(3, inputs, 2 * outputs)

    def parameters(x):
        return jnp.split(jnp.tanh(x @ weight.astype(x.dtype)), 2, axis=-1)

    return parameters


def affine(parameters):
    shift, log_scale = parameters
    return d.ScalarAffine(shift, log_scale=log_scale)


def masked(n):
    return d.MaskedCoupling(jnp.arange(n) % 2 == 0, conditioner(n, n), affine)


def split(n, swap):
    kept, moved = (n - n // 2, n // 2) if swap else (n // 2, n - n // 2)
    return d.SplitCoupling(n // 2, 1, conditioner(kept, moved), lambda p: d.Block(affine(p), 1), swap=swap)


def spline(n, **given):
    return d.RationalQuadraticSpline(normal(4, n, 16), -3.0, 3.0, **given)


RECIPES = {
    "Block": Recipe(lambda n: d.Block(d.Tanh(), 1), codomain=BALL),
    "Chain": Recipe(lambda n: d.Chain([d.DiagLinear(normal(2, n)), d.TriangularLinear(matrix(n))])),
    "DiagLinear": Recipe(lambda n: d.DiagLinear(normal(2, n))),
    "DiagPlusLowRankLinear": Recipe(
        lambda n: d.DiagPlusLowRankLinear(jnp.full(n, 2.0), normal(1, n, 1), normal(2, n, 1))
    ),
    "GumbelCDF": Recipe(lambda n: d.GumbelCDF(), codomain=UNIT),
    "Inverse": Recipe(lambda n: d.Inverse(d.Block(d.Tanh(), 1)), domain=BALL),
    "Lambda": Recipe(lambda n: d.Lambda(lambda x: x + jnp.arctan(x)), has_inverse=False),
    "Lambda(derived inverse)": Recipe(lambda n: d.Lambda(lambda x: jnp.sinh(2 * x + 1))),
    "LowerUpperTriangularAffine": Recipe(lambda n: d.LowerUpperTriangularAffine(matrix(n), normal(2, n))),
    "MaskedCoupling": Recipe(masked, sizes=(3, 2)),
    "RationalQuadraticSpline": Recipe(spline),
    "RationalQuadraticSpline(identity slopes)": Recipe(lambda n: spline(n, boundary_slopes="identity")),
    "RationalQuadraticSpline(lower_identity)": Recipe(lambda n: spline(n, boundary_slopes="lower_identity")),
    "RationalQuadraticSpline(circular)": Recipe(
        lambda n: spline(n, boundary_slopes="circular"),
        domain=Domain("circle", -3, 3),
        codomain=Domain("circle", -3, 3),
    ),
    "ScalarAffine": Recipe(lambda n: d.ScalarAffine(normal(1, n), normal(2, n))),
    "ScalarAffine(log_scale)": Recipe(lambda n: d.ScalarAffine(normal(1, n), log_scale=normal(2, n))),
    "Shift": Recipe(lambda n: d.Shift(normal(1, n))),
    "Sigmoid": Recipe(lambda n: d.Sigmoid(), codomain=UNIT),
    "SplitCoupling": Recipe(lambda n: split(n, swap=False), sizes=(3, 2)),
    "SplitCoupling(swap)": Recipe(lambda n: split(n, swap=True), sizes=(3, 2)),
    "Tanh": Recipe(lambda n: d.Tanh(), codomain=BALL),
    "TriangularLinear": Recipe(lambda n: d.TriangularLinear(matrix(n))),
    "TriangularLinear(upper)": Recipe(lambda n: d.TriangularLinear(matrix(n), is_lower=False)),
    "UnconstrainedAffine": Recipe(lambda n: d.UnconstrainedAffine(matrix(n), normal(2, n))),
}
NO_RECIPE = {"Linear": "the abstract base of the linear ones"}


def exports():
    return classes(d, d.Bijector)
