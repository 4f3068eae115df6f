"""Densities of one shape, moved and stretched: z = mean + exp(logs) eps, with eps from a standard density."""

import math
from typing import Any

from keras import ops

from flowkit.contract import sum_event
from flowkit.contract.arguments import Fraction
from flowkit.contract.conditioner import Network, adapt_conditioner, ask, refuse_second_input
from flowkit.distributions.conditioned import build_network
from flowkit.distributions.distribution import Distribution
from flowkit.transforms import Gaussian


class LocationScale(Distribution):
    """log p(z) = sum_i log p0(eps_i) - logs_i, eps_i = (z_i - mean_i) exp(-logs_i), entries independent.

    - Without arguments mean and logs are 0: the standard density p0.
    - `learn=True`: both are weights, for each entry of an event; 0 at the start.
    - `conditioner`: a network of the context, one vector for each sample, answers with them; the context is required.

    `min_scale` = m > 0 keeps the scales exp(logs) within (m, 1/m). Authors of a density write `standard_log_density`
    and `standard_sample`. Raises ValueError for `learn` with a conditioner, which would learn the same twice; TypeError
    for a conditioner that is no network; ContractError for one that expects a context beside its input or answers with
    another shape, and for labels if it knows no classes.

    >>> class Laplace(LocationScale):
    ...     def standard_log_density(self, eps):
    ...         return -ops.abs(eps) - math.log(2)
    ...     def standard_sample(self, shape, seed):
    ...         u = keras.random.uniform(shape, -0.5, 0.5, seed=seed)
    ...         return -ops.sign(u) * ops.log1p(-2 * ops.abs(u))
    >>> base = Laplace(learn=True)
    >>> base.build((None, 2))
    >>> round(float(base.log_prob(ops.ones((1, 2)))[0]), 4)
    -3.3863
    """

    def __init__(
        self, *, learn: bool = False, conditioner: Network = None, min_scale: Fraction = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if learn and conditioner is not None:
            raise ValueError(
                f"{type(self).__name__} expects learn=True or a conditioner, received both: the network learns the "
                "mean and the scale."
            )
        refuse_second_input(self, conditioner)
        self.learn, self.conditioner, self.min_scale = learn, conditioner, min_scale
        self._transform = Gaussian(min_scale=min_scale)
        if conditioner is not None:  # otherwise that of the class, which an author may have changed
            self.context = "required"

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def standard_log_density(self, eps: Any) -> Any:
        """log p0(eps) for each entry."""
        raise NotImplementedError(f"{type(self).__name__} has no standard_log_density(self, eps).")

    def standard_sample(self, shape: tuple[int, ...], seed: Any) -> Any:
        """Draws from p0, of `shape`."""
        raise NotImplementedError(f"{type(self).__name__} has no standard_sample(self, shape, seed).")

    def build(self, z_shape: Any, context_shape: Any = None) -> None:
        event = tuple(z_shape[1:])
        if self.learn:
            self.raw = self.add_weight(shape=(2, *event), initializer="zeros", name="raw")
        elif self.conditioner is not None:
            build_network(self, self.conditioner, 2 * math.prod(event), context_shape)

    def _mean_and_logs(self, event, context):
        """Both, of shapes that broadcast to (batch, *event); None for the standard density."""
        if self.learn:
            raw = ops.expand_dims(ops.convert_to_tensor(self.raw), 0)
        elif self.conditioner is not None:
            h = ask(self.conditioner, context, None, self.compute_dtype)
            raw = ops.reshape(h, (-1, 2, *event))
        else:
            return None
        # The transform takes parameters on the axis before the last: of a flat event.
        flat = ops.reshape(raw, (-1, 2, math.prod(event)))
        return [ops.reshape(a, (-1, *event)) for a in self._transform.prepare(flat)]

    def log_prob(self, z: Any, context: Any = None) -> Any:
        """log p(z | context) in nats, (batch,), for z of shape (batch, *event)."""
        prepared = self._mean_and_logs(tuple(z.shape[1:]), context)
        if prepared is None:
            return sum_event(self.standard_log_density(z))
        eps, log_slope = self._transform.forward(z, *prepared)
        return sum_event(self.standard_log_density(eps) + log_slope)

    def sample(
        self, shape: tuple[int, ...], *, temperature: Any = 1.0, seed: Any = None, context: Any = None
    ) -> Any:
        """Draws of `shape` = (batch, *event); `temperature` multiplies the scale."""
        eps = temperature * self.standard_sample(tuple(shape), seed)
        prepared = self._mean_and_logs(tuple(shape[1:]), context)
        return eps if prepared is None else self._transform.inverse(eps, *prepared)[0]

    def adapt(self, z: Any, context: Any = None) -> "LocationScale":
        """Hand a context on to a conditioner of which something depends on data. Returns `self`."""
        adapt_conditioner(self.conditioner, context, None)
        return self
