"""What every trained model gets alike: steps, batches, optimizer, and the choice of its weights."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Budget:
    """`steps` of Adam on `batch` rows, the rate falling from `rate` to 0 by a cosine, gradients clipped to norm `clip`.

    Every `every` steps the model is scored on the rows for validation; it is tested with the weights that were best.
    """

    steps: int = 2000
    batch: int = 256
    rate: float = 1e-3
    clip: float = 5.0
    every: int = 100
    epsilon: float = 1e-8  # Adam's, of which libraries have different ones

    def batches(self, rows, seed):
        """(steps, batch) places of rows: each is taken once before any is taken twice."""
        rng, wanted = np.random.default_rng([seed, 1]), self.steps * self.batch
        passes = [rng.permutation(rows) for _ in range(-(-wanted // rows))]
        return np.concatenate(passes)[:wanted].reshape(self.steps, self.batch)

    def rate_at(self, step):
        """As a part of `rate`."""
        return 0.5 * (1 + np.cos(np.pi * step / self.steps))


class Best:
    """The weights that scored best, and after how many steps."""

    score, step, weights = -np.inf, 0, None

    def offer(self, score, step, weights):
        """`weights` is a function: only what is best so far is copied."""
        if score > self.score:
            self.score, self.step, self.weights = float(score), step, weights()
