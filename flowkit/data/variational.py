"""Variational dequantisation: the noise that makes whole values continuous is learned."""

import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import BijectorSpec, Context, ContractError, Domain, FlowLayer, Shape, Tensor, sum_event
from flowkit.contract.arguments import instance, whole
from flowkit.contract.checks import refuse_noise
from flowkit.contract.conditioner import Network, adapt_conditioner, ask
from flowkit.contract.configured import one_line
from flowkit.contract.inside import build_for
from flowkit.contract.shapes import event_size
from flowkit.data.dequantize import Dequantize, Levels

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
    __repr__ = one_line

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
        self.spec = BijectorSpec(
            domain=Domain.whole(0, self.stored_levels - 1),
            noise="forward",
            likelihood="bound",
            log_det_error=256.0 * self.levels,  # of u rounding leaves `levels` epsilons, of its logit less
        )

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
        eps = self._as_density(ops.reshape(noise, ops.shape(x)))
        logit, log_det = self.density.run(eps, self._context(self._level(x)), inverse=False)
        u = ops.cast(_TOP * ops.sigmoid(logit), self.compute_dtype)
        volume = self.log_volume(event_size(x.shape))
        return (self._level(x) + u) / self.levels - 0.5, volume - self._log_q(eps, logit, log_det)

    def _inverse(self, y):
        x, volume = super()._inverse(y)
        level = self._level(x)
        logit = self._logit(y, level)
        eps, log_det = self.density.run(logit, self._context(level), inverse=True)
        return x, volume + self._log_q(eps, logit, -log_det)

    def _log_q(self, eps, logit, log_det):
        """Return log q(u | x), (batch,), of u = (1 - 2^-16) sigmoid(logit); `log_det` is that from eps to the logit."""
        log_normal = -0.5 * (eps * eps + math.log(2 * math.pi))
        log_slope = ops.log_sigmoid(logit) + ops.log_sigmoid(-logit) + math.log(_TOP)  # of u
        log_q = sum_event(log_normal - log_slope) - log_det
        return ops.cast(log_q, self.compute_dtype)

    def _level(self, x):
        return ops.floor(x / self.step) if self.step > 1 else x

    def _logit(self, y, level):
        """Return the logit of u of continuous values, which rounding must not take to 0 or 1."""
        tiny = np.finfo(keras.backend.standardize_dtype(y.dtype)).eps.item()
        u = self._as_density(ops.clip(((y + 0.5) * self.levels - level) / _TOP, tiny, 1 - tiny))
        return ops.log(u) - ops.log1p(-u)

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
        eps = self._as_density(ops.reshape(noise, ops.shape(x)))
        self.density.run_adapt(eps, self._context(level), again)

    def run_adapt_inverse(
        self, z: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> None:
        level = self._level(super()._inverse(z)[0])
        adapt_conditioner(self.embedding, self._image(level), None, again)
        self.density.run_adapt_inverse(self._logit(z, level), self._context(level), again)

    @property
    def refreshes(self) -> bool:
        return self.density.refreshes

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        eps = self._as_density(ops.reshape(noise, ops.shape(x)))
        self.density.run_refresh(eps, self._context(self._level(x)))
