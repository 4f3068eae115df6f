"""Tempering: draws and the normaliser of a density, by steps from draws of another one."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

from flowkit.flow.weighted import effective, resampled

LogDensity = Callable[[np.ndarray], np.ndarray]
_SHARE = 0.6  # of the draws remain effective in each step
_SWEEPS = 200  # of all steps together, if nothing else limits them
_FREEDOM = 5.0  # of Student's t, whose tails are those of the moves


class Student(NamedTuple):
    """Student's t distribution of vectors with 5 degrees of freedom, by its mean and a root of its covariance.

    >>> found = Student.of(np.random.default_rng(0).normal(size=(5000, 2)))
    >>> bool(abs(found.log_prob(np.zeros((1, 2)))[0] + math.log(2 * math.pi * 3 / 5)) < 0.1)  # df - 2 by df
    True
    """

    mean: np.ndarray
    root: np.ndarray  # lower triangular

    @classmethod
    def of(cls, rows: np.ndarray, inflate: float = 1.0) -> "Student":
        """Return the distribution with the moments of rows (n, d), its covariance multiplied by `inflate`."""
        mean = rows.mean(axis=0)
        covariance = np.atleast_2d(np.cov(rows.T))
        # A floor for each variance, so that rows on a line have a root too.
        floor = 1e-9 * np.diag(covariance) + 1e-12 * np.diag(covariance).max() + 1e-300
        return cls(mean, np.linalg.cholesky(inflate * (covariance + np.diag(floor))))

    def steps(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` draws less the mean, (n, d)."""
        normal = rng.normal(size=(n, len(self.mean))) @ self.root.T
        return normal * np.sqrt((_FREEDOM - 2) / rng.chisquare(_FREEDOM, (n, 1)))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` draws, (n, d)."""
        return self.mean + self.steps(n, rng)

    def squares(self, steps: np.ndarray) -> np.ndarray:
        """Return the squared lengths of steps (n, d) in units of the covariance, (n,)."""
        return np.square(linalg.solve_triangular(self.root, steps.T, lower=True)).sum(axis=0)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log p, (n,)."""
        d, df = len(self.mean), _FREEDOM
        constant = (
            math.lgamma(0.5 * (df + d)) - math.lgamma(0.5 * df) - 0.5 * d * math.log((df - 2) * math.pi)
        )
        constant -= np.log(np.diag(self.root)).sum()
        return constant - 0.5 * (df + d) * np.log1p(self.squares(x - self.mean) / (df - 2))


class Tempered(NamedTuple):
    """Draws of p / Z, (n, d), log Z, its standard error, the number of steps, and if the draws moved enough in each."""

    draws: np.ndarray
    log_z: float
    error: float
    steps: int
    mixed: bool


def tempered(
    start: np.ndarray,
    log_base: LogDensity,
    log_ratio: LogDensity,
    rng: np.random.Generator,
    calls: float | None = None,
) -> Tempered:
    """Return draws of b(x) r(x) / Z, as many as there are rows in `start`, which are draws of the density b.

    Sequential Monte Carlo through the densities b r^t: t grows from 0 to 1 such that 0.6 of the draws remain effective
    in each step. They are resampled by r^(t' - t), which estimates the ratio of the normalisers, and then moved by
    Metropolis steps until their log-densities hardly correlate with those before. One half moves by means of the
    other, then the other half: along differences of two draws, which needs no tuning for several modes; by steps of
    Student's t with the covariance; or to draws of Student's t. The moves that go farthest are taken most often.

    `calls`: rows of `log_ratio` at most, about; without it 200 for each draw. Draws that have not moved enough by then
    are not `mixed`. log_ratio only receives rows for which log_base is finite. Raises ValueError if r is 0 for all of
    `start`.

    Del Moral, Doucet & Jasra, Sequential Monte Carlo Samplers (2006); ter Braak, A Markov Chain Monte Carlo Version of
    the Genetic Algorithm Differential Evolution (2006), for the moves.

    >>> rng = np.random.default_rng(0)
    >>> def standard_normal(x):
    ...     return -0.5 * (x**2).sum(axis=1) - 0.5 * math.log(2 * math.pi)
    >>> def near_two(x):
    ...     return -0.5 * ((x - 2.0) ** 2).sum(axis=1)
    >>> found = tempered(rng.normal(size=(2000, 1)), standard_normal, near_two, rng)
    >>> bool(abs(found.draws.mean() - 1.0) < 0.1), bool(abs(found.draws.var() - 0.5) < 0.1)
    (True, True)
    >>> bool(abs(found.log_z + 1 + 0.5 * math.log(2)) < 4 * found.error)
    True
    """
    walkers = _Walkers(np.array(start), log_base, log_ratio)
    if not np.isfinite(walkers.ratio).any():
        raise ValueError(
            f"tempering: got a density of 0 at all {len(start)} draws to begin with, expected more for some. Check the "
            "observation or the density, or begin elsewhere, or with more draws."
        )
    most = _SWEEPS if calls is None else max(1, int(calls / len(start)) - 1)
    power, log_z, variance, steps, sweeps, mixed = 0.0, 0.0, 0.0, 0, 0, True
    while power < 1.0:
        step = _step(walkers.ratio, 1.0 - power)
        weights = np.exp(step * walkers.ratio - step * walkers.ratio.max())
        log_z += float(step * walkers.ratio.max() + np.log(weights.mean()))
        variance += (len(weights) / effective(weights) - 1) / len(weights)
        # Steps grow by about the same factor, so it says how many are left, among which the sweeps are shared out.
        left = math.log(1 / (power + step)) / math.log1p(step / power) if power else 5
        power, steps = min(power + step, 1.0), steps + 1
        walkers.keep(resampled(weights, len(weights), rng))
        share = most - sweeps if power == 1.0 else (most - sweeps) / (left + 3)
        done, moved = walkers.move(power, 0.2 if power == 1.0 else 0.5, int(share), rng)
        sweeps, mixed = sweeps + done, mixed and moved
    return Tempered(walkers.x, log_z, 2 * math.sqrt(variance), steps, mixed)


def _step(ratio, most):
    """Return the largest step, up to `most`, after which the share of effective draws is large enough."""

    def enough(step):
        return effective(np.exp(step * ratio - step * ratio.max())) >= _SHARE * len(ratio)

    if enough(most):
        return most
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return high  # above 0, if the draws of ratio 0 are too many


class _Walkers:
    """Draws with their log b and log r, and how far each kind of move has gone lately."""

    def __init__(self, x, log_base, log_ratio):
        self.x, self.log_base, self.log_ratio = x, log_base, log_ratio
        self.base, self.ratio = log_base(x), log_ratio(x)
        self.gone = np.ones(3)

    def keep(self, rows):
        self.x, self.base, self.ratio = self.x[rows], self.base[rows], self.ratio[rows]

    def move(self, power, wanted, most, rng):
        """Move all until their log-densities correlate less than `wanted` with the first ones.

        Return (sweeps, at most `most`; True if they do).
        """
        before = self.base + power * self.ratio
        for sweep in range(1, most + 1):
            order = rng.permutation(len(self.x))
            halves = order[: len(order) // 2], order[len(order) // 2 :]
            for half, other in (halves, halves[::-1]):
                self._move(half, self.x[other].astype("float64"), power, rng)
            now = self.base + power * self.ratio
            if np.ptp(before) == 0 or np.corrcoef(before, now)[0, 1] < wanted:
                return sweep, True
        return most, False

    def _move(self, half, others, power, rng):
        """Take one Metropolis step with each row of `half`, by means of `others`."""
        (n, d), x = (len(half), self.x.shape[1]), self.x[half].astype("float64")
        student, share = Student.of(others), 0.1 + self.gone / self.gone.sum()
        kind = rng.choice(3, n, p=share / share.sum())
        one, two = others[rng.integers(len(others), size=(2, n))]
        # A whole difference of two draws leads from one mode to another.
        length = np.where(
            rng.random((n, 1)) < 0.1, 1.0, 2.38 / math.sqrt(2 * d) * rng.uniform(0.2, 1.2, (n, 1))
        )
        steps = student.steps(n, rng)
        tiny = 1e-5 * student.steps(n, rng)
        moved = np.choose(
            kind[:, None],
            [x + length * (one - two) + tiny, x + 2.38 / math.sqrt(d) * steps, student.mean + steps],
        ).astype(self.x.dtype)  # before its bounds are checked
        base, ratio = self.log_base(moved), np.full(n, -np.inf)
        if (inside := np.isfinite(base)).any():
            ratio[inside] = self.log_ratio(moved[inside])
        gain = base - self.base[half] + power * (ratio - self.ratio[half])
        gain += np.where(kind == 2, student.log_prob(x) - student.log_prob(moved), 0.0)
        taken = np.log(rng.random(n)) < gain
        squares = np.where(taken, student.squares(moved - x), 0.0)
        now = np.array(
            [squares[kind == number].mean() if (kind == number).any() else 0.0 for number in range(3)]
        )
        self.gone = 0.7 * self.gone + 0.3 * now + 1e-12
        rows = half[taken]
        self.x[rows], self.base[rows], self.ratio[rows] = moved[taken], base[taken], ratio[taken]
