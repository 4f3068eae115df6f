"""Dropping channels."""

from typing import Any

from flowkit.contract import BijectorSpec, ContractError, Shape
from flowkit.contract.arguments import Count
from flowkit.contract.errors import shape_error
from flowkit.surjections.channels import ChannelSurjection, Density


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
