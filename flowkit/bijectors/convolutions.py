"""Invertible convolutions with kernels larger than 1x1: emerging and periodic ones."""

import math
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.linear import eye
from flowkit.bijectors.weights import new_weight, rng
from flowkit.contract import Bijector, BijectorSpec, Shape
from flowkit.contract.arguments import Seed, whole_number
from flowkit.engines import engine
from flowkit.numerics import matmul

NOISE = 0.02  # the deviation that taps start with


def odd(value: Any, name: str) -> int:
    """Return the side of a kernel. Raises ValueError unless it is an odd number from 3 to 31."""
    side = whole_number(value, name, least=3, most=31)
    if side % 2 == 0:
        raise ValueError(f"{name}: got {side}, expected an odd number.")
    return side


Side = Annotated[int, odd]


class _Convolution(Bijector):
    """A convolution of images (batch, h, w, c) by a kernel of one size, without a bias."""

    def __init__(self, kernel_size: Side = 3, *, seed: Seed | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.seed = kernel_size, seed

    def _as_kernel(self, kernel):
        """Return a kernel as the engine's convolution takes it."""
        return engine.scaled_kernel(kernel, engine.constant(np.ones, kernel.shape[-1], like=kernel))

    def _convolve(self, x, kernel):
        return engine.convolve(x, kernel, engine.constant(np.zeros, x.shape[-1], like=x))


class EmergingConv(_Convolution):
    """z = exp(t) (y + V' * y), y = exp(s) (x + V * x), where V sees places before its own, and V' those after it.

    Images (batch, h, w, c). Places are in row-major order; of its own place a channel of V sees those before it. So
    both are triangular matrices, log-det = h w sum(s + t), and together they have the receptive field of a plain
    convolution. Taps start near 0, and the map near the identity; it does not mix all channels of a place, so that a
    `Conv1x1` goes with it. The inverse is exact: it finds x place by place, (w + (k + 1) / 2 (h - 1)) passes for a
    kernel of side k, each a convolution.

    Raises ValueError for a `kernel_size` that is no odd number from 3 up. Hoogeboom, van den Berg & Welling, Emerging
    Convolutions for Generative Normalizing Flows (2019).

    >>> z, log_det = EmergingConv(seed=0)(ops.ones((2, 4, 4, 3)))
    >>> tuple(z.shape), float(log_det[0])
    ((2, 4, 4, 3), 0.0)
    """

    spec = BijectorSpec(event_rank=3, log_det="constant", inverse="sequential")

    def build(self, x_shape: Shape) -> None:
        k, channels = self.kernel_size, x_shape[-1]
        self.kernel = new_weight(self, "W", NOISE * rng(self.seed).normal(size=(2, k, k, channels, channels)))
        self.log_scale = self.add_weight(shape=(2, channels), initializer="zeros", name="log_scale")

    def _derive(self, x_shape, inverse):
        kernel, log_scale = self.kernel.value, self.log_scale.value
        side, channels = self.kernel_size, x_shape[-1]
        log_det = math.prod(x_shape[1:-1]) * ops.sum(log_scale, axis=(-2, -1))
        before = kernel * engine.constant(earlier_taps, side, channels, like=kernel)
        p = side // 2
        own = ops.triu(kernel[..., p, p, :, :], 1) + eye(channels, kernel)  # of a place to itself
        if inverse:
            back = engine.solve_triangular(own, eye(channels, kernel) + ops.zeros_like(own), lower=False)
            scale = ops.exp(-log_scale)
            return {"before": self._as_kernel(before), "back": back, "scale": scale, "log_det": -log_det}
        centre = engine.constant(centre_tap, side, like=kernel)
        whole = before + centre * own[..., None, None, :, :]
        return {"kernel": engine.scaled_kernel(whole, ops.exp(log_scale)), "log_det": log_det}

    def _forward(self, x, derived):
        for kernel in engine.unstack(derived["kernel"]):
            x = ops.flip(self._convolve(x, kernel), axis=(1, 2, 3))
        return x, derived["log_det"]

    def _inverse(self, z, derived):
        parts = [engine.unstack(derived[name]) for name in ("before", "back", "scale")]
        for before, back, scale in reversed(list(zip(*parts, strict=True))):
            z = self._solved(ops.flip(z, axis=(1, 2, 3)) * scale, before, back)
        return z, derived["log_det"]

    def _solved(self, y, before, back):
        """Return x with x `own` + V * x = y, `back` the inverse of `own`: after pass k the places up to k are right."""
        height, width = y.shape[1:3]
        reach = self.kernel_size // 2 + 1
        turn = engine.constant(turns, height, width, reach, like=y)

        def one_more(state):
            x, now = state
            found = matmul(y - self._convolve(x, before), back)
            # Others wait as zeros: what they would be otherwise may be without bound.
            return ops.where(turn <= now, found, ops.zeros_like(found)), now + 1

        start = ops.zeros_like(y), ops.zeros_like(turn[0, 0, 0, 0])
        return engine.iterate(one_more, width + reach * (height - 1), start)[0]


def earlier_taps(side, channels):
    """Return 1 for the taps of places before the own one in row-major order, (side, side, channels, channels)."""
    taps = np.arange(side * side).reshape(side, side) < side * side // 2
    return np.broadcast_to(taps[:, :, None, None], (side, side, channels, channels)).astype("float32")


def centre_tap(side):
    """Return 1 for the tap of the own place, (side, side, 1, 1)."""
    return (np.arange(side * side) == side * side // 2).reshape(side, side, 1, 1).astype("float32")


def turns(height, width, reach):
    """Return the pass in which each place can be found, (1, height, width, 1): all that it depends on come before."""
    return (np.arange(width) + reach * np.arange(height)[:, None])[None, :, :, None].astype("float32")


class PeriodicConv(_Convolution):
    """z = W * x with x continued periodically, log-det = sum over frequencies f of log|det W_f|.

    Images (batch, h, w, c). A Fourier transform over places turns the convolution into one matrix (c, c) for each of
    the h w frequencies, W_f = sum_q exp(2 pi i f q) W_q. Log-det and inverse follow from them in real arithmetic,
    exactly; they cost h w c^3 operations for the whole batch. W starts at a random rotation of channels at the place
    itself, plus little noise. Nothing keeps W_f from becoming singular.

    Raises ValueError for a `kernel_size` that is no odd number from 3 up. Hoogeboom, van den Berg & Welling, Emerging
    Convolutions for Generative Normalizing Flows (2019), section 3.2; Finzi, Izmailov, Maddox, Kirichenko & Wilson,
    Invertible Convolutional Networks (2019).

    >>> import keras
    >>> x = keras.random.normal((2, 4, 6, 3), seed=0)
    >>> layer = PeriodicConv(seed=0)
    >>> z, log_det = layer(x)
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - x)) < 1e-4)
    True
    """

    spec = BijectorSpec(event_rank=3, log_det="constant")

    def build(self, x_shape: Shape) -> None:
        k, channels = self.kernel_size, x_shape[-1]
        drawn = rng(self.seed)
        start = NOISE * drawn.normal(size=(k, k, channels, channels))
        start[k // 2, k // 2] = np.linalg.qr(drawn.normal(size=(channels, channels)))[0]
        self.kernel = new_weight(self, "W", start)

    def _derive(self, x_shape, inverse):
        kernel, (height, width, channels) = self.kernel.value, x_shape[1:]
        blocks = self._blocks(kernel, height, width, channels)
        # |det| = |det R|, and each block stands for a complex matrix with the square of its |det|.
        r = ops.qr(blocks)[1]
        log_det = 0.5 * ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=(-2, -1))
        if inverse:
            return {"blocks": ops.inv(blocks), "log_det": -log_det}
        return {"kernel": self._as_kernel(kernel), "log_det": log_det}

    def _blocks(self, kernel, height, width, channels):
        """Return W_f as real matrices ((A, B), (-B, A)) for A + i B, (..., h w, 2 c, 2 c)."""
        taps = engine.reshape(kernel, (*kernel.shape[:-4], self.kernel_size**2, channels**2))
        frequencies = engine.constant(waves, height, width, self.kernel_size, like=kernel)
        real, imaginary = (
            engine.reshape(matmul(wave, taps), (*kernel.shape[:-4], height * width, channels, channels))
            for wave in engine.unstack(frequencies)
        )
        first, second = engine.concatenate([real, imaginary]), engine.concatenate([-imaginary, real])
        return ops.concatenate([first, second], axis=-2)

    def _forward(self, x, derived):
        p = self.kernel_size // 2
        for axis in (1, 2):
            x = ops.take(x, np.arange(-p, x.shape[axis] + p) % x.shape[axis], axis=axis)
        return self._convolve(x, derived["kernel"])[:, p:-p, p:-p], derived["log_det"]

    def _inverse(self, z, derived):
        height, width, channels = z.shape[1:]
        cos, sin = engine.unstack(engine.constant(waves, height, width, like=z))
        flat = engine.reshape(z, (-1, height * width, channels))
        spectrum = engine.concatenate([matmul(cos, flat), -matmul(sin, flat)])  # (batch, h w, 2 c)
        found = engine.transpose(matmul(engine.transpose(spectrum, (1, 0, 2)), derived["blocks"]), (1, 0, 2))
        real, imaginary = engine.split(found, [channels, channels])
        x = (matmul(cos, real) - matmul(sin, imaginary)) / (height * width)
        return engine.reshape(x, (-1, height, width, channels)), derived["log_det"]


def waves(height, width, side=None):
    """Return (cos, sin) of 2 pi f p for each frequency f and each place p, (2, h w, h w).

    With `side`, p is the offset of each tap of a kernel of that side instead, (2, h w, side^2).
    """
    row, column = (part.reshape(-1) for part in np.indices((height, width)))
    down, right = row, column
    if side is not None:
        down, right = (part.reshape(-1) - side // 2 for part in np.indices((side, side)))
    angles = 2 * np.pi * (np.outer(row, down) / height + np.outer(column, right) / width)
    return np.stack([np.cos(angles), np.sin(angles)])
