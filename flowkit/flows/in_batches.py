"""Running a function over many rows, one batch at a time."""

import numpy as np
from keras import ops, tree

_ENTRIES = 2**18  # of one batch, if the caller does not say: about 330 images of 28x28


def default_batch_size(event_size):
    """How many events one batch holds when the caller does not say: fewer, the larger they are."""
    return max(1, _ENTRIES // max(1, event_size))


def run_in_batches(function, rows, count, batch_size):
    """`function(start, stop, piece)` for consecutive pieces of `rows`, as numpy arrays put together.

    `rows` is an array, or a dict or tuple of arrays, of `count` rows each; None entries stay None. What is sliced
    as an array is, and has its shape and dtype, will do. What a batch leaves behind is numpy, in the place where it
    stays: memory beside the answer is flat in the number of batches. The last piece is filled up with its own last
    row, so that an engine that compiles does so once.
    """
    if count == 0:  # some engines' kernels cannot run on nothing
        dummy = tree.map_structure(
            lambda a: None if a is None else np.zeros((1, *a.shape[1:]), a.dtype), rows
        )
        return tree.map_structure(lambda a: a[:0], run_in_batches(function, dummy, 1, 1))
    answer = None
    for start in range(0, count, batch_size):
        stop = min(start + batch_size, count)
        missing = start + batch_size - stop if count > batch_size else 0
        piece = map_leaves(lambda a: _slice(a, start, stop, missing), rows)  # noqa: B023
        result = function(start, stop + missing, piece)
        result = map_leaves(lambda t: ops.convert_to_numpy(t)[: stop - start], result)  # noqa: B023
        if stop - start == count:
            return result
        if answer is None:
            answer = tree.map_structure(lambda a: np.empty((count, *a.shape[1:]), a.dtype), result)
        for whole, part in zip(tree.flatten(answer), tree.flatten(result), strict=True):
            whole[start:stop] = part
    return answer


def map_leaves(function, nest):
    """`function` of each array in a nest of tuples and dicts; None stays None. Keras's takes 30 us to look at one."""
    if nest is None:
        return None
    if isinstance(nest, tuple):
        return tuple(map_leaves(function, part) for part in nest)
    if isinstance(nest, dict):
        return {key: map_leaves(function, part) for key, part in nest.items()}
    return function(nest)


def _slice(array, start, stop, missing):
    piece = array[start:stop]
    return np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)]) if missing else piece
