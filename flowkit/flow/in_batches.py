"""Running a function over many rows, one batch at a time."""

import numpy as np
from keras import ops, tree

from flowkit.engines import engine

_ENTRIES = 2**18  # of one batch, if the caller does not say: about 330 images of 28x28


def default_batch_size(event_size):
    """How many events one batch holds when the caller does not say: fewer, the larger they are."""
    return max(1, _ENTRIES // max(1, event_size))


def count(context):
    """How many rows a context, an array or a dict of arrays, has."""
    return len(tree.flatten(context)[0])


def run_in_batches(function, rows, count, batch_size):
    """`function(start, stop, piece)` for consecutive pieces of `rows`, as numpy arrays put together.

    `rows` is an array, or a dict or tuple of arrays, of `count` rows each; None entries stay None. What is sliced
    as an array is, and has its shape and dtype, will do. What a batch leaves behind is numpy, in the place where it
    stays: memory beside the answer is flat in the number of batches. The last piece is filled up with its own last
    row, so that an engine that compiles does so once; if it is the only one, up to the next of few sizes.
    """
    if count == 0:  # some engines' kernels cannot run on nothing
        dummy = tree.map_structure(
            lambda a: None if a is None else np.zeros((1, *a.shape[1:]), a.dtype), rows
        )
        return tree.map_structure(lambda a: a[:0], run_in_batches(function, dummy, 1, 1))
    answer = None
    size = batch_size if count > batch_size else min(batch_size, one_of_few(count))
    for start in range(0, count, batch_size):
        stop = min(start + batch_size, count)
        missing = start + size - stop
        piece = map_leaves(lambda a: padded(a[start:stop], missing), rows)  # noqa: B023
        result = function(start, stop + missing, piece)
        result = map_leaves(lambda t: ops.convert_to_numpy(t)[: stop - start], result)  # noqa: B023
        if stop - start == count:
            return result
        if answer is None:
            answer = tree.map_structure(lambda a: np.empty((count, *a.shape[1:]), a.dtype), result)
        for whole, part in zip(tree.flatten(answer), tree.flatten(result), strict=True):
            whole[start:stop] = part
    return answer


def one_of_few(count):
    """The next size from `count` up of 1, 2, 4, 8, 16, 20, 24, 28, 32, 40, ... if the engine compiles for each size."""
    if not engine.compiles_answers():
        return count
    step = 1 << max(0, (count - 1).bit_length() - 3)
    return 1 << (count - 1).bit_length() if count <= 16 else -(-count // step) * step


def map_leaves(function, nest):
    """`function` of each array in a nest of tuples and dicts; None stays None. Keras's takes 30 us to look at one."""
    if nest is None:
        return None
    if isinstance(nest, tuple):
        return tuple(map_leaves(function, part) for part in nest)
    if isinstance(nest, dict):
        return {key: map_leaves(function, part) for key, part in nest.items()}
    return function(nest)


def padded(rows, missing):
    """Return rows with the last one repeated `missing` times more."""
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
