"""distrax: `SplitCoupling` layers around affine maps or splines. It has no networks: a perceptron by hand.

Of a spline's numbers its function takes two more for each feature than ours, the slopes at both ends, and puts 1 in
their places.
"""

import itertools

import distrax
import jax
import jax.numpy as jnp
from contenders.floor_jax import layers
from contenders.on_jax import OnJax

PACKAGE = "distrax"


def vectors(work, x):
    def affine(numbers):
        shift, scale = numbers[..., 0], numbers[..., 1]
        return distrax.ScalarAffine(shift, log_scale=jax.nn.log_sigmoid(scale + 2))

    return couplings(work, x, affine, 2)


def splines(work, x):
    def spline(numbers):
        return distrax.RationalQuadraticSpline(numbers, -5.0, 5.0, boundary_slopes="identity")

    return couplings(work, x, spline, 3 * work["bins"] + 1)


def couplings(work, x, bijector, numbers):
    """Couplings around `bijector`, a function of so many `numbers` for each entry, which are on the last axis."""
    features, width = work["features"], work["width"]
    half = features // 2
    sizes = list(itertools.pairwise([half, width, width, numbers * half]))
    weights = [layers(sizes) for _ in range(work["layers"])]

    def network(weights, h):
        *hidden, (kernel, bias) = weights
        for k, b in hidden:
            h = jax.nn.relu(h @ k + b)
        return (h @ kernel + bias).reshape(*h.shape[:-1], half, numbers)

    def flow(weights):
        chain = [
            distrax.SplitCoupling(half, 1, lambda h, w=w: network(w, h), bijector, swap=bool(i % 2))
            for i, w in enumerate(weights)
        ]
        base = distrax.MultivariateNormalDiag(jnp.zeros(features))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain(chain)))

    return OnJax(
        work,
        weights,
        jnp.asarray(x),
        lambda weights, x: -flow(weights).log_prob(x).mean(),
        lambda weights, x: flow(weights).log_prob(x),
        lambda weights, key, count: flow(weights).sample(seed=key, sample_shape=(count,)),
    )
