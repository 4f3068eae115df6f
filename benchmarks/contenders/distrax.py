"""distrax: `SplitCoupling` layers around affine maps. It has no networks: a perceptron by hand."""

import distrax
import jax
import jax.numpy as jnp
from contenders.floor_jax import layers
from contenders.on_jax import OnJax

PACKAGE = "distrax"


def vectors(work, x):
    features, width = work["features"], work["width"]
    half = features // 2
    sizes = [(half, width), (width, width), (width, 2 * half)]
    weights = [layers(sizes) for _ in range(work["layers"])]

    def network(weights, h):
        *hidden, (kernel, bias) = weights
        for k, b in hidden:
            h = jax.nn.relu(h @ k + b)
        return jnp.split(h @ kernel + bias, 2, axis=-1)

    def affine(parameters):
        shift, scale = parameters
        return distrax.ScalarAffine(shift, log_scale=jax.nn.log_sigmoid(scale + 2))

    def flow(weights):
        couplings = [
            distrax.SplitCoupling(half, 1, lambda h, w=w: network(w, h), affine, swap=bool(i % 2))
            for i, w in enumerate(weights)
        ]
        base = distrax.MultivariateNormalDiag(jnp.zeros(features))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain(couplings)))

    return OnJax(
        weights,
        lambda weights, x: -flow(weights).log_prob(x).mean(),
        lambda weights, x: flow(weights).log_prob(x),
        lambda weights, key: flow(weights).sample(seed=key, sample_shape=(work["batch"],)),
        jnp.asarray(x),
    )
