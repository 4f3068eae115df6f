"""A base density under test: its weights moved, asked with numpy for one context or for several."""

import functools

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract import ContractError
from flowkit.contract.building import build_for
from flowkit.testing.given.contexts import each, tensor
from flowkit.testing.given.points import inside
from flowkit.testing.given.randomize import randomize

ROWS = 8

SLACK = 1e-4
"""What is allowed to a mass beside its standard errors: those of a density like that of the points are 0."""


class Density:
    """A distribution whose weights moved by `scale`, and `z`, many draws of it."""

    def __init__(self, distribution, event, context, draws, seed, scale, given=None):
        self.event, self.context, self.seed = event, context, seed
        self.given = given  # the instance of which `distribution` is a copy, or None
        self.distribution = randomize(self.built(distribution), seed=seed, scale=scale)
        self.z = self.draw(draws, seed)

    def built(self, distribution):
        context = each(lambda c: (None, *np.shape(c)), self.context)
        build_for(distribution, (None, *self.event), context)
        return distribution

    # Contexts, as numpy

    def same(self, count):
        """The context `count` times."""
        return each(lambda c: np.tile(c, (count, *(1,) * np.ndim(c))), self.context)

    def varied(self, count):
        """The context, and others: `count` in turn. Labels are turned on, if it is known how many there are."""
        rng = np.random.default_rng([self.seed, 2])
        classes = self.distribution.num_classes

        def vary(rows):
            if rows.dtype.kind == "f":
                moved = rows + rng.normal(size=rows.shape)
            else:
                turn = np.arange(count).reshape(-1, *(1,) * (rows.ndim - 1))
                moved = (rows + turn) % classes if classes else rows
            moved[0] = rows[0]
            return moved.astype(rows.dtype)

        return each(vary, self.same(count))

    # What it answers

    def draw(self, count, seed, contexts=None, **options):
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        context = tensor(self.same(count) if contexts is None else contexts)
        with backends.no_grad():
            z = self.distribution.sample((count, *self.event), seed=seed, context=context, **options)
        z = ops.convert_to_numpy(z)
        if z.shape != (count, *self.event) or not np.isfinite(z).all():
            found = (
                f"shape {z.shape}"
                if np.isfinite(z).all()
                else f"{(~np.isfinite(z)).sum()} NaN or infinite numbers"
            )
            raise self.broken("draws", f"finite draws of shape {(count, *self.event)}", found)
        return z

    def log_prob(self, z, distribution=None, contexts=None):
        asked = self.distribution if distribution is None else distribution
        context = tensor(self.same(len(z)) if contexts is None else contexts)
        with backends.no_grad():
            found = asked.log_prob(ops.convert_to_tensor(z, dtype="float32"), context=context)
        found = ops.convert_to_numpy(found).astype("float64")
        if found.shape != (len(z),):
            raise self.broken(
                "mass",
                f"a density of shape ({len(z)},)",
                f"shape {found.shape}",
                "Sum over all axes but the first.",
            )
        return found

    @functools.cached_property
    def weighted(self):
        """Points of a Cauchy density that reaches as far as the draws, and p / q at each; p is 0 outside its domain."""
        flat = self.z.reshape(len(self.z), -1).astype("float64")
        low, middle, high = np.quantile(flat, [0.25, 0.5, 0.75], axis=0)
        scale = (high - low) / 2
        if not scale.all():
            entry = int(np.argmin(scale))
            received = f"{flat[0, entry]:.6g} in most rows of entry {entry}"
            raise self.broken(
                "draws", "draws that differ from row to row", received, "Draw for each of the shape[0] rows."
            )
        eps = np.random.default_rng([self.seed, 0]).standard_cauchy(size=flat.shape)
        points = (middle + scale * eps).astype("float32")
        log_q = -np.log(np.pi * scale * (1 + eps**2)).sum(-1)
        rows = points.reshape(-1, *self.event)
        within = inside(self.distribution.domain, rows.astype("float64")).reshape(len(rows), -1).all(axis=1)
        return points, np.where(within, np.exp(self.log_prob(rows) - log_q), 0.0)

    @property
    def unknown(self):
        """Why masses cannot be judged, or None."""
        domain = self.distribution.domain
        kinds = domain.kind if isinstance(domain.kind, tuple) else (domain.kind,)
        if {"simplex", "whole"}.intersection(kinds):
            return f"not asked: {domain} has no volume for a mass to be of"
        _, weights = self.weighted
        error = weights.std() / np.sqrt(len(weights))
        if error > 0.1:
            return f"not asked: the mass is known to within {error:.1g} only; take a smaller event"
        # An error is one of a normal distribution as long as no single term is a large part of it.
        if (most := weights.max() / len(weights)) > (error + SLACK) / 4:
            return (
                f"not asked: one point of {len(weights)} holds {most:.1g} of the mass; take a smaller event"
            )
        return None

    def broken(self, clause, expected, received, hint=None):
        return ContractError(clause, self.distribution, expected=expected, received=received, hint=hint)


def copied(distribution):
    """Another one of the same config."""
    return type(distribution).from_config(distribution.get_config())
