"""The mass of the density that a layer makes of a base density, by Monte Carlo."""

import numpy as np

from flowkit.testing.given import contexts
from flowkit.testing.given.estimates import DRAWS, ERRORS
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.noise import drawn, needs_of
from flowkit.testing.verdicts.broken import Broken, Imprecise, Undecided

SLACK = 1e-4
"""Allowed beside the standard errors of a mass: those of a density like that of the points are 0."""

LARGEST_ERROR = 0.1
"""The standard error from which a mass says too little."""


def mass_is_one(trial):
    """Raise `Broken` unless base(z) * exp(log_det) of forward integrates to 1 over x, for one context.

    If forward draws z, exp(log_det) = 1 / q(z | x), whose mean over the noise is the density of x; if inverse draws x,
    exp(log_det) = q(x | z). Both hold for discrete noise, of which no Jacobian exists.
    """
    spec, rows = trial.spec, DRAWS * ROWS
    if len(trial.directions) < 2 or spec.likelihood == "estimated":
        raise Undecided("not all noise becomes output, and no mass tells whether log_det is right")
    for domain in (spec.domain, spec.codomain):
        if domain.kind == "simplex":
            raise Undecided(f"not all noise becomes output, and a density on {domain} has no mass here")
    rng = np.random.default_rng([trial.seed, 13, trial.draw])
    context = contexts.rows(trial.context, [0] * rows)

    def run(points, inverse):
        needs = needs_of(trial.layer64, (None, *points.shape[1:]), inverse)
        return trial.run64(points, inverse, context, drawn(needs, rows, rng) if needs else None)

    base = [_light(domain) for domain in _of_entries(spec.codomain, trial.latent_event)]
    z = np.stack([density.draw(rng, rows) for density in base], axis=1)
    x = run(z.reshape(rows, *trial.latent_event), True)[0].reshape(rows, -1)
    if not np.isfinite(x).all():
        raise Imprecise("not all noise becomes output, and inverse is not finite where its mass is measured")
    wide = [_heavy(domain, x[:, i]) for i, domain in enumerate(_of_entries(spec.domain, trial.event))]
    x = np.stack([density.draw(rng, rows) for density in wide], axis=1)
    z, log_det = run(x.reshape(rows, *trial.event), False)
    z = z.reshape(rows, -1)
    with np.errstate(all="ignore"):
        log_base = sum(density.log_prob(z[:, i]) for i, density in enumerate(base))
        log_wide = sum(density.log_prob(x[:, i]) for i, density in enumerate(wide))
        weights = np.where(np.isneginf(log_base), 0.0, np.exp(log_base + log_det - log_wide))
    total, error = weights.mean(), weights.std() / np.sqrt(rows)
    if np.isfinite(total) and (reason := uncertain(weights)):
        raise Imprecise(f"not all noise becomes output, and {reason}")
    if not abs(total - 1) < ERRORS * error + SLACK:
        each = total ** (1 / x.shape[1]) if total > 0 else 0.0
        raise Broken(
            "a density base(z) * exp(log_det) that adds up to 1 over all x",
            f"{total:.4f}, to within {error:.1g}",
            measured=abs(total - 1),
            allowed=ERRORS * error + SLACK,
            hint=f"A constant of log_det is missing, or counted once for all entries: it is {each:.4g} for each of "
            f"{x.shape[1]} entries.",
        )


def uncertain(weights):
    """Why the mean of these importance weights says nothing, or None."""
    error = weights.std() / np.sqrt(len(weights))
    if error > LARGEST_ERROR:
        return f"the mass is known to within {error:.1g} only; take a smaller event"
    # The error follows a normal distribution as long as no single term is a large part of it.
    if (most := weights.max() / len(weights)) > (error + SLACK) / 4:
        return f"one point of {len(weights)} holds {most:.1g} of the mass; take a smaller event"
    return None


def _of_entries(domain, event):
    """The domain of each entry of an event, row after row."""
    columns = domain.columns or [domain] * event[-1]
    return columns * (int(np.prod(event)) // event[-1])


class _Uniform:
    """On an interval or a circle, or on whole numbers."""

    def __init__(self, domain):
        self.low, self.high, self.whole = domain.low, domain.high, domain.kind == "whole"

    def draw(self, rng, count):
        if self.whole:
            return rng.integers(int(self.low), int(self.high) + 1, count).astype("float64")
        return rng.uniform(self.low, self.high, count)

    def log_prob(self, x):
        inside = (x >= self.low) & (x <= self.high)
        return np.where(inside, -np.log(self.high - self.low + self.whole), -np.inf)


class _Normal:
    """Around `middle`."""

    middle, scale = 0.3, 1.0

    def draw(self, rng, count):
        return self.middle + self.scale * rng.normal(size=count)

    def log_prob(self, x):
        t = (x - self.middle) / self.scale
        return -0.5 * (t * t + np.log(2 * np.pi)) - np.log(self.scale)


class _Cauchy:
    """Around the middle of some points, as wide as they are: its tails are heavier than those of most densities."""

    def __init__(self, points):
        low, self.middle, high = np.quantile(points, [0.25, 0.5, 0.75])
        self.scale = max((high - low) / 2, 1e-6 * max(1, abs(self.middle)))

    def draw(self, rng, count):
        return self.middle + self.scale * rng.standard_cauchy(size=count)

    def log_prob(self, x):
        t = (x - self.middle) / self.scale
        return -np.log(np.pi * self.scale * (1 + t * t))


class _Beyond:
    """On a half-line, the distance from whose end is the exponential of a draw of `inner`."""

    def __init__(self, domain, inner):
        self.inner = inner
        self.end, self.sign = (domain.low, 1) if np.isfinite(domain.low) else (domain.high, -1)

    def draw(self, rng, count):
        return self.end + self.sign * np.exp(np.clip(self.inner.draw(rng, count), -80, 80))

    def log_prob(self, x):
        distance = self.sign * (x - self.end)
        log = np.log(np.where(distance > 0, distance, 1.0))
        return np.where(distance > 0, self.inner.log_prob(log) - log, -np.inf)


def _light(domain):
    """A density with light tails on the domain of one entry."""
    if np.isfinite(domain.low) and np.isfinite(domain.high):
        return _Uniform(domain)
    return _Normal() if np.isinf(domain.low) and np.isinf(domain.high) else _Beyond(domain, _Normal())


def _heavy(domain, points):
    """A density with heavy tails on the domain of one entry, about where the points are."""
    if np.isfinite(domain.low) and np.isfinite(domain.high):
        return _Uniform(domain)
    if np.isinf(domain.low) and np.isinf(domain.high):
        return _Cauchy(points)
    beyond = _Beyond(domain, None)
    with np.errstate(all="ignore"):
        logs = np.log(np.maximum(beyond.sign * (points - beyond.end), 1e-30))
    beyond.inner = _Cauchy(logs)
    return beyond
