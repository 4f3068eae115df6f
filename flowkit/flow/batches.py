"""Arrays of rows: take them as numbers, and run a function over them, one batch at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops, tree

from flowkit.contract.arguments import shown, whole_number
from flowkit.engines import engine, plain_array

_ENTRIES = 2**18  # of one batch by default: about 330 images of 28x28


def is_array(x: Any) -> bool:
    """Return True for numpy arrays and tensors, False for data sets."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def real_numbers(given: Any, what: str = "data", hint: str = "") -> np.ndarray:
    """Return `given` as a numpy array of real numbers, batch first.

    Raises ValueError for masked entries, text, dates and ragged lists.
    """
    masked = np.ma.is_masked(given)
    try:
        array = plain_array(ops.convert_to_numpy(given), what)
        array = array.astype("float64") if array.dtype.kind == "O" else array
    except (TypeError, ValueError, RuntimeError):  # ragged, symbolic, or objects that are no numbers
        array = np.asarray(None)
    if array.ndim and array.dtype.kind in "biuf" and not masked:
        return array
    if masked:
        got, hint = "a masked array", " Drop the masked rows, or fill them in, x.filled(value)."
    elif isinstance(given, np.ndarray) and given.ndim:
        got = f"an array of {given.dtype}, shape {given.shape}"
    else:
        got = " ".join(shown(given).split())
    raise ValueError(f"Flow: got {got}, expected {what} as an array of numbers, batch first.{hint}")


def default_batch_size(event_size: int) -> int:
    """Return how many events one batch holds by default."""
    return max(1, _ENTRIES // max(1, event_size))


def batch_size_of(flow: Any, size: Any) -> int:
    """Return `size` checked, or the default for events of the flow."""
    if size is None:
        return default_batch_size(math.prod(flow._event()))
    return whole_number(size, "batch_size", least=1)


def count(rows: Any) -> int:
    """Return the number of rows of an array, or of the arrays of a nest."""
    while isinstance(rows, tuple | dict):
        rows = next(iter(rows.values() if isinstance(rows, dict) else rows))
    return len(rows)


def run_in_batches(flow: Any, function: Callable[..., Any], rows: Any, batch_size: int | None = None) -> Any:
    """Return `function(start, stop, piece)` for consecutive pieces of `rows`, concatenated as numpy arrays.

    `rows` is an array, or a dict or tuple of arrays, of as many rows each; None entries stay None. Anything that can be
    sliced and has a shape and a dtype will do. Results become numpy at once, so that memory beside them does not grow
    with the number of batches. The last piece is padded with its last row, so that an engine that compiles does so
    once; a single piece is padded to the next of few sizes.
    """
    batch_size, total = batch_size_of(flow, batch_size), count(rows)
    if total == 0:  # some engines' kernels cannot run on nothing
        dummy = map_leaves(lambda a: np.zeros((1, *a.shape[1:]), a.dtype), rows)
        return head(run_in_batches(flow, function, dummy, 1), 0)
    whole: Any = None
    size = batch_size if total > batch_size else min(batch_size, one_of_few(total))
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        missing = start + size - stop
        piece = map_leaves(lambda a: padded(a[start:stop], missing), rows)  # noqa: B023
        result = function(start, stop + missing, piece)
        result = map_leaves(lambda t: ops.convert_to_numpy(t)[: stop - start], result)  # noqa: B023
        if stop - start == total:
            return result
        if whole is None:
            whole = map_leaves(lambda a: np.empty((total, *a.shape[1:]), a.dtype), result)
        for target, part in zip(tree.flatten(whole), tree.flatten(result), strict=True):
            target[start:stop] = part
    return whole


def run(flow: Any, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return `function` of arrays, with a flow's weights, without gradients; compiled if the engine does.

    `options` are constants of the compiled function.
    """
    return flow._compiled_function(function, **options)(*(map_leaves(engine.as_input, a) for a in args))


def one_of_few(count: int) -> int:
    """Return the next of 1, 2, 4, 8, 16, 20, 24, 28, 32, 40, ... if the engine compiles for each size; else `count`."""
    if not engine.compiles_answers():
        return count
    step = 1 << max(0, (count - 1).bit_length() - 3)
    return 1 << (count - 1).bit_length() if count <= 16 else -(-count // step) * step


def padded(rows: Any, missing: int) -> Any:
    """Return rows with the last one repeated `missing` times more."""
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def map_leaves(function: Callable[[Any], Any], nest: Any) -> Any:
    """Return `function` of each array in a nest of tuples and dicts; None stays None. `keras.tree` takes far longer."""
    if nest is None:
        return None
    if isinstance(nest, tuple):
        return tuple(map_leaves(function, part) for part in nest)
    if isinstance(nest, dict):
        return {key: map_leaves(function, part) for key, part in nest.items()}
    return function(nest)


def head(nest: Any, stop: int) -> Any:
    """Return the first `stop` rows of each array in a nest."""
    return map_leaves(lambda part: part[:stop], nest)
