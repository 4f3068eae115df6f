"""What JAX's contenders have in common: Adam, and each function compiled once for each shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from measuring.work import portions


class OnJax:
    """Weights, the batch x, and three functions: loss(weights, x), log_prob(weights, x), sample(weights, key, count).

    Each step gives the loss as well, as `fit` does, and with `gradient_of_x` that gradient. Where `sample` is None, a
    class of its own draws.
    """

    def __init__(self, work, weights, x, loss, log_prob, sample, *, gradient_of_x=False):
        self.work, self.weights, self.x, self.key = work, weights, x, jax.random.key(0)
        first, second = (
            jax.tree.map(lambda w: jnp.asarray(np.zeros(w.shape, w.dtype)), weights) for _ in "ab"
        )
        self.state = (first, second, jnp.float32(0))
        wanted = (0, 1) if gradient_of_x else (0,)

        def step(weights, state, x):
            value, gradients = jax.value_and_grad(loss, argnums=wanted)(weights, x)
            return *adam(weights, gradients[0], state), (value, gradients[1:])

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.log_prob_of = jax.jit(log_prob)
        self.sample_of = sample and jax.jit(sample, static_argnums=2)

    def train(self, steps, lap):
        for _ in range(steps):
            self.weights, self.state, self.rest = self.step(self.weights, self.state, self.x)
            lap()

    def log_prob(self):
        return self.log_prob_of(self.weights, self.x)

    def sample(self):
        return self.draw(self.work["batch"])

    def draw(self, count):
        self.key, key = jax.random.split(self.key)
        return self.sample_of(self.weights, key, count)

    # One batch at a time, which JAX would not keep to if nobody waited for an answer.
    def log_prob_many(self):
        for count in portions(self.work):
            jax.block_until_ready(self.log_prob_of(self.weights, self.rows(count)))

    def sample_many(self):
        for count in portions(self.work):
            jax.block_until_ready(self.draw(count))

    @functools.cached_property
    def rows(self):
        """count -> as many rows: those of the batch, again and again."""
        return functools.cache(lambda count: jax.tree.map(lambda x: x[jnp.arange(count) % len(x)], self.x))


def adam(weights, gradients, state, rate=1e-4, b1=0.9, b2=0.999, epsilon=1e-7):
    """One step of Adam (Kingma & Ba, 2015), so that no contender needs a library of optimizers."""
    first, second, count = state
    count = count + 1
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    size = rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
    weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) + epsilon), weights, first, second)
    return weights, (first, second, count)
