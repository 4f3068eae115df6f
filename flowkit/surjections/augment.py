"""Adding channels of noise."""

from typing import Any

from flowkit.contract import BijectorSpec, Shape
from flowkit.contract.arguments import Count
from flowkit.contract.errors import shape_error
from flowkit.surjections.channels import ChannelSurjection, Density


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
