"""Shifts and scales."""

import math
from typing import Annotated

from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Between0And1, Fraction, Positive, words
from flowkit.engines import engine
from flowkit.numerics import softplus
from flowkit.transforms.transform import Transform


class Additive(Transform):
    """y = x + shift, whose log-derivative is 0: volumes stay as they are.

    Dinh, Krueger & Bengio, NICE (2014).

    >>> Additive().forward(1.0, 2.0)
    (3.0, 0.0)
    """

    parameters = 1
    log_det = "zero"

    def prepare(self, h: Tensor) -> Tensor:
        return (h[..., 0, :],)

    def forward(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return x + shift, 0.0

    def inverse(self, y: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return y - shift, 0.0


class Affine(Transform):
    """y = (x + shift) * scale, log dy/dx = log scale, with raw numbers (shift, s).

    `scale` is "sigmoid", sigmoid(s + 2) in (0, 1), as published for Glow: raw numbers of 0 multiply by 0.88;
    "sigmoid2", 2 sigmoid(s) in (0, 2), as published for Jet; or "tanh", exp(b tanh(s / b)) in (e^-b, e^b), b the
    `bound`. Raw numbers of 0 are the identity for the last two. All are bounded above; the published ones have no
    bound below, so that their inverses can overflow at latents unlike those of the data. `min_scale` = m > 0 makes the
    first m + (1 - m) sigmoid(s + 2), whose inverse grows at most by 1/m. `order` says which of the two raw numbers
    comes first ("shift-scale", "scale-shift").

    Raises ValueError for other words, a `min_scale` outside [0, 1), or above 0 without "sigmoid", and a `bound` that
    is not positive, or is given without "tanh". Dinh, Sohl-Dickstein & Bengio, Real NVP (2017); Kingma & Dhariwal,
    Glow (2018); Kolesnikov, Pinto & Tschannen, Jet (2024).

    >>> affine = Affine("tanh")
    >>> y, log_scale = affine.forward(ops.ones((1, 2)), *affine.prepare(ops.zeros((1, 2, 2))))
    >>> ops.convert_to_numpy(y).tolist()
    [[1.0, 1.0]]
    """

    parameters = 2

    def __init__(
        self,
        scale: Annotated[str, words("sigmoid", "sigmoid2", "tanh")] = "sigmoid",
        *,
        min_scale: Fraction = 0.0,
        bound: Positive = 2.0,
        order: Annotated[str, words("shift-scale", "scale-shift")] = "shift-scale",
    ) -> None:
        if min_scale and scale != "sigmoid":
            raise ValueError(f"Affine's min_scale: got {min_scale}, expected 0 for scale={scale!r}.")
        if bound != 2.0 and scale != "tanh":
            raise ValueError(f"Affine's bound: got {bound}, expected 2.0 for scale={scale!r}.")
        self.scale, self.min_scale, self.bound, self.order = scale, min_scale, bound, order

    @property
    def bounded(self) -> bool:
        return self.scale == "tanh" or self.min_scale > 0

    def prepare(self, h: Tensor) -> Tensor:
        first, second = engine.unstack(h, axis=-2)
        shift, s = (first, second) if self.order == "shift-scale" else (second, first)
        return shift, *self._scale_of(s)

    def _scale_of(self, s):
        """Return (log_scale, scale), each by itself: the exp of a logarithm costs more, and is less exact."""
        if self.scale == "sigmoid" and not self.min_scale:
            return engine.log_sigmoid_and_sigmoid(s + 2)
        if self.scale == "sigmoid2":
            log_sigmoid, sigmoid = engine.log_sigmoid_and_sigmoid(s)
            return log_sigmoid + math.log(2), 2 * sigmoid
        if self.scale == "sigmoid":
            scale = self.min_scale + (1 - self.min_scale) * ops.sigmoid(s + 2)
            return ops.log(scale), scale
        log_scale = self.bound * engine.function("tanh", s / self.bound)
        return log_scale, engine.function("exp", log_scale)

    def forward(self, x: Tensor, shift: Tensor, log_scale: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return (x + shift) * scale, log_scale

    def inverse(self, y: Tensor, shift: Tensor, log_scale: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return y / scale - shift, -log_scale


class ScaleShift(Transform):
    """y = x * scale + shift, log dy/dx = log scale, with raw numbers (shift, s).

    `scale` is "softclip", exp(s / (1 + |s| / log(1 / least))), between `least` and 1 / `least`: raw numbers of 0 are
    the identity; or "softplus", log(1 + exp(s)) + `least`, or "sigmoid", sigmoid(s + 2) + `least`, of which no raw
    number is the identity at 0. These are the maps of masked autoregressive flows in zuko and nflows, and of couplings
    in nflows; `Affine` is what flowkit takes by itself.

    Raises ValueError for other words, and for a `least` outside (0, 1). Papamakarios, Pavlakou & Murray, Masked
    Autoregressive Flow (2017).

    >>> affine = ScaleShift("softclip")
    >>> y, log_scale = affine.forward(ops.ones((1, 2)), *affine.prepare(ops.zeros((1, 2, 2))))
    >>> ops.convert_to_numpy(y).tolist()
    [[1.0, 1.0]]
    """

    parameters = 2

    def __init__(
        self,
        scale: Annotated[str, words("softclip", "softplus", "sigmoid")] = "softclip",
        *,
        least: Between0And1 = 1e-3,
    ) -> None:
        self.scale, self.least = scale, least

    def prepare(self, h: Tensor) -> Tensor:
        shift, s = h[..., 0, :], h[..., 1, :]
        if self.scale == "softclip":
            log_scale = soft_clipped(s, -math.log(self.least))
            return shift, log_scale, ops.exp(log_scale)
        scale = (softplus(s) if self.scale == "softplus" else ops.sigmoid(s + 2)) + self.least
        return shift, ops.log(scale), scale

    def forward(self, x: Tensor, shift: Tensor, log_scale: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return x * scale + shift, log_scale

    def inverse(self, y: Tensor, shift: Tensor, log_scale: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return (y - shift) / scale, -log_scale


def soft_clipped(x, bound):
    """Return x / (1 + |x| / bound): between -bound and bound, of slope 1 at 0."""
    return x / (1 + ops.abs(x) / bound)


class Gaussian(Transform):
    """y = (x - mean) exp(-logs), log dy/dx = -logs, with raw numbers (mean, logs).

    x ~ N(mean, exp(logs)^2) becomes y ~ N(0, 1). Raw numbers of 0 are the identity. `min_scale` = m > 0 keeps the
    standard deviations exp(logs) within (m, 1/m): logs becomes L tanh(logs / L) with L = -log m. Without it they are
    free, and overflow far from all that was seen.

    Raises ValueError for a `min_scale` outside [0, 1).

    >>> gaussian = Gaussian()
    >>> h = ops.reshape(ops.convert_to_tensor([1.0, 0.0]), (1, 2, 1))  # mean 1, standard deviation exp(0)
    >>> [float(a[0, 0]) for a in gaussian.forward(ops.full((1, 1), 3.0), *gaussian.prepare(h))]
    [2.0, -0.0]
    """

    parameters = 2

    def __init__(self, *, min_scale: Fraction = 0.0) -> None:
        self.min_scale = min_scale

    @property
    def bounded(self) -> bool:
        return self.min_scale > 0

    def prepare(self, h: Tensor) -> Tensor:
        mean, logs = h[..., 0, :], h[..., 1, :]
        if self.min_scale:
            bound = -math.log(self.min_scale)
            logs = bound * (2 * ops.sigmoid(2 * logs / bound) - 1)  # a tanh, in float64 on JAX too
        return mean, logs

    def forward(self, x: Tensor, mean: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
        return (x - mean) * ops.exp(-logs), -logs

    def inverse(self, y: Tensor, mean: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
        return y * ops.exp(logs) + mean, logs
