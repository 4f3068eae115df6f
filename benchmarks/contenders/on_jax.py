"""What JAX's contenders have in common: Adam, and each function compiled once."""

import jax
import jax.numpy as jnp
import numpy as np


class OnJax:
    """Weights, and three functions: loss(weights, x), log_prob(weights, x), sample(weights, key).

    `gradient_of_x`: each step computes that gradient as well.
    """

    def __init__(self, weights, loss, log_prob, sample, x, *, gradient_of_x=False):
        self.weights, self.x, self.key = weights, x, jax.random.key(0)
        first, second = (
            jax.tree.map(lambda w: jnp.asarray(np.zeros(w.shape, w.dtype)), weights) for _ in "ab"
        )
        self.state = (first, second, jnp.float32(0))
        wanted = (0, 1) if gradient_of_x else (0,)

        def step(weights, state, x):
            gradients = jax.grad(loss, argnums=wanted)(weights, x)
            return *adam(weights, gradients[0], state), gradients[1:]

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.log_prob_of_batch, self.sample_batch = jax.jit(log_prob), jax.jit(sample)

    def train(self, steps, lap):
        for _ in range(steps):
            self.weights, self.state, self.rest = self.step(self.weights, self.state, self.x)
            lap()

    def log_prob(self):
        return self.log_prob_of_batch(self.weights, self.x)

    def sample(self):
        self.key, key = jax.random.split(self.key)
        return self.sample_batch(self.weights, key)


def adam(weights, gradients, state, rate=1e-4, b1=0.9, b2=0.999, epsilon=1e-7):
    """One step of Adam (Kingma & Ba, 2015), so that no contender needs a library of optimizers."""
    first, second, count = state
    count = count + 1
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    size = rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
    weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) + epsilon), weights, first, second)
    return weights, (first, second, count)
