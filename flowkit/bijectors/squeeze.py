"""Trading places for channels."""

from typing import Any

import keras

from flowkit import backends
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.arguments import Count


@keras.saving.register_keras_serializable("flowkit")
class Squeeze(Bijector):
    """(h, w, c) -> (h/f, w/f, c f^2): each f x f block of places becomes channels.

    Channel order as in Glow and torch's pixel_unshuffle: new channel = c f^2 + i f + j for row i and
    column j of the block. (Keras's and TensorFlow's space_to_depth order differs.)

    Dinh, Sohl-Dickstein & Bengio, Real NVP (2017), section 3.6.

    >>> tuple(Squeeze()(keras.ops.ones((1, 4, 6, 3)))[0].shape)
    (1, 2, 3, 12)
    """

    pure = True

    def __init__(self, factor: Count = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.spec = BijectorSpec(
            event_rank=3, event_multiple=(factor, factor, 1), log_det="zero", rearranges=True
        )

    def _forward(self, x):
        f = self.factor
        _, h, w, c = x.shape
        x = backends.reshape(x, (-1, h // f, f, w // f, f, c))
        x = backends.transpose(x, (0, 1, 3, 5, 2, 4))
        return backends.reshape(x, (-1, h // f, w // f, c * f * f)), 0.0

    def _inverse(self, z):
        f = self.factor
        _, h, w, c = z.shape
        z = backends.reshape(z, (-1, h, w, c // (f * f), f, f))
        z = backends.transpose(z, (0, 1, 4, 2, 5, 3))
        return backends.reshape(z, (-1, h * f, w * f, c // (f * f))), 0.0

    def compute_output_shape(self, input_shape: Any) -> Any:
        f = self.factor
        b, h, w, c = input_shape
        return (b, h and h // f, w and w // f, c * f * f)

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        f = self.factor
        if len(latent_shape) != 4 or latent_shape[-1] % (f * f):
            raise ContractError(
                "event shape",
                self,
                expected=f"latents (batch, h, w, c) with c a multiple of {f * f}",
                received=f"shape {tuple(latent_shape)}",
            )
        b, h, w, c = latent_shape
        return (b, h and h * f, w and w * f, c // (f * f))
