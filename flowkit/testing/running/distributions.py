"""The check of a base density: whether its draws and its density agree, and both keep their manners."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract import ContractError
from flowkit.contract.building import build_for
from flowkit.testing.given.contexts import each, tensor
from flowkit.testing.given.randomize import randomize

_LEVEL = 5.0  # standard errors: by chance, one comparison in 1.7 million is farther off
_QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_ROWS = 8


def check_distribution(
    distribution: Any,
    *,
    event_shape: tuple[int, ...] = (2,),
    context: Any = None,
    draws: int = 200_000,
    seed: int = 0,
) -> dict[str, str]:
    """Hold a base density to its promises, with weights moved off their start. Returns each clause's "kept" or reason.

    `distribution` is one with a config, or a function that makes one; a copy is checked. `event_shape` is that of one
    latent, of few entries (up to 4 or so), and `context` one row of it, or a dict of
    such. The clauses:

    - "batch": a row's density does not depend on the other rows.
    - "seeds": the same seed gives the same draws, another one others, and so does the next call.
    - "mass": the density adds up to 1, by importance sampling from a Cauchy density.
    - "draws": for half-spaces in several directions the share of draws in them is their mass, to within 5 standard
      errors of both: a chi-square with one degree of freedom for each, at a level of 6e-7.
    - "temperature": at 0.5, draws are where the density is higher; or the distribution refuses it with a ValueError.
    - "saving": a copy made from the config, with the same weights, has the same density.

    Raises ContractError with the clause, what was expected and what was found.

    >>> from flowkit.distributions import StudentT
    >>> check_distribution(StudentT(3.0), draws=20_000)["draws"]
    'kept'
    """
    if not isinstance(distribution, keras.Layer) and not callable(distribution):
        raise TypeError(
            f"check_distribution expects a Distribution or a function that makes one, received {distribution!r}."
        )
    made = distribution() if not isinstance(distribution, keras.Layer) else _copy(distribution)
    subject = _Subject(made, tuple(event_shape), context, draws, seed)
    return {name: clause(subject) or "kept" for name, clause in _CLAUSES.items()}


class _Subject:
    """A distribution with its weights moved, asked with numpy and for one context; and `z`, many draws of it."""

    def __init__(self, distribution, event, context, draws, seed):
        self.event, self.context, self.seed = event, context, seed
        self.distribution = randomize(self.built(distribution), seed=seed)
        self.z = self.draw(draws, seed)

    def built(self, distribution):
        context = each(lambda c: (None, *np.shape(c)), self.context)
        build_for(distribution, (None, *self.event), context)
        return distribution

    def rows(self, count):
        return tensor(each(lambda c: np.tile(c, (count, *(1,) * np.ndim(c))), self.context))

    def draw(self, count, seed, **options):
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        with backends.no_grad():
            z = self.distribution.sample((count, *self.event), seed=seed, context=self.rows(count), **options)
        z = ops.convert_to_numpy(z)
        if z.shape != (count, *self.event) or not np.isfinite(z).all():
            found = (
                f"shape {z.shape}"
                if np.isfinite(z).all()
                else f"{(~np.isfinite(z)).sum()} NaN or infinite numbers"
            )
            raise self.broken("draws", f"finite draws of shape {(count, *self.event)}", found)
        return z

    def log_prob(self, z, distribution=None):
        with backends.no_grad():
            asked = distribution or self.distribution
            found = asked.log_prob(ops.convert_to_tensor(z, dtype="float32"), context=self.rows(len(z)))
        found = ops.convert_to_numpy(found).astype("float64")
        if found.shape != (len(z),):
            raise self.broken("mass", f"a density of shape ({len(z)},)", f"shape {found.shape}")
        return found

    @functools.cached_property
    def weighted(self):
        """Points of a Cauchy density that reaches as far as the draws, and p / q at each."""
        flat = self.z.reshape(len(self.z), -1).astype("float64")
        low, middle, high = np.quantile(flat, [0.25, 0.5, 0.75], axis=0)
        scale = (high - low) / 2
        eps = np.random.default_rng([self.seed, 0]).standard_cauchy(size=flat.shape)
        points = (middle + scale * eps).astype("float32")
        log_q = -np.log(np.pi * scale * (1 + eps**2)).sum(-1)
        return points, np.exp(self.log_prob(points.reshape(-1, *self.event)) - log_q)

    @property
    def unknown(self):
        """Why masses cannot be judged, or None."""
        _, weights = self.weighted
        error = weights.std() / np.sqrt(len(weights))
        if error > 0.1:
            return f"not asked: the mass is known to within {error:.1g} only; take a smaller event"
        return None

    def broken(self, clause, expected, received, hint=None):
        return ContractError(clause, self.distribution, expected=expected, received=received, hint=hint)


def _copy(distribution):
    return type(distribution).from_config(distribution.get_config())


def _batch(subject):
    together = subject.log_prob(subject.z[:_ROWS])
    alone = np.concatenate([subject.log_prob(subject.z[i : i + 1]) for i in range(_ROWS)])
    worst = np.max(np.abs(together - alone) / np.maximum(1, np.abs(alone)))
    if not worst < 1e-5:
        raise subject.broken(
            "batch", "the density of a row to be its own", f"a difference of {worst:.1g} among others"
        )


def _seeds(subject):
    generator = keras.random.SeedGenerator(subject.seed)
    first, second = subject.draw(_ROWS, generator), subject.draw(_ROWS, generator)
    if not np.array_equal(first, subject.draw(_ROWS, subject.seed)):
        raise subject.broken("seeds", "the same draws for the same seed", "others")
    for other in (second, subject.draw(_ROWS, subject.seed + 1)):
        if np.array_equal(first, other):
            raise subject.broken("seeds", "other draws for another seed, and at the next call", "the same")


def _mass(subject):
    _, weights = subject.weighted
    mean, error = weights.mean(), weights.std() / np.sqrt(len(weights))
    if not subject.unknown and not abs(mean - 1) < _LEVEL * error + 1e-4:
        raise subject.broken("mass", "a density that adds up to 1", f"{mean:.4f}, to within {error:.1g}")
    return subject.unknown


def _draws(subject):
    if subject.unknown:
        return subject.unknown
    points, weights = subject.weighted
    rng = np.random.default_rng([subject.seed, 1])
    flat, size = subject.z.reshape(len(subject.z), -1), points.shape[-1]
    directions = [*np.eye(size), *rng.normal(size=(4 if size > 1 else 0, size))]
    for direction in directions:
        along, reference = flat @ direction, points @ direction
        for quantile in _QUANTILES:
            end = np.quantile(along, quantile)
            share, inside = (along < end).mean(), weights * (reference < end)
            mass = inside.mean()
            error = np.hypot(
                inside.std() / np.sqrt(len(inside)), np.sqrt(quantile * (1 - quantile) / len(along))
            )
            if not abs(share - mass) < _LEVEL * error + 1e-4:
                raise subject.broken(
                    "draws",
                    f"a share of {mass:.4f} of the draws below {end:.4g} along {np.round(direction, 2).tolist()}, "
                    "by the density",
                    f"{share:.4f}, to within {error:.1g}",
                )


def _temperature(subject):
    try:
        colder = subject.draw(len(subject.z) // 10, subject.seed, temperature=0.5)
    except ValueError as refusal:
        if isinstance(refusal, ContractError):
            raise
        return "kept: refused"
    usual = subject.log_prob(subject.z[: len(colder)]).mean()
    if not subject.log_prob(colder).mean() > usual:
        raise subject.broken(
            "temperature", "draws at 0.5 to lie where the density is higher", "lower on average"
        )
    return None


def _saving(subject):
    again = subject.built(_copy(subject.distribution))
    again.set_weights(subject.distribution.get_weights())
    if not np.array_equal(subject.log_prob(subject.z[:_ROWS], again), subject.log_prob(subject.z[:_ROWS])):
        raise subject.broken(
            "saving", "the same density of a copy from the config", "another", "Does it keep all arguments?"
        )


_CLAUSES: dict[str, Callable[..., str | None]] = {
    "batch": _batch,
    "seeds": _seeds,
    "mass": _mass,
    "draws": _draws,
    "temperature": _temperature,
    "saving": _saving,
}
