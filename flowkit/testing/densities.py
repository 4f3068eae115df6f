"""The check of a base density: its draws and its density agree, and both follow their seeds, rows and weights."""

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import ContractError
from flowkit.contract.inside import build_for
from flowkit.engines import engine
from flowkit.testing.causes import said
from flowkit.testing.clauses.gradients import Sum
from flowkit.testing.clauses.weights import same_attributes
from flowkit.testing.copies import SCALE, randomize
from flowkit.testing.inputs import each, floating, replaced, tensor
from flowkit.testing.judging import Broken, Undecided, clause, point, require
from flowkit.testing.mass import ERRORS, SLACK, uncertain
from flowkit.testing.points import inside, points_of, within

ROWS = 8
_SCALES = (SCALE, 1.0)  # weights that moved by little may hide a difference between two maps of them
_QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_FAR = (1.0, 10.0, 100.0, 1000.0)
_COLD = 2.0**-6
_OVERFLOWING = -1e30  # what ends here, and not by -100 or so, has no exponential to blame
# A gradient is wrong if it is at each of them, in another direction each time: the kinks of many units may pass for a
# slope by chance. In float32 smaller ones would show rounding.
_STEPS = (2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8)
_ROUNDINGS = 8 * 2.0**-23


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
    latent, of few entries (up to 4 or so). If latents have several ranks, check each: `event_shape=(2, 1, 2)` too.
    `context` is one row of it, or a dict of such. It is varied: a normal number is added to each entry, and labels are
    turned on if `num_classes` says how many there are. The clauses, for weights moved by little and by more:

    - "batch": a row's density does not depend on the other rows, nor on their contexts.
    - "seeds": the same seed gives the same draws, another one others, and so does the next call.
    - "mass": the density adds up to 1, by importance sampling from a Cauchy density. It is not asked of whole numbers
      and of the simplex, and neither is "draws".
    - "draws": for half-spaces in several directions the share of draws in them is their mass, to within 5 standard
      errors of both: a chi-square with one degree of freedom for each, at a level of 6e-7.
    - "rows": of a batch with two contexts in turn, the draws for the one are as if all rows had that.
    - "temperature": at 0.5, draws are where the density is higher, and near 0 they spread in proportion to it; or the
      distribution refuses it with a ValueError.
    - "finite": far out in its domain the log-density is a finite number, unless float32 holds none so low.
    - "gradient": that of the log-density for latents, weights and context, and that of draws for weights if
      `reparameterized` says that there is one, are what finite differences show.
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
    given = distribution if isinstance(distribution, keras.Layer) else None
    make = distribution if given is None else lambda: _copied(given)
    found: dict[str, str] = {}
    for turn, scale in enumerate(_SCALES):
        density = Density(make(), tuple(event_shape), context, draws, seed + turn, scale, given)
        for promise in _CLAUSES:
            found.setdefault(promise.name, density.keeps(promise))
        if not density.distribution.trainable_variables:
            break  # nothing has moved, so nothing else would come
    return found


