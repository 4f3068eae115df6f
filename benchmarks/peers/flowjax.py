"""FlowJAX: the bijections that `flowjax.bijections` exports, and those of its flows, with random weights."""

import functools

import equinox as eqx
import flowjax.bijections as b
import flowjax.flows as f
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import Normal
from flowjax.root_finding import bisect_check_expand_search, root_finder_to_inverter
from peers.recipe import Recipe, classes

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "flowjax", "jax", "flowjax"

UNIT, POSITIVE = Domain.UNIT_INTERVAL, Domain.POSITIVE
BALL = Domain.interval(-1, 1)


def moved(bijection):
    """With normal noise added to every weight, kernels getting less the wider they are."""
    leaves, structure = jax.tree.flatten(bijection)
    keys = jr.split(jr.key(1), len(leaves))
    new = [
        leaf
        + 0.3 * jr.normal(key, leaf.shape, leaf.dtype) / max(1, leaf.shape[-1] if leaf.ndim > 1 else 1) ** 0.5
        if eqx.is_inexact_array(leaf)
        else leaf
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, new)


def affine(n):
    return b.Affine(jr.normal(jr.key(2), (n,)), jr.uniform(jr.key(3), (n,)) + 0.5)


def spline():
    return b.RationalQuadraticSpline(knots=5, interval=3)


def triangle(n, lower=True):
    matrix = jr.normal(jr.key(4), (n, n)) + 3 * jnp.eye(n)
    return b.TriangularAffine(jnp.ones(n), matrix, lower=lower)


def from_flow(make, sizes=(3, 1, 2), tolerance=0.0, **given):
    """The bijection of a flow, both ways round."""
    inverse = "iterative" if tolerance else "analytic"

    def made(n):
        flow = make(jr.key(0), base_dist=Normal(jnp.zeros(n)), flow_layers=2, **given)
        return moved(flow.bijection)

    return Recipe(made, sizes=sizes, inverse=inverse, tolerance=tolerance)


def searched(n):
    search = functools.partial(bisect_check_expand_search, midpoint=jnp.zeros(n), width=5)
    return b.NumericalInverse(affine(n), root_finder_to_inverter(search))


BISECTION = 1e-3  # bisection to 1e-5 in each of two layers, magnified by their slopes

