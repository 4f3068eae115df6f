"""Adding channels of noise."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract import BijectorSpec, ContractError, Surjection
from flowkit.contract.arguments import Count
from flowkit.surjections.dropped import Density, Dropped


@keras.saving.register_keras_serializable("flowkit")
class Augment(Surjection):
    """z = (x, e) with `extra` channels e ~ q(. | x), and -log q(e | x) is added: log_prob becomes a lower bound.

    log p(x) >= E_q[log p(x, e) - log q(e | x)]. The way back drops e. `density` is a bijector that takes e, given x as
    its context, to standard normals; None is a standard normal q. Its inverse draws e, so it should be the cheap one.

    Raises NotImplementedError if a density waits for `adapt`: there is nothing to adapt it to. Huang, Dinh &
    Courville, Augmented Normalizing Flows (2020); Chen et al., VFlow (2020).

    >>> augment = Augment(2)
    >>> z, _ = augment(ops.zeros((4, 3)), noise=ops.ones((4, 2)))
    >>> tuple(z.shape), tuple(augment.inverse(z)[0].shape)
    ((4, 5), (4, 3))
    """

    def __init__(self, extra: Count, density: Density = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extra = extra
        self.density = density
        self._dropped = Dropped(self, density)
        self.spec = BijectorSpec(noise="forward", likelihood="bound")

    def build(self, x_shape: Any) -> None:
        self._channels = x_shape[-1]
        self._dropped.build((*x_shape[:-1], self.extra), tuple(x_shape))

    def noise_size(self, x_shape: Any) -> int:
        return math.prod(x_shape[1:-1]) * self.extra

    def _forward(self, x, noise):
        extra, log_q = self._dropped.sample(noise, x, (*x.shape[:-1], self.extra))
        return ops.concatenate([x, extra], axis=-1), -log_q

    def _inverse(self, z):
        x, extra = z[..., : -self.extra], z[..., -self.extra :]
        return x, self._dropped.log_prob(extra, x)

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        if self.density is not None and not self.density.adapted:
            raise NotImplementedError(
                "Augment cannot adapt its density: the entries that it would be adapted to are its own draws. Use "
                "parts without statistics, or adapt them beforehand."
            )

    def run_adapt_inverse(self, z: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        if self.density is not None:
            self.density.run_adapt(z[..., -self.extra :], z[..., : -self.extra], again)

    @property
    def refreshes(self) -> bool:
        return self.density is not None and self.density.refreshes

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        z, _ = self._forward(x, noise)
        self.density.run_refresh(z[..., -self.extra :], x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], input_shape[-1] + self.extra)

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        channels = self._channels if self.built else latent_shape[-1] - self.extra
        if latent_shape[-1] != channels + self.extra or channels < 1:
            raise ContractError(
                "event shape",
                self,
                expected=f"latents of {channels + self.extra} channels"
                if self.built
                else "more than `extra` channels",
                received=f"shape {tuple(latent_shape)}",
            )
        return (*latent_shape[:-1], channels)
