"""A mixture of flows, which have a bijector each and one base density."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import BijectorSpec, Context, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import instance, listed
from flowkit.contract.call import Call
from flowkit.contract.inside import build_for, refuse_shared
from flowkit.contract.shapes import per_sample
from flowkit.contract.spec import weakest
from flowkit.distributions.distribution import Distribution
from flowkit.distributions.location_scale import Normal


class MixtureOfFlows(Distribution):
    """log p(z) = log(1/K sum_k p_base(f_k(z)) |det df_k/dz|), of `bijectors` f_1, ..., f_K with equal weights.

    An ensemble (Lakshminarayanan, Pritzel & Blundell, 2017): flows that were trained on the same data from different
    starts err in different places, so that their mixture is never below their mean log-likelihood. Make a flow of it
    with a bijector that all of them would begin with, or with `Chain([])`. Draws take one f_k at random for each row.

    `base` is the density of the latents of each; None is the standard normal. `temperature` is passed to it. Raises
    TypeError for what is no bijector, and ValueError for bijectors that draw random numbers, for those of different
    domains, and for none.

    >>> from flowkit.bijectors import Shift
    >>> mixture = MixtureOfFlows([Shift(-2.0), Shift(2.0)])
    >>> mixture.build((None, 1))
    >>> round(float(mixture.log_prob(ops.zeros((1, 1)))[0]), 4)  # -ln(2 pi) / 2 - 2
    -2.9189
    """

    reparameterized = False  # the choice of a flow carries no gradient

    def __init__(
        self,
        bijectors: Annotated[Sequence[Any], listed(FlowLayer, "bijectors")],
        base: Annotated[Any, instance(Distribution, "a distribution")] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bijectors = list(bijectors)
        self.base = Normal(dtype=self.dtype_policy) if base is None else base
        refuse_shared([*self.bijectors, self.base])
        specs = [bijector.spec for bijector in self.bijectors]
        domains = {spec.domain for spec in specs}
        if len(domains) != 1 or any(spec.noise != "none" for spec in specs):
            raise ValueError(
                f"MixtureOfFlows: got bijectors on {', '.join(map(str, domains)) or 'nothing'}, expected at least one, "
                "all of one domain and without noise. Put what draws into the bijector of the Flow."
            )
        self.domain = specs[0].domain
        self.context = weakest([*specs, BijectorSpec(context=self.base.context)], "context")

    @property
    def num_classes(self) -> int | None:
        counts = [part.num_classes for part in (*self.bijectors, self.base)]
        return next((count for count in counts if count is not None), None)

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        for bijector in self.bijectors:
            bijector.check_shape(z_shape)
            bijector.build_for(z_shape, context_shape)
        build_for(self.base, self.bijectors[0].compute_output_shape(z_shape), context_shape)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z | context) in nats, (batch,), for z of shape (batch, *event)."""
        each = []
        for bijector in self.bijectors:
            latents, log_det = bijector.run(z, Call(context))
            own = self.base.log_prob(latents, context=context)
            each.append(own + per_sample(bijector, log_det, z))
        return ops.logsumexp(ops.stack(each), axis=0) - math.log(len(each))

    def _draw(self, shape, temperature, seed, context):
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        latent = self.bijectors[0].compute_output_shape(shape)
        latents = self.base.sample(latent, temperature=temperature, seed=seed, context=context)
        chosen = keras.random.randint((shape[0], *(1,) * (len(shape) - 1)), 0, len(self.bijectors), seed=seed)
        call = Call(context, inverse=True, log_det=False)
        z, *others = [bijector.run(latents, call)[0] for bijector in self.bijectors]
        for number, other in enumerate(others, 1):
            z = ops.where(chosen == number, other, z)
        return z

    def adapt(self, z: Tensor, context: Context = None) -> "MixtureOfFlows":
        """Adapt each bijector that depends on data to `z`. Returns `self`."""
        for bijector in self.bijectors:
            bijector.adapt(z, context)
        return self
