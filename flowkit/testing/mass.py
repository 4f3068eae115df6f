"""The mass of a density, and the shares of draws in half-spaces, by Monte Carlo."""

import numpy as np
from scipy import stats

from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import Inputs, needs_of, noise_of
from flowkit.testing.judging import Broken, Imprecise, Undecided, require

DRAWS = 4096
"""The draws of the log-det of one sample, in one batch: its mean is then known to a 64th of its deviation."""

ERRORS = 5.0
"""The allowed error of a mean in standard errors: a right one exceeds it once in two million, and is measured again."""

SLACK = 1e-4
"""Allowed beside the standard errors of a mass: those of a density like that of the points are 0."""

LARGEST_ERROR = 0.1
"""The standard error from which a mass says too little."""

MISSED = 4.0
"""Count a mass as unknown if weights at draws are so many times larger than they should be."""

_QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_INNER = "not all noise becomes output"


def mass_is_one(trial):
    """Raise `Broken` unless base(z) * exp(log_det) of forward is the density of inverse(z), z from the base.

    Its integral over x must be 1, for one context, and shares of the draws in half-spaces must be its masses there.

    If forward draws z, exp(log_det) = 1 / q(z | x), whose mean over the noise is the density of x; if inverse draws x,
    exp(log_det) = q(x | z). Both hold for discrete noise, for which there is no Jacobian.
    """
    spec, rows = trial.spec, DRAWS * ROWS
    if len(trial.directions) < 2 or spec.likelihood == "estimated":
        raise Undecided(f"{_INNER}, and no mass tells if log_det is right")
    for domain in (spec.domain, spec.codomain):
        if domain.kind == "simplex":
            raise Undecided(f"{_INNER}, and {domain} has no volume for a mass to be of")
    rng = np.random.default_rng([trial.seed, 13, trial.draw])
    context = trial.first(rows)

    def run(flat, inverse):
        event = trial.events(inverse)[0]
        needs = needs_of(trial.layer64, (None, *event), inverse)
        noise = noise_of(needs, rows, rng) if needs else None
        value, log_det = trial.run64(inverse, Inputs(flat.reshape(rows, *event), context, noise))
        return value.reshape(rows, -1), log_det

    # Means that differ: of alike entries the order in which a layer puts them would not show.
    domains = _of_entries(spec.codomain, trial.latent_event)
    base = Independent([_Entry(domain, mean=0.3 + place / 4) for place, domain in enumerate(domains)])
    drawn, _ = run(base.draw(rng, rows), True)
    if not np.isfinite(drawn).all():
        raise Imprecise(f"{_INNER}, and inverse is not finite where the mass is measured")
    wide = Independent.about(drawn, _of_entries(spec.domain, trial.event))

    def weigh(x):
        z, log_det = run(x, False)
        with np.errstate(all="ignore"):
            log_base = base.log_prob(z)
            return np.where(np.isneginf(log_base), 0.0, np.exp(log_base + log_det - wide.log_prob(x)))

    x = wide.draw(rng, rows)
    weights = weigh(x)
    if np.isfinite(weights.mean()) and (reason := uncertain(weights, weigh(drawn))):
        raise Imprecise(f"{_INNER}, and {reason}")
    what = "a density base(z) * exp(log_det) that adds up to 1 over all x"
    hint = "A constant of log_det is missing, or counted once for all entries."
    require_one(weights, x.shape[1], what, hint)
    compare_shares(drawn, x, weights, "by the density: what is drawn must follow the log_det", trial.seed)


def compare_shares(drawn, points, weights, by, seed):
    """Compare shares of draws in half-spaces in several directions with the mass of weighted `points` there."""
    size = drawn.shape[1]
    turned = np.random.default_rng([seed, 1]).normal(size=(4 if size > 1 else 0, size))
    for direction in (*np.eye(size), *turned):
        along, reference = drawn @ direction, points @ direction
        for end in np.quantile(along, _QUANTILES):
            share, below = (along < end).mean(), weights * (reference < end)
            expected, deviation = below.mean(), below.std() / np.sqrt(len(below))
            error = np.hypot(deviation, np.sqrt(share * (1 - share) / len(along)))
            gap, allowed = abs(share - expected), ERRORS * error + SLACK
            where = f"below {end:.4g} along {np.round(direction, 2).tolist()}"
            wanted = f"a share of {expected:.4f} of the draws {where}, {by}"
            found = f"{share:.4f}, to within {error:.1g}"
            require(gap < allowed, wanted, found, measured=gap, allowed=allowed)


