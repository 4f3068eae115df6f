"""Gaussian noise in place of dequantisation."""

from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import BijectorSpec
from flowkit.contract.arguments import Positive, Seed, whole
from flowkit.contract.configured import one_line
from flowkit.contract.shapes import event_size
from flowkit.data.dequantize import Dequantize, Levels


@keras.saving.register_keras_serializable("flowkit")
class GaussianNoise(Dequantize):
    """y = (floor(x / 2^(8 - n_bits)) + 1/2) / levels - 1/2 + std e with e ~ N(0, I): noisy data.

    A flow with `dequantize=GaussianNoise(std)` is a density of noisy images, whose log_prob is estimated by one draw of
    the noise: it is no bound of the probability of the stored image, and not comparable with bits/dim of `Dequantize`.
    `Flow.sample` takes the noise off its draws by one step of Tweedie's formula, y + std^2 grad log p(y), then rounds.
    `Flow.decode` does not, so that it inverts `encode`.

    `std` is in units of the range of the values, which is 1; the other arguments are as in `Dequantize`. Raises
    ValueError for a `std` that is not positive. Zhai et al., Normalizing Flows are Capable Generative Models (2024).

    >>> GaussianNoise(0.025).as_stored(ops.convert_to_numpy(ops.zeros((1, 2)))).tolist()
    [[128, 128]]
    """

    noise_kind = "normal"
    __repr__ = one_line

    def __init__(
        self,
        std: Positive,
        n_bits: Annotated[int, whole(1, 8)] | None = 8,
        *,
        levels: Levels | None = None,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_bits, levels=levels, seed=seed, **kwargs)
        self.std = std
        self.spec = BijectorSpec(
            domain=self.spec.domain, log_det="constant", noise="forward", likelihood="estimated"
        )

    def _forward(self, x, noise):
        y = self.within(x, ops.full_like(x, 0.5, dtype=self.compute_dtype))
        noise = ops.reshape(ops.cast(noise, y.dtype), ops.shape(x))
        return y + self.std * noise, self.log_volume(event_size(x.shape))
