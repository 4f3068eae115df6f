"""A mixture of Gaussians."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Count, Fraction, Seed
from flowkit.contract.conditioner import Network, build_on_context
from flowkit.distributions.distribution import ConditionalDistribution
from flowkit.engines import engine


class Mixture(ConditionalDistribution):
    """log p(z) = log sum_k w_k prod_i N(z_i; mean_ki, exp(logs_ki)^2), with `components` weights w_k that add up to 1.

    For data in clusters, which a flow that starts from one Gaussian has to tear apart. Weights, means and scales are
    learned; at the start all weights are equal, all scales 1, and means standard normal, by the `seed`. With a
    `conditioner`, a network of the context answers with what is added to them; the context is required.

    `temperature` multiplies the scales, not the distances between means. `min_scale` = m > 0 keeps the scales within
    (m, 1/m): without it, one component may narrow down to a single row. Raises ValueError for fewer than one component,
    and for a conditioner what `LocationScale` does.

    >>> from keras import ops
    >>> mixture = Mixture(1)
    >>> mixture.build((None, 2))
    >>> tuple(mixture.log_prob(ops.zeros((5, 2))).shape)
    (5,)
    """

    reparameterized = False  # the choice of a component carries no gradient to its weight

    def __init__(
        self,
        components: Count = 10,
        *,
        conditioner: Network = None,
        min_scale: Fraction = 1e-3,
        seed: Seed | None = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, min_scale, **kwargs)
        self.components, self.seed = components, seed

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        self.size = math.prod(z_shape[1:])
        shape = (self.components, self.size)
        means = np.random.default_rng(self.seed).normal(size=shape)
        self.weights_raw = self.add_weight(shape=shape[:1], initializer="zeros", name="weights")
        self.means = self.add_weight(
            shape=shape, initializer=lambda _, dtype: ops.convert_to_tensor(means, dtype=dtype), name="means"
        )
        self.logs = self.add_weight(shape=shape, initializer="zeros", name="logs")
        if self.conditioner is not None:
            build_on_context(self, self.conditioner, self.components * (1 + 2 * self.size), context_shape)

    def _prepared(self, context):
        """Return (log weights (b, k), means (b, k, d), logs (b, k, d)), b the batch or 1."""
        k, d = self.components, self.size
        raw = ops.expand_dims(engine.tensor(self.weights_raw), 0)
        both = ops.expand_dims(ops.stack([self.means, self.logs], axis=1), 0)  # (1, k, 2, d)
        if self.conditioner is not None:
            h = self._answer(context)
            raw = raw + h[:, :k]
            both = both + ops.reshape(h[:, k:], (-1, k, 2, d))
        return ops.log_softmax(raw, axis=-1), *self._transform.prepare(both)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z | context) in nats, (batch,), for z of shape (batch, *event)."""
        log_weights, means, logs = self._prepared(context)
        eps, log_slope = self._transform.forward(ops.reshape(z, (-1, 1, self.size)), means, logs)
        each = -0.5 * (ops.square(eps) + math.log(2 * math.pi)) + log_slope
        return ops.logsumexp(log_weights + ops.sum(each, axis=-1), axis=-1)

    def _draw(self, shape, temperature, seed, context):
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        rows = shape[0]
        log_weights, means, logs = self._prepared(context)
        log_weights = ops.broadcast_to(log_weights, (rows, self.components))
        chosen = keras.random.categorical(log_weights, 1, seed=seed)[:, 0]
        one = ops.expand_dims(ops.one_hot(chosen, self.components, dtype=self.compute_dtype), -1)
        mean, log = ops.sum(one * means, axis=1), ops.sum(one * logs, axis=1)
        eps = keras.random.normal((rows, self.size), dtype=self.compute_dtype, seed=seed)
        temperature = ops.reshape(ops.convert_to_tensor(temperature, dtype=self.compute_dtype), (-1,))
        return ops.reshape(mean + temperature * eps * ops.exp(log), shape)
