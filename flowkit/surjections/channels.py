"""Surjections that drop channels in one direction and draw them in the other."""

import math
from typing import Annotated, Any

from keras import ops

from flowkit.contract import (
    BijectorSpec,
    Context,
    ContractError,
    Domain,
    FlowLayer,
    Shape,
    Surjection,
    Tensor,
    sum_event,
)
from flowkit.contract.arguments import Count, instance
from flowkit.contract.call import Call
from flowkit.contract.checks import refuse_noise
from flowkit.contract.errors import shape_error

Density = Annotated[FlowLayer, instance(FlowLayer, "a bijector, or None")] | None


class ChannelSurjection(Surjection):
    """A layer between whole events and their first channels: it drops the last channels, or draws them from noise.

    The spec says which direction draws; `_divided(x_shape)` returns how many channels are kept, and how many dropped,
    for data of that shape.

    The dropped channels follow q(dropped | kept). `density` is a bijector from `dropped`, with `kept` as its context,
    to standard normals; None is a standard normal q. Raises ContractError for a bijector that needs noise itself, and
    for one that does not map the real numbers onto themselves.
    """

    runs_hooks = False

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

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        if self.density is None:
            return None
        shape, draws = (*x_shape[:-1], self._dropped), self.spec.draws(inverse=inverse)
        return self.density.derive(self.density.compute_output_shape(shape) if draws else shape, draws)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        return self._drop(x, call, derived) if noise is None else self._draw(x, noise, call, derived)

    def _split(self, whole):
        """Return (dropped, kept) channels."""
        return whole[..., self._kept :], whole[..., : self._kept]

    def _drop(self, whole, call, derived=None):
        """Return (kept, log q(dropped | kept))."""
        (eps, kept), log_det = self._split(whole), 0.0
        if self.density is not None:
            eps, log_det = self.density.run(eps, call.on(kept)._replace(inverse=False), None, derived)
        return kept, _standard(eps) + log_det

    def _draw(self, kept, noise, call, derived=None):
        """Return (the whole event, -log q(drawn | kept))."""
        eps, log_det = self._latents(kept, noise), 0.0
        dropped = eps
        if self.density is not None:
            dropped, log_det = self.density.run(eps, call.on(kept)._replace(inverse=True), None, derived)
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
        whole = x if noise is None else self._draw(x, noise, Call())[0]
        self.density.run_adapt_alone(*self._split(whole), again)

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        whole = x if noise is None else self._draw(x, noise, Call())[0]
        self.density.run_refresh(*self._split(whole))

    @property
    def refreshes(self) -> bool:
        return self.density is not None and self.density.refreshes


def _standard(eps):
    """Return the log-density of standard normals, (batch,)."""
    return -0.5 * sum_event(eps * eps + math.log(2 * math.pi))


class Slice(ChannelSurjection):
    """z = the first `keep` channels of x, and log q(rest | z) is added to the likelihood, which stays exact.

    The way back draws the rest anew: x = (z, rest), rest ~ q(. | z), from its noise. `density` is a bijector that takes
    the rest, given z as its context, to standard normals, such as `Pointwise(Gaussian(), MLP([64]))`; None is a
    standard normal q.

    Raises ContractError for an event without more than `keep` channels. Nielsen et al., SurVAE Flows (2020).

    >>> from keras import ops
    >>> z, log_q = Slice(1)(ops.zeros((4, 2)))
    >>> tuple(z.shape), round(float(log_q[0]), 4)  # -ln(2 pi) / 2
    ((4, 1), -0.9189)
    """

    def __init__(self, keep: Count, density: Density = None, **kwargs: Any) -> None:
        super().__init__(density, **kwargs)
        self.keep = keep
        self.spec = BijectorSpec(noise="inverse")

    def _divided(self, x_shape):
        if not x_shape[-1] > self.keep:
            raise shape_error(self, f"more than keep={self.keep} channels", x_shape)
        return self.keep, x_shape[-1] - self.keep

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.keep)

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        if not self.built:
            wanted = "to know how many channels the data have"
            received = "latents before any data"
            hint = "Call .build((None, channels)) first."
            raise ContractError("event shape", self, expected=wanted, received=received, hint=hint)
        if latent_shape[-1] != self.keep:
            raise shape_error(self, f"latents of {self.keep} channels", latent_shape)
        return (*latent_shape[:-1], self._channels)

    def _fixed_shape(self):
        return (None,) * (len(self._built_on) - 1) + (self._channels,) if self.built else None


class Augment(ChannelSurjection):
    """z = (x, e) with `extra` channels e ~ q(. | x), and -log q(e | x) is added: log_prob becomes a lower bound.

    log p(x) >= E_q[log p(x, e) - log q(e | x)]. The way back drops e. `density` is a bijector that takes e, given x as
    its context, to standard normals; None is a standard normal q. Its inverse draws e, so it should be the cheap one.

    `adapt` adapts the density to x and to its own draws. Huang, Dinh & Courville, Augmented Normalizing Flows (2020);
    Chen et al., VFlow (2020).

    >>> from keras import ops
    >>> augment = Augment(2)
    >>> z, _ = augment(ops.zeros((4, 3)), noise=ops.ones((4, 2)))
    >>> tuple(z.shape), tuple(augment.inverse(z)[0].shape)
    ((4, 5), (4, 3))
    """

    def __init__(self, extra: Count, density: Density = None, **kwargs: Any) -> None:
        super().__init__(density, **kwargs)
        self.extra = extra
        self.spec = BijectorSpec(noise="forward", likelihood="bound")

    def _divided(self, x_shape):
        return x_shape[-1], self.extra

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] + self.extra)

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        channels = self._channels if self.built else latent_shape[-1] - self.extra
        if latent_shape[-1] != channels + self.extra or channels < 1:
            number = channels + self.extra if self.built else f"more than extra={self.extra}"
            raise shape_error(self, f"latents of {number} channels", latent_shape)
        return (*latent_shape[:-1], channels)
