"""Base classes of densities, of all and of those with a network of the context; the uniform density."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from flowkit.contract import AnySeed, Context, Domain, Tensor, sum_event
from flowkit.contract.arguments import Number
from flowkit.contract.conditioner import NetworkOfContext, adapt_conditioner, ask
from flowkit.contract.configured import Configured
from flowkit.contract.precision import full_precision
from flowkit.transforms import Gaussian


class Distribution(Configured, keras.Layer):
    """What the latents of a fitted flow follow: `log_prob(z, context)` and `sample(shape, ...)`.

    Authors write both, and `build(z_shape, context_shape=None)` if there are weights, for latents of shape
    (batch, *event):

    - `log_prob(z, context=None)`: (batch,) in nats.
    - `sample(shape, *, temperature=1.0, seed=None, context=None)`: draws of `shape` = (batch, *event). `seed` is a
      `keras.random.SeedGenerator` whenever a flow draws, so that several draws differ; `temperature` multiplies the
      scale, and a density for which it means nothing raises ValueError for any but 1.

    - `adapt(z, context=None)`, if something depends on data: `Flow.adapt` hands the latents of its batch on.

    `context` is "none", "optional" or "required", `num_classes` how many classes its labels may name, `domain` the set
    of each entry, `reparameterized` whether draws carry gradients to all weights.
    `flowkit.testing.check_distribution` checks that draws and density agree.

    >>> class Coin(Distribution):
    ...     def log_prob(self, z, context=None):
    ...         return keras.ops.sum(0.0 * z, axis=-1) - 0.693 * z.shape[-1]
    >>> Coin().domain
    Domain.REAL
    """

    context = "none"
    num_classes: int | None = None
    domain: ClassVar[Domain] = Domain.REAL
    reparameterized = True

    def __init__(self, *, dtype: str | keras.DTypePolicy | None = None, **kwargs: Any) -> None:
        # As for bijectors: under a mixed policy only networks compute in low precision.
        super().__init__(dtype=full_precision(dtype), **kwargs)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z | context) in nats, (batch,), for z of shape (batch, *event)."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob(self, z, context=None).")

    def sample(
        self,
        shape: tuple[int, ...],
        *,
        temperature: float | Sequence[float] = 1.0,
        seed: AnySeed = None,
        context: Context = None,
    ) -> Tensor:
        """Return draws of `shape` = (batch, *event); `temperature` multiplies the scale, if there is one."""
        return self._draw(shape, temperature, seed, context)

    def _draw(self, shape, temperature, seed, context):
        raise NotImplementedError(
            f"{type(self).__name__} has no sample(self, shape, *, temperature, seed, context)."
        )


class ConditionalDistribution(Distribution):
    """A density whose `conditioner`, a network of the context or None, returns one vector for each sample.

    `min_scale` = m > 0 keeps scales within (m, 1/m). Raises ContractError for a network that expects a context beside
    its input.
    """

    def __init__(self, conditioner: NetworkOfContext, min_scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conditioner, self.min_scale = conditioner, min_scale
        self._transform = Gaussian(min_scale=min_scale)
        if conditioner is not None:  # otherwise that of the class, which an author may have changed
            self.context = "required"

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def _answer(self, context: Context) -> Any:
        return ask(self.conditioner, context, None, self.compute_dtype)

    def adapt(self, z: Tensor, context: Context = None) -> Any:
        """Adapt the network to a batch of contexts, if something in it depends on data. Returns `self`."""
        adapt_conditioner(self.conditioner, context, None)
        return self


class Uniform(Distribution):
    """log p(z) = -D ln(high - low) for all D entries of z in [low, high), and -inf otherwise.

    For flows whose last bijector ends in an interval. Raises ValueError unless low < high are finite, and for a
    temperature other than 1: there is no scale that it could multiply.

    >>> round(float(Uniform(0.0, 2.0).log_prob(ops.ones((1, 3)))[0]), 4)  # -3 ln 2
    -2.0794
    """

    def __init__(self, low: Number = 0.0, high: Number = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not low < high:
            raise ValueError(f"Uniform: got {low} and {high}, expected finite numbers low < high.")
        self.low, self.high = low, high
        self.domain = Domain.interval(low, high)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z) in nats, (batch,), for z of shape (batch, *event)."""
        inside = ops.logical_and(z >= self.low, z < self.high)
        level = -math.log(self.high - self.low)
        return sum_event(ops.where(inside, ops.full_like(z, level), -math.inf))

    def _draw(self, shape, temperature, seed, context):
        if not isinstance(temperature, (int, float)) or temperature != 1:
            raise ValueError(
                f"Uniform's temperature: got {temperature!r}, expected 1, since it has no scale to multiply."
            )
        return keras.random.uniform(shape, self.low, self.high, dtype=self.compute_dtype, seed=seed)
