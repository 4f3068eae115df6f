"""Steps of a loop: the rows of tensors that they read and write, and the parts that they run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np


class StepWindows:
    """Rows along the first axis; the first `ends[k]` are there after step k, which counts from 0.

    Here all steps have one shape, as compiled loops need. A window is as long as that of the step with the most rows,
    and ends where they do. So it may hold rows of earlier steps, and begin among `padding` more rows that tensors have
    before their first.
    """

    def __init__(self, ends):
        ends = np.array(ends, "int32")
        counts = np.diff(ends, prepend=0)
        self._count = int(counts.max())
        self.padding = 0 if (counts == self._count).all() else self._count
        self._starts = ends - self._count + self.padding

    def cut(self, x, columns=None):
        """Return `x` as `at` takes it; with `columns`, the rows of another tensor, other columns are 0."""
        return x

    def at(self, cut, k):
        """Return the window of step k."""
        sizes = (self._count, *(-1 if size is None else size for size in cut.shape[1:]))
        return keras.ops.slice(cut, self._corner(k, cut), sizes)

    def known(self, x, k):
        """Return the rows of `x` that are there after step k; an engine may return more."""
        return x

    def written(self, x, k, rows):
        """Return `x` with the `rows` of step k, in the type of `x`; it may overwrite `x`, which nothing else reads."""
        return keras.ops.slice_update(x, self._corner(k, x), keras.ops.cast(rows, x.dtype))

    def _corner(self, k, x):
        start = self._start(k)
        zero = 0 if isinstance(k, int) else keras.ops.zeros_like(start)  # of one type, for JAX
        return (start, *(zero,) * (len(x.shape) - 1))

    def _start(self, k):
        return int(self._starts[k]) if isinstance(k, int) else keras.ops.take(self._starts, k)


class Stretch(NamedTuple):
    """Parts that run one after another: once (`n` is None), or n times with a row of each value per pass.

    - `variables`: for each part the variables it reads.
    - `values`: their values, in the same nesting; each has a leading axis of size n if `n` is given.
    - `looped`: make a loop of the n times, as `Engine.scans` says.
    """

    parts: list[Any]
    variables: list[list[keras.Variable]]
    values: list[list[Any]]
    n: int | None
    looped: bool = False


def one_by_one(
    stretches: list[Stretch], inverse: bool, unstack: Callable[[Any], Any]
) -> list[tuple[Any, list[keras.Variable], list[Any]]]:
    """Return (part, variables, values) of every step, in the order in which the direction runs them.

    `unstack` gives the rows of a tensor along its first axis.
    """
    steps: list[Any] = []
    for parts, variables, values, n, _ in stretches:
        if n is None:
            rows = [values]
        else:
            unstacked = [[unstack(value) for value in own] for own in values]
            rows = [[[value[i] for value in own] for own in unstacked] for i in range(n)]
        for row in rows:
            steps += zip(parts, variables, row, strict=True)
    return steps[::-1] if inverse else steps