def require_one(weights, entries, what, hint):
    """Raise `Broken` unless the mean of importance weights, a mass over that many entries, is 1."""
    total, error = weights.mean(), weights.std() / np.sqrt(len(weights))
    gap, allowed = abs(total - 1), ERRORS * error + SLACK
    if not gap < allowed:
        if entries > 1 and total > 0:
            hint = f"{hint} It is {total ** (1 / entries):.4g} for each of {entries} entries."
        raise Broken(what, f"{total:.4f}, to within {error:.1g}", measured=gap, allowed=allowed, hint=hint)


def uncertain(weights, at_draws):
    """Return why the mean of these importance weights, which is a mass, says nothing; or None.

    `at_draws` are the weights at draws of the density that is measured. Their mean is mean(w^2) / mean(w), whatever the
    constant of the density, unless no point of `weights` hits a peak that the draws hit.
    """
    error = weights.std() / np.sqrt(len(weights))
    if error > LARGEST_ERROR:
        return f"the mass is known to within {error:.1g} only; take a smaller event"
    if not at_draws.mean() * weights.mean() <= MISSED * np.square(weights).mean():
        return "most of the mass lies in a peak that few points hit; take a smaller event"
    # An error is one of a normal distribution as long as no single term is a large part of it.
    if (most := weights.max() / len(weights)) > (error + SLACK) / 4:
        return f"one point of {len(weights)} holds {most:.1g} of the mass; take a smaller event"
    return None


class Independent:
    """The density of independent entries.

    `about(sample, domains)` makes one about points (rows, entries) that is as wide and has heavy tails.
    """

    def __init__(self, entries):
        self.entries = entries

    @classmethod
    def about(cls, sample, domains):
        return cls([_Entry(*pair) for pair in zip(domains, sample.T, strict=True)])

    def draw(self, rng, rows):
        return np.stack([entry.draw(rng, rows) for entry in self.entries], axis=1)

    def log_prob(self, x):
        with np.errstate(all="ignore"):
            return sum(entry.log_prob(column) for entry, column in zip(self.entries, x.T, strict=True))


def _of_entries(domain, event):
    """Return the domain of each entry of an event, row after row."""
    columns = domain.columns or [domain] * event[-1]
    return columns * (int(np.prod(event)) // event[-1])


class _Entry:
    """A density on the domain of one entry: uniform on a bounded one, else normal in a coordinate on the real line.

    That is the entry itself, or the logarithm of its distance from the end of a half-line. With `points`, it is a
    Cauchy density about them, whose tails are heavier than those of most. Half the mass is on atoms of the domain.
    """

    def __init__(self, domain, points=None, mean=0.3):
        self.whole, self.atoms = domain.kind == "whole", np.array(domain.atoms)
        points = points[~np.isin(points, self.atoms)] if points is not None else None
        self.end, self.sign = None, 1  # of a half-line, and its direction from there
        bounds = np.isfinite([domain.low, domain.high])
        if bounds.any() and not bounds.all():
            self.end, self.sign = (domain.low, 1) if bounds[0] else (domain.high, -1)
        if bounds.all():
            # Whole numbers come of rounding a uniform number, so their mass is its density.
            self.line = stats.uniform(domain.low - 0.5 * self.whole, domain.high - domain.low + self.whole)
        elif points is None:
            self.line = stats.norm(mean)
        else:
            low, middle, high = np.quantile(self._coordinate(points)[0], [0.25, 0.5, 0.75])
            self.line = stats.cauchy(middle, max((high - low) / 2, 1e-6 * max(1, abs(middle))))

    def _coordinate(self, x):
        """Return (t, log|dt/dx|); NaN where x lies outside of a half-line."""
        if self.end is None:
            return x, 0.0
        with np.errstate(all="ignore"):
            t = np.log(self.sign * (x - self.end))
        return t, -t

    def draw(self, rng, count):
        t = self.line.rvs(count, random_state=rng)
        if self.end is None:
            x = np.round(t) if self.whole else t
        else:
            x = self.end + self.sign * np.exp(np.clip(t, -80, 80))
        return np.where(rng.random(count) < 0.5, rng.choice(self.atoms, count), x) if len(self.atoms) else x

    def log_prob(self, x):
        t, log_slope = self._coordinate(x)
        log_density = np.where(np.isnan(t), -np.inf, self.line.logpdf(t) + log_slope)
        if not len(self.atoms):
            return log_density
        return np.where(np.isin(x, self.atoms), -np.log(2 * len(self.atoms)), log_density - np.log(2))
