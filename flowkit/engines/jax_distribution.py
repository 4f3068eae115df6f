"""A flow as a `numpyro.distributions.Distribution`."""

import contextlib
import math

import jax.numpy as jnp
import keras
from keras import tree
from numpyro.distributions import Distribution, constraints


class FlowDistribution(Distribution):
    """The density of a flow. Its batch has one entry for each row of the context."""

    arg_constraints = {}  # noqa: RUF012, as in NumPyro
    pytree_data_fields = ("context", "weights")
    pytree_aux_fields = ("flow",)

    def __init__(self, flow, context=None, weights=None, *, validate_args=None):
        self.flow, self.context, self.weights = flow, context, weights
        batch = () if context is None else tree.flatten(context)[0].shape[:1]
        super().__init__(batch, flow.event_shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self):
        return self.flow.bijector.spec.domain.constraint(len(self.event_shape), constraints)

    @property
    def has_rsample(self):
        return getattr(self.flow.base, "reparameterized", True)

    def sample(self, key, sample_shape=()):
        with _with_weights(self.flow, self.weights):
            x, _ = self.flow.draw(max(1, math.prod(sample_shape)), self.context, seed=key)
        return x[: math.prod(sample_shape)].reshape(*sample_shape, *self.batch_shape, *self.event_shape)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        event = self.event_shape
        shape = jnp.broadcast_shapes(value.shape[: value.ndim - len(event)], self.batch_shape)
        x = jnp.broadcast_to(value, (*shape, *event)).reshape(-1, *event)
        context = self.context
        if context is not None:
            repeats = math.prod(shape) // self.batch_shape[0]
            context = tree.map_structure(lambda c: jnp.tile(c, (repeats, *(1,) * (c.ndim - 1))), context)
        with _with_weights(self.flow, self.weights):
            return self.flow(x, context=context).reshape(shape)


def _with_weights(flow, weights):
    """Return a scope in which the flow has these weights; None: its own, or those of a scope outside."""
    if weights is None:
        return contextlib.nullcontext()
    return keras.StatelessScope(list(zip(flow.trainable_variables, weights, strict=True)))
