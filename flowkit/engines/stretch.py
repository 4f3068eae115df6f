"""Parts whose backward pass runs them once more, with the values of their weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras


class Stretch(NamedTuple):
    """Parts that run one after another: once (`n` is None), or n times with a row of each value per pass.

    - `variables`: for each part the variables it reads.
    - `values`: their values, in the same nesting; each has a leading axis of size n if `n` is given.
    - `looped`: an engine that compiles makes a loop of the n times, also where it would rather have them in a row.
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
