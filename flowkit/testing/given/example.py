"""One thing to try: an event's shape, weights and points, small enough to print and to replay."""

from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS = 3
"""How many samples one example holds: enough to permute, few enough to be quick."""

SCALES = (1, 4, 16)
"""How many times the usual a weight may move."""

LARGE = (16, 1, 4)


@dataclass(frozen=True)
class Example:
    """Points are `values`, repeated over the entries of the batch, plus `noise` times a normal drawn from `seed`.

    They are real numbers, which `Domain.from_real` carries into the domain that is asked for.
    `seed` also rules the weights and the context; weights move by `scales` times the usual, dealt out to them in turn:
    where some are large, and others are not, bounds and norms are put to the test.

    >>> Example((2,), values=(1.0, -1.0)).real((2,))[0].tolist()
    [1.0, -1.0]
    """

    event: tuple[int, ...]
    seed: int = 0
    noise: float = 0.0
    values: tuple[float, ...] = (0.0,)
    scales: tuple[int, ...] = (1,)

    def real(self, shape: tuple[int, ...]) -> Any:
        """The (ROWS, *shape) array of real numbers."""
        rng = np.random.default_rng([self.seed, 1])
        size = ROWS * int(np.prod(shape))
        t = np.resize(np.asarray(self.values, "float64"), size) + self.noise * rng.normal(size=size)
        return t.reshape(ROWS, *shape)

    def weight(self) -> Any:
        """How simple it is, for choosing the simplest of those that fail: less is simpler."""
        size = int(np.prod(self.event))
        plainness = sum(abs(v) + (v != int(v)) for v in self.values)
        return (
            size,
            len(self.event),
            sum(self.scales),
            len(self.scales),
            self.noise,
            len(self.values),
            plainness,
            self.seed,
        )


def standard(events):
    """What is always tried before anything is drawn: ordinary points for each event, then for each of them repeats and
    zeros, large weights near the origin, where they do not saturate, and far points.
    """
    for event in events:
        yield Example(event, seed=1, noise=1.0)
    for event in events:
        yield Example(event, seed=2, values=(0.0, 1.0))
        yield Example(event, seed=1, noise=0.25, scales=LARGE)
        yield Example(event, seed=3, noise=6.0)
