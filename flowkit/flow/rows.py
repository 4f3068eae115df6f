"""Run functions of a flow over rows of numpy arrays, batch by batch; a row's noise follows from its index alone."""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops, tree

from flowkit.contract import Tensor
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.call import Call
from flowkit.contract.inside import layers_inside
from flowkit.contract.noise import Needs, needs_for
from flowkit.contract.shapes import as_tuple, event_size
from flowkit.data.dequantize import Dequantize
from flowkit.engines import engine

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

_ENTRIES = 2**18  # of one batch by default: about 330 images of 28x28
# Dequantisation, forward and the way back draw from separate streams.
_STREAMS = {"dequantize": 0, "forward": 1, "inverse": 2}


def run_rows(
    flow: "Flow",
    function: Callable[..., Any],
    x: Any,
    context: Any = None,
    *,
    stored: str | None = None,
    volume: bool = False,
    inverse: bool = False,
    seed: int = 0,
    draw: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    **options: Any,
) -> Any:
    """Return `function(x, context, noise)` of all rows as numpy: one of a flow's, without gradients.

    A row's noise is what the bijector needs in this direction. It follows from `seed`, `draw`, the number of the draw
    for the same rows, and the row's index, counted from `first`. `options` are constants of the function.

    `stored` is for checked data, whole values if the flow has a dequantizer: "noise" adds its noise, "middle" takes the
    middle of their bins. `volume` adds the dequantizer's part of log_prob, if it varies, to the answer.
    """
    draws, whole = flow.draws[inverse], flow.dequantize is not None

    def answer(start, stop, piece):
        (x, context), log_det, noise = piece, None, None
        if whole and stored == "middle":
            x = middles(flow, x)
        elif whole and stored == "noise":
            x, log_det = dequantized(flow, x, first + start, seed=seed, draw=draw)
        if draws:
            noise = noise_of_rows(flow, x.shape, first + start, inverse=inverse, seed=seed, draw=draw)
        found = run_without_gradients(flow, function, x, context, noise, **options)
        return ops.convert_to_numpy(found) + log_det if volume and log_det is not None else found

    return in_batches(flow, answer, (x, context), batch_size)


def log_prob_of_rows(flow, x, context, batch_size, seed, samples, first=0):
    """Return log p of checked data, float64: the mean over `samples` draws of the noise, see `Flow.bits_per_dim`.

    A finite row so far out that a layer overflows ends as inf - inf, NaN: its density is 0, and log p is -inf. If a
    weight is NaN or infinite, NaN stays.
    """
    samples = samples if samples > 1 and flow.exact != "exact" else 1
    log_prob = np.empty((samples, len(x)))
    how = {"stored": "noise", "volume": True, "seed": seed, "first": first, "batch_size": batch_size}
    for draw in range(samples):
        log_prob[draw] = run_rows(flow, flow._log_density, x, context, draw=draw, **how)
    overflown = np.isnan(log_prob)
    if overflown.any() and all(np.isfinite(weight).all() for weight in flow.get_weights()):
        log_prob[overflown] = -np.inf
    if samples == 1:
        return log_prob[0]
    if any("estimated" in word for word in likelihoods(flow)):
        return log_prob.mean(axis=0)
    return np.logaddexp.reduce(log_prob) - math.log(samples)


def likelihoods(flow):
    """Return the words of the specs for what the log-dets of a flow's parts are, as a set."""
    return {part.spec.likelihood for part in (flow.bijector, flow.dequantize) if part is not None}


def in_bits(log_prob: np.ndarray, shape: Any) -> np.ndarray:
    """Return -log_prob / (D ln 2), D the entries of an event of data of this shape."""
    return -log_prob / (event_size(shape) * math.log(2))


