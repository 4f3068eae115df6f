"""Student's t distribution: heavy tails."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import Positive
from flowkit.distributions.location_scale import LocationScale


@keras.saving.register_keras_serializable("flowkit")
class StudentT(LocationScale):
    """log p0(eps) = lgamma((n+1)/2) - lgamma(n/2) - ln(n pi)/2 - (n+1)/2 ln(1 + eps^2/n), n = `df` degrees of freedom.

    Its tails fall like |eps|^-(n+1): data with rows far from all others, which a normal base would make the flow
    stretch for. Mean and scale as said for every `LocationScale`. Raises ValueError for `df` that is not positive.

    Jaini, Kobyzev, Yu & Brubaker, Tails of Lipschitz Triangular Flows (2020).

    >>> round(float(StudentT(df=1.0).log_prob(ops.zeros((1, 1)))[0]), 4)  # Cauchy: -ln pi
    -1.1447
    """

    def __init__(self, df: Positive = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.df = df

    def standard_log_density(self, eps: Any) -> Any:
        n = self.df
        constant = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
        return constant - 0.5 * (n + 1) * ops.log1p(ops.square(eps) / n)

    def standard_sample(self, shape: Any, seed: int) -> Any:
        # A normal over the root of a chi-squared, which is twice a gamma, by its degrees of freedom.
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        normal = keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)
        gamma = keras.random.gamma(shape, alpha=0.5 * self.df, dtype=self.compute_dtype, seed=seed)
        least = 2.0**-120  # a gamma of few degrees of freedom rounds to 0
        return normal * ops.sqrt(0.5 * self.df / ops.maximum(gamma, ops.full_like(gamma, least)))