class Density:
    """A distribution whose weights moved by `scale`, and `z`, many draws of it; numpy in and out.

    `given` is the instance of which it is a copy, or None.
    """

    def __init__(self, distribution, event, context, draws, seed, scale, given=None):
        self.event, self.context, self.seed, self.given = event, context, seed, given
        self.distribution = randomize(self.built(distribution), seed=seed, scale=scale)
        self.z = self.draw(draws, seed)

    def keeps(self, promise):
        """Return "kept", or why the clause is not asked; raise ContractError if it is broken."""
        try:
            promise.check(self)
        except Undecided as reason:
            return str(reason)
        except Broken as found:
            raise self._error(promise.name, found, promise.hint) from found.__cause__
        return "kept"

    def _error(self, name, found, hint=None):
        parts = {"expected": found.expected, "received": found.received, "hint": found.hint or hint}
        return ContractError(name, self.distribution, **parts)

    def built(self, distribution):
        """Return a distribution, built for the event and the context."""
        context = each(lambda c: (None, *np.shape(c)), self.context)
        build_for(distribution, (None, *self.event), context)
        return distribution

    def same(self, count):
        """Return the context `count` times."""
        return each(lambda c: np.tile(c, (count, *(1,) * np.ndim(c))), self.context)

    def varied(self, count):
        """Return the context, and others: `count` in turn. Labels are turned on, if it is known how many there are."""
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

    def draw(self, count, seed, contexts=None, **options):
        """Return `count` draws."""
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        context = tensor(self.same(count) if contexts is None else contexts)
        shape = (count, *self.event)
        with engine.no_grad():
            z = ops.convert_to_numpy(self.distribution.sample(shape, seed=seed, context=context, **options))
        bad = (~np.isfinite(z)).sum()
        if z.shape != shape or bad:
            found = f"{bad} NaN or infinite numbers" if bad else f"shape {z.shape}"
            raise self._error("draws", Broken(f"finite draws of shape {shape}", found))
        return z

    def log_prob(self, z, distribution=None, contexts=None):
        """Return the log-density of each row."""
        distribution = self.distribution if distribution is None else distribution
        context = tensor(self.same(len(z)) if contexts is None else contexts)
        with engine.no_grad():
            found = distribution.log_prob(ops.convert_to_tensor(z, dtype="float32"), context=context)
        found = ops.convert_to_numpy(found).astype("float64")
        if found.shape != (len(z),):
            broken = Broken(
                f"a density of shape ({len(z)},)",
                f"shape {found.shape}",
                hint="Sum over all axes but the first.",
            )
            raise self._error("mass", broken)
        return found

    @functools.cached_property
    def weighted(self):
        """Return points of a Cauchy density as wide as the draws, and p / q at each; p is 0 outside its domain.

        Raises Undecided if no mass can be judged.
        """
        flat = _flat(self.z).astype("float64")
        low, middle, high = np.quantile(flat, [0.25, 0.5, 0.75], axis=0)
        scale = (high - low) / 2
        if not scale.all():
            entry = int(np.argmin(scale))
            received = f"{flat[0, entry]:.6g} in most rows of entry {entry}"
            hint = "Draw for each of the shape[0] rows."
            raise self._error("draws", Broken("draws that differ from row to row", received, hint=hint))
        domain = self.distribution.domain
        if {"simplex", "whole"} & {column.kind for column in domain.columns or [domain]}:
            raise Undecided(f"not asked: {domain} has no volume for a mass to be of")
        eps = np.random.default_rng([self.seed, 0]).standard_cauchy(size=flat.shape)
        points = (middle + scale * eps).astype("float32")
        log_q = -np.log(np.pi * scale * (1 + eps**2)).sum(-1)
        rows = points.reshape(-1, *self.event)
        known = inside(domain, rows.astype("float64")).reshape(len(rows), -1).all(axis=1)
        weights = np.where(known, np.exp(self.log_prob(rows) - log_q), 0.0)
        if reason := uncertain(weights):
            raise Undecided(f"not asked: {reason}")
        return points, weights

    def compare_shares(self, points, weights, by):
        """Compare the share of draws in half-spaces in several directions with the mass of weighted `points` there."""
        flat, size = _flat(self.z), math.prod(self.event)
        drawn = np.random.default_rng([self.seed, 1]).normal(size=(4 if size > 1 else 0, size))
        for direction in (*np.eye(size), *drawn):
            along, reference = flat @ direction, points @ direction
            for quantile in _QUANTILES:
                end = np.quantile(along, quantile)
                share, below = (along < end).mean(), weights * (reference < end)
                expected, deviation = below.mean(), below.std() / np.sqrt(len(below))
                error = np.hypot(deviation, np.sqrt(quantile * (1 - quantile) / len(along)))
                where = f"below {end:.4g} along {np.round(direction, 2).tolist()}"
                require(
                    abs(share - expected) < ERRORS * error + SLACK,
                    f"a share of {expected:.4f} of the draws {where}, {by}",
                    f"{share:.4f}, to within {error:.1g}",
                )


def _flat(z):
    return z.reshape(len(z), -1)


def _copied(distribution):
    """Return another one of the same config."""
    return type(distribution).from_config(distribution.get_config())


