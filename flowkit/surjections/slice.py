"""Dropping channels."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract import BijectorSpec, ContractError, Surjection
from flowkit.contract.arguments import Count
from flowkit.surjections.dropped import Density, Dropped


@keras.saving.register_keras_serializable("flowkit")
class Slice(Surjection):
    """z = the first `keep` channels of x, and log q(rest | z) is added to the likelihood, which stays exact.

    The way back draws the rest anew: x = (z, rest), rest ~ q(. | z), from its noise. `density` is a bijector that takes
    the rest, given z as its context, to standard normals, such as `Pointwise(Gaussian(), MLP([64]))`; None is a
    standard normal q.

    Raises ContractError for an event without more than `keep` channels. Nielsen et al., SurVAE Flows (2020).

    >>> z, log_q = Slice(1)(ops.zeros((4, 2)))
    >>> tuple(z.shape), round(float(log_q[0]), 4)  # -ln(2 pi) / 2
    ((4, 1), -0.9189)
    """

    def __init__(self, keep: Count, density: Density = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep = keep
        self.density = density
        self._dropped = Dropped(self, density)
        self.spec = BijectorSpec(noise="inverse")

    def build(self, x_shape: Any) -> None:
        self._channels = x_shape[-1]
        if not self._channels > self.keep:
            raise ContractError(
                "event shape",
                self,
                expected=f"more than keep={self.keep} channels",
                received=f"shape {tuple(x_shape)}",
            )
        self._dropped.build((*x_shape[:-1], self._channels - self.keep), (*x_shape[:-1], self.keep))

    def noise_size(self, x_shape: Any) -> int:
        return math.prod(x_shape[1:-1]) * (x_shape[-1] - self.keep)

    def _forward(self, x):
        kept, rest = x[..., : self.keep], x[..., self.keep :]
        return kept, self._dropped.log_prob(rest, kept)

    def _inverse(self, z, noise):
        rest, log_q = self._dropped.sample(noise, z, (*z.shape[:-1], self._channels - self.keep))
        return ops.concatenate([z, rest], axis=-1), -log_q

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        if self.density is not None:
            self.density.run_adapt(x[..., self.keep :], x[..., : self.keep], again)

    def run_adapt_inverse(self, z: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        if self.density is not None:
            eps = ops.reshape(noise, (-1, *z.shape[1:-1], self._channels - self.keep))
            self.density.run_adapt_inverse(eps, z, again)

    @property
    def refreshes(self) -> bool:
        return self.density is not None and self.density.refreshes

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        self.density.run_refresh(x[..., self.keep :], x[..., : self.keep])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.keep)

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        if not self.built:
            raise ContractError(
                "event shape",
                self,
                expected="to know how many channels the data have",
                received="latents before any data",
                hint="Call .build((None, channels)) first.",
            )
        if latent_shape[-1] != self.keep:
            raise ContractError(
                "event shape",
                self,
                expected=f"latents of {self.keep} channels",
                received=f"shape {tuple(latent_shape)}",
            )
        return (*latent_shape[:-1], self._channels)

    def _fixed_shape(self):
        return (None,) * (len(self._built_on) - 1) + (self._channels,) if self.built else None
