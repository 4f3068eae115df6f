"""Dequantisation: from whole pixel values to continuous ones and back, by uniform, Gaussian or learned noise."""

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import keras
import numpy as np
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
from flowkit.contract.arguments import Positive, Seed, instance, whole
from flowkit.contract.call import Call
from flowkit.contract.checks import refuse_noise
from flowkit.contract.conditioner import Network, adapt_conditioner, ask
from flowkit.contract.inside import build_for
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

    _kept_as: ClassVar = {"levels": "_given_levels"}

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
        self._given_levels = levels
        self.seed = seed
        self.noise = keras.random.SeedGenerator(self.seed)  # of training
        self.spec = BijectorSpec(
            domain=Domain.whole(0, self.stored_levels - 1),
            log_det="constant",
            noise="forward",
            likelihood="bound",
        )

    @property
    def step(self) -> float:
        """Return the number of stored values in one level: 2^(8 - n_bits)."""
        return self.stored_levels // self.levels

    noise_kind = "uniform"

    def noise_size(self, x_shape: Shape) -> int:
        return event_size(x_shape)

    def is_lossy(self, *, inverse: bool) -> bool:
        return inverse or self.step > 1

    def _forward(self, x, noise):
        return self.within(x, noise), self.log_volume(event_size(x.shape))

    def within(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return y of stored values and of u in [0, 1), of as many entries; u = 1/2 is the middle of the bins."""
        noise = ops.reshape(ops.cast(noise, self.compute_dtype), ops.shape(x))
        x = self._level(ops.cast(x, self.compute_dtype))
        # In float32 a value above 127 plus noise close to 1 may round to the next value.
        return (x + ops.clip(noise, 0.0, 1 - 2**-16)) / self.levels - 0.5

    def _level(self, x):
        return ops.floor(x / self.step) if self.step > 1 else x

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
        level = np.nan_to_num(np.floor((np.asarray(y, np.float64) + 0.5) * self.levels))
        return (np.clip(level, 0, self.levels - 1) * self.step).astype(np.uint8)

    def validate(self, x: Tensor) -> Tensor:
        """Return `x` as uint8 images, also none. Raises ValueError for NaN, fractions, and values out of range."""
        shape = tuple(getattr(x, "shape", ()))
        if len(shape) == 4 and shape[0] == 0 and 0 not in shape[1:]:
            return np.zeros(shape, "uint8")
        return validate_images(x, self.stored_levels)


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
        self.spec = replace(self.spec, likelihood="estimated")

    def _forward(self, x, noise):
        y = self.within(x, ops.full_like(x, 0.5, dtype=self.compute_dtype))
        noise = ops.reshape(ops.cast(noise, y.dtype), ops.shape(x))
        return y + self.std * noise, self.log_volume(event_size(x.shape))


_TOP = 1 - 2**-16  # of the noise; a minimum in its place would be flat, with a log-det of -inf


@keras.saving.register_keras_serializable("flowkit")
class VariationalDequantize(Dequantize):
    """y = (floor(x / 2^(8 - n_bits)) + u) / levels - 1/2, u ~ q(u | x): u = (1 - 2^-16) sigmoid(f(eps; x)), eps normal.

    log P(x) >= E[log p(y) - log q(u | x)] - D ln(levels), D entries to an event, tighter than that of `Dequantize` once
    f is trained: q can be the flow's own posterior, which is smooth where uniform noise has edges. Several draws give
    the importance-weighted bound, `flow.log_prob(x, samples=k)`, as for any dequantisation.

    - `density`: f, a bijector of the real numbers, in whose forward direction u is drawn. If it reads a context, that
      is the image in [-1/2, 1/2), or what `embedding`, a network of this image, makes of it.
    - `n_bits`, `levels`: as in `Dequantize`.

    Takes events of any shape that `density` takes. Raises TypeError if `density` is no bijector, ContractError if it
    draws itself, or does not map the real numbers onto themselves. Ho, Chen, Srinivas, Duan & Abbeel, Flow++ (2019),
    section 3.1; Hoogeboom, Cohen & Tomczak, Learning Discrete Distributions by Dequantization (2020).

    >>> from flowkit.bijectors import Coupling
    >>> from flowkit.conditioners import ConvNet
    >>> noise = Coupling(ConvNet(8, context="required"), split="checkerboard")
    >>> layer = VariationalDequantize(noise).adapt(ops.ones((8, 4, 4, 1)), noise=keras.random.normal((8, 16)))
    >>> y, _ = layer(ops.full((2, 4, 4, 1), 255.0), noise=ops.zeros((2, 16)))
    >>> layer.as_stored(ops.convert_to_numpy(y)).min()
    np.uint8(255)
    """

    noise_kind = "normal"

    def __init__(
        self,
        density: Annotated[FlowLayer, instance(FlowLayer, "a bijector")],
        embedding: Network = None,
        *,
        n_bits: Annotated[int, whole(1, 8)] | None = 8,
        levels: Levels | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_bits, levels=levels, **{"dtype": None, **kwargs})  # that of its density
        spec = density.spec
        if spec.noise != "none" or not spec.domain == spec.codomain == Domain.REAL:
            wanted = "a bijector from the real numbers onto them that draws nothing"
            raise ContractError("density", self, expected=wanted, received=f"{density!r}")
        self.density, self.embedding = density, embedding
        # Of u rounding leaves `levels` epsilons, of its logit less.
        self.spec = replace(self.spec, log_det="varying", log_det_error=256.0 * self.levels)

    def build(self, x_shape: Shape) -> None:
        context = tuple(x_shape)
        if self.embedding is not None:
            build_for(self.embedding, context)
            context = tuple(self.embedding.compute_output_shape(context))
        self.density._check_shape(x_shape)
        self.density.build_for(x_shape, context)
        refuse_noise(self, self.density)

    def _forward(self, x, noise):
        x = ops.cast(x, self.compute_dtype)
        eps = self._latents(x, noise)
        logit, log_det = self.density.run(eps, Call(self._context(self._level(x))))
        u = ops.cast(_TOP * ops.sigmoid(logit), self.compute_dtype)
        volume = self.log_volume(event_size(x.shape))
        return (self._level(x) + u) / self.levels - 0.5, volume - self._log_q(eps, logit, log_det)

    def _inverse(self, y):
        x, volume = super()._inverse(y)
        level = self._level(x)
        logit = self._logit(y, level)
        eps, log_det = self.density.run(logit, Call(self._context(level), inverse=True))
        return x, volume + self._log_q(eps, logit, -log_det)

    def _log_q(self, eps, logit, log_det):
        """Return log q(u | x), (batch,), of u = (1 - 2^-16) sigmoid(logit); `log_det` is that from eps to the logit."""
        log_normal = -0.5 * (eps * eps + math.log(2 * math.pi))
        log_slope = ops.log_sigmoid(logit) + ops.log_sigmoid(-logit) + math.log(_TOP)  # of u
        log_q = sum_event(log_normal - log_slope) - log_det
        return ops.cast(log_q, self.compute_dtype)

    def _logit(self, y, level):
        """Return the logit of u of continuous values, which rounding must not take to 0 or 1."""
        tiny = np.finfo(keras.backend.standardize_dtype(y.dtype)).eps.item()
        u = self._as_density(ops.clip(((y + 0.5) * self.levels - level) / _TOP, tiny, 1 - tiny))
        return ops.log(u) - ops.log1p(-u)

    def _latents(self, x, noise):
        """Return the flat `noise` as latents of `density`, for events like `x`."""
        return self._as_density(ops.reshape(noise, ops.shape(x)))

    def _as_density(self, x):
        """Return `x` in the precision of `density`, which may have more digits than pixels."""
        return ops.cast(x, self.density.compute_dtype)

    def _image(self, level):
        return level / self.levels - 0.5

    def _context(self, level):
        """Return what `density` is conditioned on; None for nothing."""
        if self.density.spec.context == "none":
            return None
        image = self._image(level)
        if self.embedding is None:
            return self._as_density(image)
        return ask(self.embedding, image, None, self.density.compute_dtype)

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        level = self._level(x)
        adapt_conditioner(self.embedding, self._image(level), None, again)
        self.density.run_adapt_alone(self._latents(x, noise), self._context(level), again)

    @property
    def refreshes(self) -> bool:
        return self.density.refreshes

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        self.density.run_refresh(self._latents(x, noise), self._context(self._level(x)))