@clause("batch")
def batch(density):
    """Require that the density of a row is its own, and that of its context.

    Hint: A sum, a mean or a reshape runs over the batch axis, or a row takes another's context.
    """
    z, several = density.z[:ROWS], density.varied(ROWS)
    together = density.log_prob(z, contexts=several)
    alone = [
        density.log_prob(z[i : i + 1], contexts=each(lambda c, i=i: c[[i]], several)) for i in range(ROWS)
    ]
    alone = np.concatenate(alone)
    gap = np.abs(together - alone) / np.maximum(1, np.abs(alone))
    row = int(np.argmax(gap))
    expected = f"{alone[row]:.6g} at {point(z[row])}, as for that row alone"
    require(gap.max() < 1e-5, expected, f"{together[row]:.6g} among others")


@clause("seeds")
def seeds(density):
    """Require that draws follow from the seed.

    Hint: Hand seed= on to everything that is drawn, as it is: a generator gives other numbers each time.
    """
    generator = keras.random.SeedGenerator(density.seed)
    first, second = density.draw(ROWS, generator), density.draw(ROWS, generator)
    same = np.array_equal(first, density.draw(ROWS, density.seed))
    require(same, "the same draws for the same seed", "others")
    for other in (second, density.draw(ROWS, density.seed + 1)):
        same = np.array_equal(first, other)
        require(not same, "other draws for another seed, and at the next call", "the same")


@clause("mass")
def mass(density):
    """Require a density that adds up to 1.

    Hint: A constant or a log-scale may be missing, or counted once for all entries.
    """
    _, weights = density.weighted
    total, error, size = weights.mean(), weights.std() / np.sqrt(len(weights)), math.prod(density.event)
    each_entry = (
        f" It is {total ** (1 / size):.4g} for each of {size} entries." if size > 1 and total > 0 else ""
    )
    require(
        abs(total - 1) < ERRORS * error + SLACK,
        "a density that adds up to 1",
        f"{total:.4f}, to within {error:.1g}",
        hint=mass.hint + each_entry,
    )


@clause("draws")
def draws(density):
    """Require that shares of the draws are masses.

    Hint: sample and log_prob may differ in a scale, a mean, an order of entries or in what they make of a context.
    """
    density.compare_shares(*density.weighted, "by the density")


