"""Noise as a function of the seed and of each sample's index alone, and continuous values of stored ones."""

import math
from typing import Any

import numpy as np
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.call import Call
from flowkit.contract.checks import per_sample
from flowkit.contract.noise import Needs, drawn, needs_for
from flowkit.data.dequantize import Dequantize
from flowkit.engines import engine

# Dequantisation, forward and the way back draw from separate streams.
_STREAMS = {"dequantize": 0, "forward": 1, "inverse": 2}


def counted(
    needs: Needs, start: int, stop: int, *, seed: int = 0, draw: int = 0, stream: str = "dequantize"
) -> np.ndarray | None:
    """Return the numbers of samples start..stop, float32 (stop - start, k); None for no needs.

    They depend neither on the batch size nor on the engine. Philox is a counter-based generator (Salmon et al., 2011):
    sample i owns its own stretch of the counter. `draw` is the number of the draw for the same samples.

    >>> from flowkit.contract.noise import Need
    >>> whole = counted((Need("normal", 3),), 0, 10)
    >>> bool((counted((Need("normal", 3),), 4, 10) == whole[4:]).all())
    True
    """
    if not needs:
        return None
    seed = whole_number(seed, "seed", least=0, most=2**64 - 1)
    sizes = [size if kind == "uniform" else 2 * math.ceil(size / 2) for kind, size in needs]
    blocks = -(-sum(sizes) // 4)  # one count of Philox gives four 64-bit numbers
    bits = np.random.Philox(key=np.array([seed, draw + (_STREAMS[stream] << 62)], "uint64"))
    bits.advance(start * blocks)
    numbers = np.random.Generator(bits).random((stop - start, 4 * blocks))
    pieces, first = [], 0
    for (kind, size), taken in zip(needs, sizes, strict=True):
        piece = numbers[:, first : first + taken]
        pieces.append(_uniform(piece) if kind == "uniform" else _normal(piece)[:, :size])
        first += taken
    return np.concatenate(pieces, axis=1)


def counted_for(flow, shape, start, *, inverse, seed=0, draw=0):
    """Return the numbers that a flow's bijector needs for rows `start` and following; None for no needs.

    `shape` is that of the direction's input, (rows, *event).
    """
    needs = needs_for(flow.bijector, tuple(shape), inverse=inverse)
    stream = "inverse" if inverse else "forward"
    return counted(needs, start, start + shape[0], seed=seed, draw=draw, stream=stream)


def _uniform(numbers):
    """Round to float32, below 1, which rounding may reach and a uniform number may not."""
    return np.minimum(numbers.astype("float32"), np.float32(1 - 2**-24))


def _normal(uniform):
    """Return as many standard normal numbers: sqrt(-2 ln(1 - u)) cos and sin of 2 pi v (Box & Muller, 1958)."""
    u, v = np.split(uniform, 2, axis=1)
    radius, angle = np.sqrt(-2 * np.log1p(-u)), 2 * np.pi * v
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype("float32")


# Dequantisation


def varies(dequantize: Any) -> bool:
    """Return True if the dequantizer's log-det differs from row to row, so that it must be computed."""
    if dequantize is None:
        return False
    return not (isinstance(dequantize, Dequantize) and dequantize.spec.log_det == "constant")


def refuse_varying(dequantize: Any, what: str) -> None:
    """Raise ValueError if `what` would leave out the dequantizer's log-det."""
    if varies(dequantize):
        raise ValueError(
            f"{what}: got {shown(dequantize)}, whose log-det varies, expected Dequantize() or none. Only log_prob of "
            "stored values includes a varying log-det."
        )


def continuous(flow: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return (continuous values of `x`, the dequantizer's part of log_prob or None if it is constant)."""
    dequantize = flow.dequantize
    if dequantize is None:
        return x, None
    seeds = dequantize.noise if isinstance(dequantize, Dequantize) else flow.noise
    needs = dequantize.noise_needs(x.shape, inverse=False)
    noise = drawn(needs, ops.shape(x)[0], dequantize.compute_dtype, seeds)
    y, log_det = dequantize.run(ops.cast(x, dequantize.compute_dtype), Call(), noise)
    return y, per_sample(dequantize, log_det, y) if varies(dequantize) else None


def dequantized(flow: Any, x: np.ndarray, start: int = 0, *, seed: int = 0, draw: int = 0) -> tuple[Any, Any]:
    """Return (continuous values of samples `start` and following, the log-det (rows,) or None if it is constant)."""
    if flow.dequantize is None:
        return x, None
    needs = flow.dequantize.noise_needs(x.shape, inverse=False)
    y, log_det = _with_noise(flow.dequantize, x, counted(needs, start, start + len(x), seed=seed, draw=draw))
    return y, log_det if varies(flow.dequantize) else None


def undithered(flow: Any, x: np.ndarray) -> np.ndarray:
    """Return the middles of the bins of `x`; with another dequantizer the values for the middle of its noise."""
    if flow.dequantize is None:
        return x
    if isinstance(flow.dequantize, Dequantize):  # its noise may follow the data, to near the ends of a bin
        with engine.no_grad():
            return ops.convert_to_numpy(flow.dequantize.within(x, np.full(x.shape, 0.5, "float32")))
    needs = flow.dequantize.noise_needs(x.shape, inverse=False)
    middles = [
        np.full((len(x), size), {"uniform": 0.5, "normal": 0.0}[kind], "float32") for kind, size in needs
    ]
    return _with_noise(flow.dequantize, x, np.concatenate(middles, axis=1))[0]


def _with_noise(dequantize, x, noise):
    with engine.no_grad():
        return tuple(ops.convert_to_numpy(part) for part in dequantize(x, noise=noise))