def default_batch_size(event_size: int) -> int:
    """Return how many events one batch holds by default."""
    return max(1, _ENTRIES // max(1, event_size))


def count(rows: Any) -> int:
    """Return the number of rows of an array, or of the arrays of a nest."""
    while isinstance(rows, tuple | dict):
        rows = next(iter(rows.values() if isinstance(rows, dict) else rows))
    return len(rows)


def in_batches(flow: "Flow", function: Callable[..., Any], rows: Any, batch_size: int | None = None) -> Any:
    """Return `function(start, stop, piece)` for consecutive pieces of `rows`, concatenated as numpy arrays.

    `rows` is an array, or a dict or tuple of arrays, of as many rows each; None entries stay None. Anything that can be
    sliced and has a shape and a dtype will do. Results become numpy at once, so that memory beside them does not grow
    with the number of batches. The last piece is padded with its last row, so that an engine that compiles does so
    once; a single piece is padded to the next of few sizes.
    """
    total = count(rows)
    if batch_size is None:
        batch_size = flow.rows_of_a_batch
    else:
        whole_number(batch_size, "batch_size", least=1)
    if total == 0:  # some engines' kernels cannot run on nothing
        dummy = map_leaves(lambda a: np.zeros((1, *a.shape[1:]), a.dtype), rows)
        return head(in_batches(flow, function, dummy, 1), 0)
    size = batch_size if total > batch_size else min(batch_size, one_of_few(total))
    if total == size:
        piece = map_leaves(np.asarray, rows)  # reads images that stay on the disk
        return map_leaves(ops.convert_to_numpy, function(0, total, piece))
    whole: Any = None
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        missing = start + size - stop
        piece = map_leaves(lambda a: padded(a[start:stop], missing), rows)  # noqa: B023
        result = function(start, stop + missing, piece)
        result = map_leaves(lambda t: ops.convert_to_numpy(t)[: stop - start], result)  # noqa: B023
        if whole is None:
            whole = map_leaves(lambda a: np.empty((total, *a.shape[1:]), a.dtype), result)
        for target, part in zip(tree.flatten(whole), tree.flatten(result), strict=True):
            target[start:stop] = part
    return whole


def run_without_gradients(flow: "Flow", function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return `function` of arrays, with a flow's weights, without gradients; compiled if the engine does.

    `options` are constants of the compiled function.
    """
    return flow._inference_function(function, **options)(*map_leaves(engine.as_input, args))


def one_of_few(count: int) -> int:
    """Return the next of 1, 2, 4, 8, 16, 20, 24, 28, 32, 40, ... if the engine compiles for each size; else `count`."""
    if not engine.compiles_inference:
        return count
    step = 1 << max(0, (count - 1).bit_length() - 3)
    return 1 << (count - 1).bit_length() if count <= 16 else -(-count // step) * step


def padded(rows: Any, missing: int) -> Any:
    """Return rows with the last one repeated `missing` times more."""
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def inference_functions(flow: "Flow") -> Callable[..., Any]:
    """Return (function, **options) -> a flow's function without gradients, compiled if the engine compiles; keep 32."""
    # A layer of another package may add losses or draw from a generator of its own.
    layers = list(layers_inside(flow))
    foreign = {type(layer).__module__.partition(".")[0] for layer in layers} - {"flowkit", "keras"}
    changes = bool(foreign) or any(getattr(layer, "activity_regularizer", None) for layer in layers)
    # A bound method is the same each time, so that it is compiled once; a closure is not.
    return functools.lru_cache(maxsize=32)(
        lambda function, **options: engine.inference_function(
            functools.partial(function, **options), flow, changes=changes
        )
    )


def map_leaves(function: Callable[[Any], Any], nest: Any) -> Any:
    """Return `function` of each array in a nest of tuples and dicts; None stays None. `keras.tree` takes far longer."""
    if nest is None:
        return None
    if isinstance(nest, tuple):
        return tuple(map(functools.partial(map_leaves, function), nest))
    if isinstance(nest, dict):
        return {key: map_leaves(function, part) for key, part in nest.items()}
    return function(nest)


def head(nest: Any, stop: int) -> Any:
    """Return the first `stop` rows of each array in a nest."""
    return map_leaves(lambda part: part[:stop], nest)


# Noise


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


def noise_of_rows(flow, shape, start, *, inverse, seed=0, draw=0):
    """Return the numbers that a flow's bijector needs for rows `start` and following; None for no needs.

    `shape` is that of the direction's input, (rows, *event).
    """
    needs = needs_for(flow.bijector, tuple(shape), inverse=inverse)
    stream = "inverse" if inverse else "forward"
    noise = counted(needs, start, start + shape[0], seed=seed, draw=draw, stream=stream)
    return None if noise is None else noise.astype(flow.compute_dtype, copy=False)


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


def dequantized(flow: "Flow", x: np.ndarray, start: int, *, seed: int = 0, draw: int = 0) -> tuple[Any, Any]:
    """Return (continuous values of samples `start` and following, the log-det (rows,) or None if it is constant)."""
    layer = flow.dequantize
    needs = layer.noise_needs(x.shape, inverse=False)
    noise = counted(needs, start, start + len(x), seed=seed, draw=draw)
    with engine.no_grad():
        y, log_det = (ops.convert_to_numpy(part) for part in layer(x, noise=noise))
    return y.astype(flow.compute_dtype, copy=False), log_det if varies(layer) else None


def middles(flow: "Flow", x: np.ndarray) -> np.ndarray:
    """Return `middle_of_bins` of the rows of an array, as numpy; `x` itself without a dequantizer."""
    if flow.dequantize is None:
        return x
    with engine.no_grad():
        y = ops.convert_to_numpy(middle_of_bins(flow.dequantize, ops.convert_to_tensor(x)))
    return y.astype(flow.compute_dtype, copy=False)


def middle_of_bins(dequantize: Any, x: Tensor) -> Tensor:
    """Return the middles of the bins of `x`; of a foreign dequantizer the values for the middle of its noise."""
    x = ops.cast(x, dequantize.compute_dtype)
    if isinstance(dequantize, Dequantize):  # its noise may follow the data, to near the ends of a bin
        return dequantize.within(x, ops.full_like(x, 0.5))
    noise = middle_noise(dequantize.noise_needs(as_tuple(x.shape), inverse=False), x)
    return dequantize.run(x, Call(log_det=False), noise)[0]


def middle_noise(needs: Needs, x: Tensor) -> Tensor | None:
    """Return the middle of each number's distribution, as many rows as `x` has, also in a graph; None for no needs."""
    if not needs:
        return None
    middle = {"uniform": 0.5, "normal": 0.0}
    row = np.concatenate([np.full((1, size), middle[kind]) for kind, size in needs], axis=1)
    zeros = ops.reshape(0 * x, (-1, event_size(x.shape)))[:, :1]
    return zeros + ops.convert_to_tensor(row, dtype=x.dtype)
