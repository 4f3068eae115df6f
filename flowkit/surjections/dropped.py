"""The density q(dropped | kept) of entries that one direction drops and the other draws."""

import math
from typing import Annotated, Any

from keras import ops

from flowkit.contract import ContractError, Domain, FlowLayer, sum_event
from flowkit.contract.arguments import instance

Density = Annotated[FlowLayer, instance(FlowLayer, "a bijector, or None")] | None


class Dropped:
    """q(dropped | kept), from a bijector that takes `dropped`, given `kept` as its context, to standard normals.

    Without a bijector the dropped entries are standard normal themselves. Raises ContractError, in the name of its
    `owner`, for a bijector that needs noise itself.
    """

    def __init__(self, owner: FlowLayer, density: FlowLayer | None) -> None:
        if density is not None and not density.spec.domain == density.spec.codomain == Domain.REAL:
            raise ContractError(
                "domain",
                owner,
                expected="a density from the real numbers onto them, where standard normals are",
                received=f"{density.spec.domain} to {density.spec.codomain}",
            )
        if density is not None and density.spec.noise != "none":
            raise ContractError(
                "noise", owner, expected="a density without noise", received=f"noise={density.spec.noise!r}"
            )
        self.density = density

    def build(self, dropped_shape: tuple[Any, ...], kept_shape: tuple[Any, ...]) -> None:
        if self.density is not None:
            self.density._check_shape(dropped_shape)
            self.density.build_for(dropped_shape, kept_shape)

    def log_prob(self, dropped: Any, kept: Any) -> Any:
        """Return log q(dropped | kept), (batch,)."""
        eps, log_det = dropped, 0.0
        if self.density is not None:
            eps, log_det = self.density.run(dropped, kept, inverse=False)
        return _standard(eps) + log_det

    def sample(self, noise: Any, kept: Any, shape: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return (dropped, log q(dropped | kept)) from flat standard normals, for events of `shape`."""
        if self.density is None:
            eps = ops.reshape(noise, (-1, *shape[1:]))
            return eps, _standard(eps)
        eps = ops.reshape(noise, (-1, *self.density.compute_output_shape(shape)[1:]))
        dropped, log_det = self.density.run(eps, kept, inverse=True)
        return dropped, _standard(eps) - log_det


def _standard(eps):
    """Return the log-density of standard normals, (batch,)."""
    return -0.5 * sum_event(eps * eps + math.log(2 * math.pi))
