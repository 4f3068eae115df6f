"""FlowJAX's coupling flow with splines, whose slopes at both ends are learned; it permutes at random between layers."""

import equinox as eqx
import flowjax.bijections
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tabular.budget import Best

ENGINE = "jax"


def flowjax_couplings(sizes, seed):
    # It counts the knots between the ends.
    spline = flowjax.bijections.RationalQuadraticSpline(knots=sizes.bins - 1, interval=5)
    return flowjax.flows.coupling_flow(
        jax.random.key(seed),
        base_dist=flowjax.distributions.Normal(jnp.zeros(sizes.features)),
        transformer=spline,
        flow_layers=sizes.layers,
        nn_width=sizes.width,
        nn_depth=2,
    )


def fitted(make, sizes, split, budget, seed):
    """As `on_keras.fitted`."""
    weights, rest = eqx.partition(make(sizes, seed), eqx.is_inexact_array)
    rate = optax.cosine_decay_schedule(budget.rate, budget.steps)
    adam = optax.chain(optax.clip_by_global_norm(budget.clip), optax.adam(rate, eps=budget.epsilon))

    @jax.jit
    def log_prob(weights, x):
        return eqx.combine(weights, rest).log_prob(x)

    @jax.jit
    def step(weights, state, x):
        gradients = jax.grad(lambda weights: -log_prob(weights, x).mean())(weights)
        updates, state = adam.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    state, best = adam.init(weights), Best()
    for number, rows in enumerate(budget.batches(len(split.train), seed), start=1):
        weights, state = step(weights, state, split.train[rows])
        if number % budget.every == 0:
            now = weights
            best.offer(log_prob(weights, split.valid).mean(), number, lambda now=now: now)
    scores = np.asarray(log_prob(best.weights, split.test))
    return scores, best, sum(leaf.size for leaf in jax.tree.leaves(weights))
