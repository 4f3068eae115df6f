"""FlowJAX: its coupling flow with affine transformers. It scans over its layers and permutes at random between them."""

import equinox as eqx
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
from contenders.on_jax import OnJax

PACKAGE = "flowjax"


def vectors(work, x):
    made = flowjax.flows.coupling_flow(
        jax.random.key(0),
        base_dist=flowjax.distributions.Normal(jnp.zeros(work["features"])),
        flow_layers=work["layers"],
        nn_width=work["width"],
        nn_depth=2,
    )
    weights, rest = eqx.partition(made, eqx.is_inexact_array)

    def flow(weights):
        return eqx.combine(weights, rest)

    return OnJax(
        weights,
        lambda weights, x: -flow(weights).log_prob(x).mean(),
        lambda weights, x: flow(weights).log_prob(x),
        lambda weights, key: flow(weights).sample(key, (work["batch"],)),
        jnp.asarray(x),
    )
