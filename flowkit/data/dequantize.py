"""Dequantisation: from whole pixel values to continuous ones and back."""

import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import BijectorSpec, Domain, Shape, Surjection, Tensor
from flowkit.contract.arguments import Seed, whole
from flowkit.contract.shapes import event_size
from flowkit.data.validate import Levels, validate_images


@keras.saving.register_keras_serializable("flowkit")
class Dequantize(Surjection):
    """y = (floor(x / 2^(8 - n_bits)) + u) / levels - 1/2 with u ~ U[0, 1): onto [-1/2, 1/2).

    `x` are whole values as stored, 0..255; `levels` = 2^n_bits of them are distinguished.
    For data with another number of values pass only `levels`: digits are 0..16, `levels=17`.
    A density p of y gives `log P(x) >= E_u[log p(y)] - D ln(levels)`, D entries to an event
    (Theis, van den Oord & Bethge, 2016): `log_volume(D)` is that last term, in nats.

    `Flow(dequantize=)` takes any `Surjection` from whole values whose noise is "forward", with `validate(x)` and
    `as_stored(y)` as here. A subclass with weights of its own, q(u | x), sets a spec with log_det="varying" and returns
    -log q(u | x) - D ln(levels) as its log-det (variational dequantisation: Ho et al., Flow++, 2019).

    A `Surjection`: u is its noise, `dequantize(x, noise=u)` gives (y, log_volume), and the way back takes y to the
    stored value that it belongs to. In `Flow(dequantize=)` it also checks the data and makes samples uint8; at
    the start of a `Chain` it takes whole numbers in any dtype.

    Raises ValueError for `n_bits` outside 1..8 or `levels` below 2.

    >>> Dequantize(n_bits=8).as_stored(np.array([[-0.5, 0.0, 0.5]])).tolist()
    [[0, 128, 255]]
    """

    def __init__(
        self,
        n_bits: Annotated[int, whole(1, 8)] | None = 8,
        *,
        levels: Levels | None = None,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        # The noise is added in float32 whatever the policy: bfloat16 cannot tell 256 levels apart.
        super().__init__(**{"dtype": "float32", **kwargs}, autocast=False)
        if levels is None:
            self.n_bits: int | None = n_bits or 8
            self.levels, self.stored_levels = 2**self.n_bits, 256
        else:
            self.n_bits = None
            self.levels = self.stored_levels = levels
        self.seed = seed
        self.noise = keras.random.SeedGenerator(self.seed)  # of training
        self.spec = BijectorSpec(
            domain=Domain.whole(0, self.stored_levels - 1),
            log_det="constant",
            noise="forward",
            likelihood="bound",
        )

    def __repr__(self):
        size = f"levels={self.levels}" if self.n_bits is None else f"{self.n_bits}"
        return f"{type(self).__name__}({size})"

    @property
    def step(self) -> float:
        """Return the number of stored values in one level: 2^(8 - n_bits)."""
        return self.stored_levels // self.levels

    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def forgets(self, *, inverse: bool) -> bool:
        return inverse or self.step > 1

    def _forward(self, x, noise):
        return self.within(x, noise), self.log_volume(event_size(x.shape))

    def within(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return y of stored values and of u in [0, 1), of as many entries; u = 1/2 is the middle of the bins."""
        x = ops.cast(x, self.compute_dtype)
        noise = ops.reshape(ops.cast(noise, self.compute_dtype), ops.shape(x))
        if self.step > 1:
            x = ops.floor(x / self.step)
        # In float32 a value above 127 plus noise close to 1 may round to the next value.
        y = ops.minimum(x + noise, x + (1 - 2**-16))
        return y / self.levels - 0.5

    def _inverse(self, y):
        level = ops.clip(ops.floor((y + 0.5) * self.levels), 0, self.levels - 1)
        return level * self.step, -self.log_volume(event_size(y.shape))

    def log_volume(self, size: int) -> float:
        """Return -size ln(levels), in nats: from the density of y to the probability of x."""
        return -size * math.log(self.levels)

    def as_stored(self, y: Tensor) -> Tensor:
        """Return the stored values (uint8) that `y`, a numpy array, belongs to; the way back.

        Entries outside [-1/2, 1/2) become the nearest value, and NaN becomes 0.
        """
        y = np.nan_to_num(np.clip(np.asarray(y, np.float64), -0.5, 0.5), nan=-0.5)
        level = np.floor((y + 0.5) * self.levels)
        return (np.minimum(level, self.levels - 1) * self.step).astype(np.uint8)

    def validate(self, x: Tensor) -> Tensor:
        """Return `x` as uint8 images. Raises ValueError for NaN, fractions, and values out of range."""
        return validate_images(x, self.stored_levels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": None if self.n_bits else self.levels}
