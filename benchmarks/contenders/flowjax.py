"""FlowJAX: its coupling flow, affine or with splines, and its masked autoregressive flow.

It scans over its layers and permutes at random between them. A spline's slopes at both ends are learned: two numbers
more for each feature.
"""

import equinox as eqx
import flowjax.bijections
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
from contenders.on_jax import OnJax

PACKAGE = "flowjax"


def vectors(work, x):
    return of(flowjax.flows.coupling_flow, work, x)


def splines(work, x):
    # It counts the knots between the ends.
    spline = flowjax.bijections.RationalQuadraticSpline(knots=work["bins"] - 1, interval=5)
    return of(flowjax.flows.coupling_flow, work, x, transformer=spline)


def maf(work, x):
    return of(flowjax.flows.masked_autoregressive_flow, work, x)


def of(family, work, x, **options):
    made = family(
        jax.random.key(0),
        base_dist=flowjax.distributions.Normal(jnp.zeros(work["features"])),
        flow_layers=work["layers"],
        nn_width=work["width"],
        nn_depth=2,
        **options,
    )
    weights, rest = eqx.partition(made, eqx.is_inexact_array)

    def flow(weights):
        return eqx.combine(weights, rest)

    return OnJax(
        work,
        weights,
        jnp.asarray(x),
        lambda weights, x: -flow(weights).log_prob(x).mean(),
        lambda weights, x: flow(weights).log_prob(x),
        lambda weights, key, count: flow(weights).sample(key, (count,)),
    )