RECIPES = {
    "Affine": Recipe(affine),
    "BlockAutoregressiveNetwork": Recipe(
        lambda n: moved(b.BlockAutoregressiveNetwork(jr.key(0), dim=n, depth=1, block_dim=4)),
        has_inverse=False,
    ),
    "Chain": Recipe(lambda n: b.Chain([affine(n), b.Flip((n,)), b.LeakyTanh(3.0, (n,))])),
    "Concatenate": Recipe(lambda n: b.Concatenate([b.Tanh((n,)), affine(n)]), event=lambda n: (2 * n,)),
    "Coupling": Recipe(
        lambda n: moved(
            b.Coupling(
                jr.key(0), transformer=b.Affine(), untransformed_dim=n // 2, dim=n, nn_width=8, nn_depth=1
            )
        ),
        sizes=(3, 2),
    ),
    "Coupling(spline)": Recipe(
        lambda n: moved(
            b.Coupling(
                jr.key(0), transformer=spline(), untransformed_dim=n // 2, dim=n, nn_width=8, nn_depth=1
            )
        ),
        sizes=(3, 2),
    ),
    "DiscreteCosine": Recipe(lambda n: b.DiscreteCosine((n,))),
    "DiscreteCosine(matrix)": Recipe(lambda n: b.DiscreteCosine((n, 2), axis=0), event=lambda n: (n, 2)),
    "Exp": Recipe(lambda n: b.Exp((n,)), codomain=POSITIVE),
    "Flip": Recipe(lambda n: b.Flip((n,))),
    "Householder": Recipe(lambda n: b.Householder(jr.normal(jr.key(5), (n,)))),
    "Identity": Recipe(lambda n: b.Identity((n,))),
    "Indexed": Recipe(lambda n: b.Indexed(b.Exp((1,)), slice(0, 1), (n,))),
    "Invert": Recipe(lambda n: b.Invert(affine(n))),
    "LeakyTanh": Recipe(lambda n: b.LeakyTanh(3.0, (n,))),
    "Loc": Recipe(lambda n: b.Loc(jr.normal(jr.key(2), (n,)))),
    "MaskedAutoregressive": Recipe(
        lambda n: moved(
            b.MaskedAutoregressive(jr.key(0), transformer=b.Affine(), dim=n, nn_width=8, nn_depth=1)
        )
    ),
    "MaskedAutoregressive(spline)": Recipe(
        lambda n: moved(
            b.MaskedAutoregressive(jr.key(0), transformer=spline(), dim=n, nn_width=8, nn_depth=1)
        )
    ),
    "NumericalInverse": Recipe(searched, inverse="iterative", tolerance=BISECTION),
    "Permute": Recipe(lambda n: b.Permute(jr.permutation(jr.key(6), n))),
    "Permute(matrix)": Recipe(
        lambda n: b.Permute(jr.permutation(jr.key(6), 2 * n).reshape(n, 2)), event=lambda n: (n, 2)
    ),
    "Planar": Recipe(lambda n: moved(b.Planar(jr.key(0), dim=n)), has_inverse=False),
    "Planar(negative_slope)": Recipe(lambda n: moved(b.Planar(jr.key(0), dim=n, negative_slope=0.2))),
    "Power": Recipe(lambda n: b.Power(2, (n,)), domain=POSITIVE, codomain=POSITIVE),
    "Power(-0.5)": Recipe(lambda n: b.Power(-0.5, (n,)), domain=POSITIVE, codomain=POSITIVE),
    "RationalQuadraticSpline": Recipe(lambda n: moved(b.Vmap(spline(), axis_size=n))),
    "RationalQuadraticSpline(interval)": Recipe(
        lambda n: moved(b.Vmap(b.RationalQuadraticSpline(knots=5, interval=(-1, 4)), axis_size=n))
    ),
    "Reshape": Recipe(
        lambda n: b.Reshape(b.Affine(jnp.ones(2 * n), 2 * jnp.ones(2 * n)), (n, 2)), event=lambda n: (n, 2)
    ),
    "Sandwich": Recipe(lambda n: b.Sandwich(affine(n), b.LeakyTanh(3.0, (n,)))),
    "Scale": Recipe(lambda n: b.Scale(jr.uniform(jr.key(2), (n,)) + 0.5)),
    "Scan": Recipe(
        lambda n: b.Scan(eqx.filter_vmap(b.Affine)(jr.normal(jr.key(2), (4, n)), jnp.full((4, n), 1.5)))
    ),
    "Sigmoid": Recipe(lambda n: b.Sigmoid((n,)), codomain=UNIT),
    "SoftPlus": Recipe(lambda n: b.SoftPlus((n,)), codomain=POSITIVE),
    "Stack": Recipe(lambda n: b.Stack([affine(n), b.Tanh((n,))]), event=lambda n: (2, n)),
    "Tanh": Recipe(lambda n: b.Tanh((n,)), codomain=BALL),
    "TriangularAffine": Recipe(triangle),
    "TriangularAffine(upper)": Recipe(lambda n: triangle(n, lower=False)),
    "Vmap": Recipe(lambda n: b.Vmap(b.Affine(0.5, 2.0), axis_size=n)),
    "flows.block_neural_autoregressive_flow": from_flow(
        f.block_neural_autoregressive_flow, tolerance=BISECTION
    ),
    "flows.coupling_flow": from_flow(f.coupling_flow, sizes=(3, 2), nn_width=8),
    "flows.masked_autoregressive_flow": from_flow(f.masked_autoregressive_flow, nn_width=8),
    "flows.planar_flow": from_flow(f.planar_flow, negative_slope=0.2),
    "flows.triangular_spline_flow": from_flow(f.triangular_spline_flow),
}
NO_RECIPE = {
    "AdditiveCondition": "shifts by a function of a context, which an adapted bijector is not given",
    "EmbedCondition": "embeds a context, which an adapted bijector is not given",
}


def exports():
    flows = [f"flows.{name}" for name in vars(f) if name.endswith("_flow") and callable(vars(f)[name])]
    return classes(b, b.AbstractBijection) + sorted(flows)
