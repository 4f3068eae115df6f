"""The noise of an answer: a function of the seed and of each sample's index alone."""

import math
from typing import Any

import numpy as np

from flowkit.contract.arguments import whole_number
from flowkit.contract.noise import Needs

# What is drawn for dequantisation, forward and on the way back has nothing in common.
_STREAMS = {"dequantize": 0, "forward": 1, "inverse": 2}


def counted(
    needs: Needs, start: int, stop: int, *, seed: int = 0, draw: int = 0, stream: str = "dequantize"
) -> np.ndarray | None:
    """The numbers of samples start..stop, float32 (stop - start, k); None for no needs.

    So an answer depends neither on the batch size nor on the engine. Philox is a counter-based generator (Salmon et
    al., 2011): sample i owns its own stretch of the counter. `draw` is the number of the draw for the same samples.

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


def counted_for(
    flow: Any, shape: tuple[int, ...], start: int, *, inverse: bool, seed: int = 0, draw: int = 0
) -> Any:
    """The numbers that the bijector of a flow needs for rows `start` and following; None for none.

    `shape` is that of what the direction is given, (rows, *event).
    """
    layer = flow.bijector
    if not layer.spec.draws(inverse=inverse):
        return None
    x_shape = layer.compute_inverse_shape(tuple(shape)) if inverse else tuple(shape)
    stream = "inverse" if inverse else "forward"
    return counted(
        layer.noise_needs(x_shape, inverse=inverse),
        start,
        start + shape[0],
        seed=seed,
        draw=draw,
        stream=stream,
    )


def _uniform(numbers):
    """As float32. Rounding may reach 1, which a uniform number may not."""
    return np.minimum(numbers.astype("float32"), np.float32(1 - 2**-24))


def _normal(uniform):
    """Standard normal numbers, as many: sqrt(-2 ln(1 - u)) times the cosine and sine of 2 pi v (Box & Muller, 1958)."""
    u, v = np.split(uniform, 2, axis=1)
    radius, angle = np.sqrt(-2 * np.log1p(-u)), 2 * np.pi * v
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype("float32")