@clause("rows")
def rows(density):
    """Require that draws for a context are the same whatever the contexts of the rows beside them are.

    Hint: Each row is drawn for its own context: do not take the first one, or a mean, for all.
    """
    if density.context is None:
        raise Undecided("not asked: no context")
    # The other one first and last, where a slip may look.
    turns = np.resize([1, 0], 2 * (len(density.z) // 8) + 1)
    drawn = density.draw(len(turns), density.seed + 2, each(lambda c: c[turns], density.varied(2)))
    density.compare_shares(_flat(drawn[1::2]), 1.0, "as where every other row has another context")


@clause("temperature")
def temperature(density):
    """Require that the temperature multiplies the scale, or is refused.

    Hint: It multiplies the scale, not the variance; where it means nothing, raise ValueError for any but 1.
    """
    try:
        colder = density.draw(len(density.z) // 10, density.seed, temperature=0.5)
    except ValueError as refusal:
        if getattr(refusal, "clause", None) is not None:  # a broken promise
            raise
        raise Undecided("kept: refused") from None
    usual = density.log_prob(density.z[: len(colder)]).mean()
    higher = density.log_prob(colder).mean() > usual
    require(higher, "draws at 0.5 to lie where the density is higher", "lower on average")
    # Near 0, how far draws of one seed are from where they end is in proportion to it, whatever becomes of them later.
    end, half, whole = (density.draw(ROWS, density.seed, temperature=t) for t in (_COLD**4, _COLD / 2, _COLD))
    moved, expected = np.abs(whole - end).mean(), 2 * np.abs(half - end).mean()
    require(
        abs(moved - expected) < 0.1 * expected,
        "draws to spread twice as far at twice the temperature",
        f"{2 * moved / expected:.3f} times as far",
    )


@clause("finite")
def finite(density):
    """Require a finite log-density far out in the domain, unless float32 cannot hold it.

    Hint: Add logarithms in place of taking that of a product or an exponential; or declare a smaller domain.
    """
    rng = np.random.default_rng([density.seed, 3])
    rays = np.stack([np.ones(density.event), -np.ones(density.event), rng.normal(size=density.event)])
    t = np.concatenate([size * rays for size in _FAR])
    z = points_of(density.distribution.domain, t).astype("float32")
    found = density.log_prob(z)
    for row in np.flatnonzero(~np.isfinite(found)):
        # As of a Gumbel density: the logarithm itself is too large for float32.
        too_low = np.isneginf(found[row]) and _last_finite(density, t[row]) < _OVERFLOWING
        where = f"{point(z[row])}, in its domain {density.distribution.domain}"
        require(too_low, f"a finite log-density at {where}", f"{found[row]}")


def _last_finite(density, t):
    """Return the log-density where it ends to be finite, on the way from 0 to `t`; 0 if it is not even beside 0."""
    low, high, last = 0.0, 1.0, 0.0
    for _ in range(30):
        middle = (low + high) / 2
        z = points_of(density.distribution.domain, middle * t[None]).astype("float32")
        (value,) = density.log_prob(z)
        if np.isfinite(value):
            low, last = middle, value
        else:
            high = middle
    return last


@clause("gradient")
def gradient(density):
    """Require that gradients of the density, and of draws that say they carry them, are what differences show.

    Hint: A stop_gradient, a detached value or numpy is in the way.
    """
    base, several, z = density.distribution, density.varied(ROWS), density.z[:ROWS]
    weights = [(v.path, v.numpy()) for v in base.trainable_variables]
    read, given = floating(several), tensor(several)

    def with_weights(values):
        mapping = list(zip(base.trainable_variables, values, strict=True))
        return keras.StatelessScope(state_mapping=mapping)

    def density_of(values, cotangent):
        z, *moved = values
        context = replaced(given, iter(moved[len(weights) :])) if read else given
        with with_weights(moved[: len(weights)]):
            return ops.sum(base.log_prob(z, context=context) * cotangent)

    start = [("z", z), *weights, *read.items()]
    _differences(density, density_of, start, (ROWS,), "the log-density")
    if not base.reparameterized or not weights:
        return
    generator = keras.random.SeedGenerator(density.seed)

    def draws_of(values, cotangent):
        with with_weights(values):  # which leaves the generator as it was
            return ops.sum(base.sample(z.shape, seed=generator, context=given) * cotangent)

    hint = "reparameterized = False declares draws that do not carry gradients to all weights."
    _differences(density, draws_of, weights, z.shape, "draws", hint)


def _differences(density, function, start, shape, what, hint=None):
    """Compare the gradient of a weighed sum for each of the arrays `start` with differences."""
    rng = np.random.default_rng([density.seed, 4])
    weigh = ops.convert_to_tensor(rng.normal(size=shape), dtype="float32")
    try:
        total = Sum(engine.compile_gradients(function), start, "float32", weigh)
    except Exception as error:  # whatever an author's code raises
        received = f"{type(error).__name__}: {said(error)}"
        raise Broken(f"a gradient of {what}", received, hint=hint) from error
    rounding = _ROUNDINGS * math.prod(shape)
    for i, (name, value) in enumerate(zip(total.names, total.values, strict=True)):
        for step in _STEPS:
            step = step * np.maximum(1, np.abs(value))
            if name == "z":
                move = within(density.distribution.domain, value.astype("float64"), step, rng)
            else:
                move = step * rng.choice([-1.0, 1.0], size=step.shape)
            try:
                total.agrees(i, move, f"d/d {name} of {what}", rounding=rounding, relative=_ROUNDINGS)
                break
            except Broken as found:
                wrong = Broken(found.expected, found.received, hint=hint)
        else:
            raise wrong


@clause("saving")
def saving(density):
    """Require that a copy from the config has the same density.

    Hint: get_config must name every argument of __init__.
    """
    if density.given is not None:  # what is checked has come from its config already
        same_attributes(density.given, _copied(density.given))
    again = density.built(_copied(density.distribution))
    again.set_weights(density.distribution.get_weights())
    z = density.z[:ROWS]
    expected, received = density.log_prob(z), density.log_prob(z, again)
    row = int(np.argmax(np.abs(expected - received)))
    where = f"{point(z[row])} from a copy made from the config"
    same = np.array_equal(expected, received)
    require(same, f"{expected[row]:.6g} at {where}", f"{received[row]:.6g}")


_CLAUSES = (batch, seeds, mass, draws, rows, temperature, finite, gradient, saving)
