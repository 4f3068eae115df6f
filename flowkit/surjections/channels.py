"""Base class of the layers that drop channels in one direction and draw them in the other."""

import math
from typing import Annotated, Any

from keras import ops

from flowkit.contract import Context, ContractError, Domain, FlowLayer, Shape, Surjection, Tensor, sum_event
from flowkit.contract.arguments import instance
from flowkit.contract.checks import refuse_noise

Density = Annotated[FlowLayer, instance(FlowLayer, "a bijector, or None")] | None


class ChannelSurjection(Surjection):
    """A layer between whole events and their first channels: it drops the last channels, or draws them from noise.

    The spec says which direction draws; `_divided(x_shape)` returns how many channels are kept, and how many dropped,
    for data of that shape.

    The dropped channels follow q(dropped | kept). `density` is a bijector from `dropped`, with `kept` as its context,
    to standard normals; None is a standard normal q. Raises ContractError for a bijector that needs noise itself, and
    for one that does not map the real numbers onto themselves.
    """

    def __init__(self, density: Density, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if density is not None and not density.spec.domain == density.spec.codomain == Domain.REAL:
            wanted = "a density from the real numbers onto them, where standard normals are"
            received = f"{density.spec.domain} to {density.spec.codomain}"
            raise ContractError("domain", self, expected=wanted, received=received)
        self.density = density
        if density is not None:
            refuse_noise(self, density)

    def build(self, x_shape: Shape) -> None:
        self._channels, (kept, dropped) = x_shape[-1], self._divided(x_shape)
        self._kept, self._dropped = kept, dropped
        if self.density is not None:
            self.density._check_shape((*x_shape[:-1], dropped))
            self.density.build_for((*x_shape[:-1], dropped), (*x_shape[:-1], kept))
            refuse_noise(self, self.density)

    def noise_size(self, x_shape: Shape) -> int:
        return math.prod(x_shape[1:-1]) * self._divided(x_shape)[1]

    def _forward(self, x, noise=None):
        return self._drop(x) if noise is None else self._draw(x, noise)

    _inverse = _forward

    def _split(self, whole):
        """Return (dropped, kept) channels."""
        return whole[..., self._kept :], whole[..., : self._kept]

    def _drop(self, whole):
        """Return (kept, log q(dropped | kept))."""
        (eps, kept), log_det = self._split(whole), 0.0
        if self.density is not None:
            eps, log_det = self.density.run(eps, kept, inverse=False)
        return kept, _standard(eps) + log_det

    def _draw(self, kept, noise):
        """Return (the whole event, -log q(drawn | kept))."""
        eps, log_det = self._latents(kept, noise), 0.0
        dropped = eps
        if self.density is not None:
            dropped, log_det = self.density.run(eps, kept, inverse=True)
        return ops.concatenate([kept, dropped], axis=-1), log_det - _standard(eps)

    def _latents(self, kept, noise):
        """Return the flat `noise` as latents of the density."""
        shape = (*kept.shape[:-1], self._dropped)
        if self.density is not None:
            shape = self.density.compute_output_shape(shape)
        return ops.reshape(noise, (-1, *shape[1:]))

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        if self.density is None:
            return
        if noise is None:
            self.density.run_adapt(*self._split(x), again)
        else:
            self.density.run_adapt_inverse(self._latents(x, noise), x, again)

    def run_adapt_inverse(
        self, z: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> None:
        self.run_adapt(z, context, again, noise)

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        whole = x if noise is None else self._draw(x, noise)[0]
        self.density.run_refresh(*self._split(whole))

    @property
    def refreshes(self) -> bool:
        return self.density is not None and self.density.refreshes


def _standard(eps):
    """Return the log-density of standard normals, (batch,)."""
    return -0.5 * sum_event(eps * eps + math.log(2 * math.pi))
