"""Densities of one shape, moved and stretched: z = mean + exp(logs) eps, with eps from a standard density."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract import AnySeed, Context, Shape, Tensor, sum_event
from flowkit.contract.arguments import Fraction, Positive
from flowkit.contract.conditioner import Network, build_on_context
from flowkit.distributions.distribution import ConditionalDistribution
from flowkit.engines import engine
from flowkit.numerics import log_sigmoid


class LocationScale(ConditionalDistribution):
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
        super().__init__(conditioner, min_scale, **kwargs)
        if learn and conditioner is not None:
            raise ValueError(
                f"{type(self).__name__}: got learn=True and a conditioner, expected one of them, since the network "
                "learns the mean and the scale."
            )
        self.learn = learn

    def standard_log_density(self, eps: Tensor) -> Tensor:
        """Return log p0(eps) for each entry."""
        raise NotImplementedError(f"{type(self).__name__} has no standard_log_density(self, eps).")

    def standard_sample(self, shape: tuple[int, ...], seed: AnySeed) -> Tensor:
        """Return draws from p0, of `shape`."""
        raise NotImplementedError(f"{type(self).__name__} has no standard_sample(self, shape, seed).")

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        event = tuple(z_shape[1:])
        if self.learn:
            self.raw = self.add_weight(shape=(2, *event), initializer="zeros", name="raw")
        elif self.conditioner is not None:
            build_on_context(self, self.conditioner, 2 * math.prod(event), context_shape)

    def _mean_and_logs(self, event, context):
        """Return both, of shapes that broadcast to (batch, *event); None for the standard density."""
        if self.learn:
            raw = ops.expand_dims(engine.tensor(self.raw), 0)
        elif self.conditioner is not None:
            raw = ops.reshape(self._answer(context), (-1, 2, *event))
        else:
            return None
        # The transform takes parameters on the axis before the last: of a flat event.
        flat = ops.reshape(raw, (-1, 2, math.prod(event)))
        return [ops.reshape(a, (-1, *event)) for a in self._transform.prepare(flat)]

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z | context) in nats, (batch,), for z of shape (batch, *event)."""
        prepared = self._mean_and_logs(tuple(z.shape[1:]), context)
        if prepared is None:
            return sum_event(self.standard_log_density(z))
        eps, log_slope = self._transform.forward(z, *prepared)
        return sum_event(self.standard_log_density(eps) + log_slope)

    def _draw(self, shape, temperature, seed, context):
        eps = temperature * self.standard_sample(tuple(shape), seed)
        prepared = self._mean_and_logs(tuple(shape[1:]), context)
        return eps if prepared is None else self._transform.inverse(eps, *prepared)[0]


class Normal(LocationScale):
    """log p(z) = -1/2 sum(eps^2 + ln 2 pi) - sum(logs), eps = (z - mean) exp(-logs): independent normals.

    Standard without arguments, with weights (`learn=True`) or given a context (`conditioner=MLP([64])`), as for
    every `LocationScale`.

    >>> round(float(Normal().log_prob(ops.zeros((1, 2)))[0]), 4)
    -1.8379
    """

    def standard_log_density(self, eps: Tensor) -> Tensor:
        return -0.5 * (ops.square(eps) + math.log(2 * math.pi))

    def standard_sample(self, shape: Shape, seed: int) -> Tensor:
        return keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)


class Logistic(LocationScale):
    """log p0(eps) = log sigmoid(eps) + log sigmoid(-eps): tails that fall like exp(-|eps|).

    Mean and scale are those of every `LocationScale`. Dinh, Krueger & Bengio, NICE (2014).

    >>> round(float(Logistic().log_prob(ops.zeros((1, 1)))[0]), 4)  # -2 ln 2
    -1.3863
    """

    def standard_log_density(self, eps: Tensor) -> Tensor:
        return log_sigmoid(eps) + log_sigmoid(-eps)

    def standard_sample(self, shape: Shape, seed: int) -> Tensor:
        # Uniform numbers stay away from 0 and 1, where the logit is infinite.
        edge = 2.0**-24
        u = keras.random.uniform(shape, edge, 1 - edge, dtype=self.compute_dtype, seed=seed)
        return ops.log(u) - ops.log1p(-u)


class StudentT(LocationScale):
    """log p0(eps) = lgamma((n+1)/2) - lgamma(n/2) - ln(n pi)/2 - (n+1)/2 ln(1 + eps^2/n), n = `df` degrees of freedom.

    Its tails fall like |eps|^-(n+1): data with rows far from all others, which a normal base would make the flow
    stretch for. Mean and scale are those of every `LocationScale`. Raises ValueError for `df` that is not positive.

    Jaini, Kobyzev, Yu & Brubaker, Tails of Lipschitz Triangular Flows (2020).

    >>> round(float(StudentT(df=1.0).log_prob(ops.zeros((1, 1)))[0]), 4)  # Cauchy: -ln pi
    -1.1447
    """

    def __init__(self, df: Positive = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.df = df

    def standard_log_density(self, eps: Tensor) -> Tensor:
        n = self.df
        constant = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
        return constant - 0.5 * (n + 1) * ops.log1p(ops.square(eps) / n)

    def standard_sample(self, shape: Shape, seed: int) -> Tensor:
        # A normal over the root of a chi-squared, which is twice a gamma, by its degrees of freedom.
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        normal = keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)
        gamma = keras.random.gamma(shape, alpha=0.5 * self.df, dtype=self.compute_dtype, seed=seed)
        least = 2.0**-120  # a gamma of few degrees of freedom rounds to 0
        return normal * ops.sqrt(0.5 * self.df / ops.maximum(gamma, ops.full_like(gamma, least)))
