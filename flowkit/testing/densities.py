"""The clauses of a base density: draws and density agree, and follow their seeds, rows and weights."""

import contextlib
import functools
import math

import keras
import numpy as np
from keras import ops

from flowkit.contract import Bijector, BijectorSpec, Context, ContractError, Domain
from flowkit.contract.inside import build_for
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing.clauses.calls import independence
from flowkit.testing.clauses.gradients import Sum, first_infinite, log_det_gradient
from flowkit.testing.clauses.weights import config, same_attributes
from flowkit.testing.examples import ROWS, Example
from flowkit.testing.inputs import Inputs, each, tensor
from flowkit.testing.judging import Broken, Undecided, clause, in_all_entries, point, require, verdict
from flowkit.testing.mass import Independent, compare_shares, require_one, uncertain
from flowkit.testing.subject import SCALE, Subject, recreate
from flowkit.testing.tolerances import ROUNDINGS
from flowkit.testing.trial import Trial

_SEVERAL = 8
_SCALES = (1, 1 / SCALE)  # weights that moved by little may hide a difference between two maps of them
_COLD = 2.0**-6
_OVERFLOWING = -1e30  # a log-density that ends here, not near -100, does not come from an exponential


def check_distribution(
    distribution: keras.Layer,
    *,
    event_shape: tuple[int, ...] = (2,),
    context: Context = None,
    draws: int = 200_000,
    seed: int = 0,
) -> dict[str, str]:
    """Check a base density, with weights moved off their start. Return "kept" or the reason for each clause.

    `distribution` has a config, or is a function that makes a distribution; a copy is checked. `event_shape` is that of
    one latent, with few entries (up to 4 or so). If latents have several ranks, check each: `event_shape=(2, 1, 2)`
    too. `context` is one row of it, or a dict of rows. The check varies it: it adds a normal number to each entry, or
    counts labels up if `num_classes` is known. The clauses, for weights moved by little and by more:

    - "batch": the density of a row does not depend on other rows, nor on their contexts.
    - "seeds": the same seed gives the same draws; another seed, or the next call, gives others.
    - "mass": the density integrates to 1, by importance sampling from a Cauchy density. Not checked for whole numbers
      and the simplex.
    - "draws": for half-spaces in several directions the share of draws in them is their mass, to within 5 standard
      errors of both: a chi-square with one degree of freedom for each, at a level of 6e-7. Not checked for whole
      numbers and the simplex.
    - "rows": in a batch that alternates two contexts, the draws for one follow its density.
    - "temperature": at 0.5 the density of draws is higher, and near 0 they spread in proportion to it; or the
      distribution refuses it with a ValueError.
    - "finite": far out in the domain the log-density is finite, unless float32 cannot hold it.
    - "gradient": gradients of the log-density for latents, weights and context equal finite differences, and so do
      those of draws for weights if `reparameterized` is True.
    - "saving": a copy made from the config, with the same weights, has the same density.

    Raises ContractError with the clause, the expected and the received value.

    >>> from flowkit.distributions import StudentT
    >>> check_distribution(StudentT(3.0), draws=20_000)["draws"]
    'kept'
    """
    if not isinstance(distribution, keras.Layer) and not callable(distribution):
        raise TypeError(
            f"check_distribution: got {distribution!r}, expected a Distribution or a function that makes one."
        )
    word = "none" if context is None else "required"
    one = Scored(distribution, word) if isinstance(distribution, keras.Layer) else None
    make = one or (lambda: Scored(distribution(), word))
    rows = None if context is None else lambda rng, batch, event: _varied(context, rng, batch, classes)
    subject = Subject(make, event_shapes=[event_shape], context=rows)
    classes = subject.model.base.num_classes
    found: dict[str, str] = {}
    for turn, scale in enumerate(_SCALES):
        example = Example(tuple(event_shape), seed=seed + turn, scales=(scale,))
        trial = DensityTrial(subject, example, draws)
        for promise in _CLAUSES:
            check = functools.partial(promise.check, trial)
            found.setdefault(promise.name, verdict(promise.name, trial.base, check, promise.hint))
        if not trial.base.trainable_variables:
            break  # no weight has moved, so the result would be the same
    return found


def _varied(context, rng, count, classes):
    """Return `count` rows: a context and others near it. Labels count up if their number is known."""

    def vary(one):
        rows = np.repeat([one], count, axis=0)
        if rows.dtype.kind == "f":
            moved = rows + rng.normal(size=rows.shape)
        else:
            turn = np.arange(count).reshape(-1, *(1,) * (rows.ndim - 1))
            moved = (rows + turn) % classes if classes else rows
        moved[0] = rows[0]
        return moved.astype(rows.dtype)

    return each(vary, context)


class Scored(Bijector):
    """A base density as a layer that returns z and log p(z), so that the clauses about log-dets apply."""

    def __init__(self, base, context, **kwargs):
        super().__init__(**kwargs)
        self.base = base
        self.spec = BijectorSpec(domain=base.domain, codomain=base.domain, context=context, inverse="none")

    def remade(self, dtype=None):
        """Return a copy of another precision."""
        return Scored(recreate(self.base, dtype), self.spec.context, dtype=dtype, name=self.name)

    def build(self, x_shape, context_shape=None):
        build_for(self.base, x_shape, context_shape)

    def _forward(self, z, context=None):
        found = self.base.log_prob(z, context=context)
        if tuple(found.shape) != tuple(z.shape[:1]):
            expected, received = f"a density of shape {tuple(z.shape[:1])}", f"shape {tuple(found.shape)}"
            hint = "Sum over all axes but the first."
            raise ContractError("mass", self.base, expected=expected, received=received, hint=hint)
        return z, found


class DensityTrial(Trial):
    """A trial of a `Scored` density at its own draws."""

    def __init__(self, subject, example, count):
        super().__init__(subject, example)
        self.base = self.layer32.base
        self.draws = self.sample(count, self.seed)
        self.elsewhere = {False: self.draws[:ROWS].astype("float64")}

    def named(self, inverse):
        return "latent", "log-density"

    def sample(self, count, seed, contexts=None, **options):
        """Return `count` draws, by default for the first context."""
        seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        context = tensor(self.first(count) if contexts is None else contexts)
        shape = (count, *self.event)
        with engine.no_grad():
            z = ops.convert_to_numpy(self.base.sample(shape, seed=seed, context=context, **options))
        bad = (~np.isfinite(z)).sum()
        if z.shape != shape or bad:
            found = f"{bad} NaN or infinite numbers" if bad else f"shape {z.shape}"
            raise ContractError("draws", self.base, expected=f"finite draws of shape {shape}", received=found)
        return z

    def log_prob(self, z):
        """Return the log-density of each row for the first context."""
        with engine.no_grad():
            return self.run32(False, Inputs(z, self.first(len(z))))[1].astype("float64")

    @functools.cached_property
    def weighted(self):
        """Return points of a Cauchy density as wide as the draws, and p / q at each; p is 0 outside its domain.

        Raises Undecided if no mass can be judged.
        """
        flat = _flat(self.draws).astype("float64")
        low, high = np.quantile(flat, [0.25, 0.75], axis=0)
        if (low == high).any():
            entry = int(np.argmax(low == high))
            received = f"{flat[0, entry]:.6g} in most rows of entry {entry}"
            expected, hint = "draws that differ from row to row", "Draw for each of the shape[0] rows."
            raise ContractError("draws", self.base, expected=expected, received=received, hint=hint)
        domain = self.spec.domain
        if {"simplex", "whole"} & set(domain.kinds):
            raise Undecided(f"not asked: {domain} has no volume for a mass to be of")
        wide = Independent.about(flat, [Domain.REAL] * flat.shape[1])

        def weigh(points):
            rows = points.astype("float32").reshape(self.draws.shape)
            known = in_all_entries(domain.inside(rows.astype("float64")))
            return np.where(known, np.exp(self.log_prob(rows) - wide.log_prob(points)), 0.0)

        points = wide.draw(np.random.default_rng([self.example.seed, 0]), len(flat))
        weights = weigh(points)
        if reason := uncertain(weights, weigh(flat)):
            raise Undecided(f"not asked: {reason}")
        return points, weights


def _flat(z):
    return z.reshape(len(z), -1)


@clause("batch")
def batch(trial):
    """Require that the density of a row depends on that row and its context alone.

    Hint: A sum, a mean or a reshape runs over the batch axis, or a row takes the context of another.
    """
    independence.check(trial)


@clause("seeds")
def seeds(trial):
    """Require that draws follow from the seed.

    Hint: Pass seed= unchanged to everything that is drawn: a generator gives other numbers each time.
    """
    generator = keras.random.SeedGenerator(trial.seed)
    first, second = trial.sample(_SEVERAL, generator), trial.sample(_SEVERAL, generator)
    same = np.array_equal(first, trial.sample(_SEVERAL, trial.seed))
    require(same, "the same draws for the same seed", "others")
    for other in (second, trial.sample(_SEVERAL, trial.seed + 1)):
        same = np.array_equal(first, other)
        require(not same, "other draws for another seed, and at the next call", "the same")


@clause("mass")
def mass(trial):
    """Require a density that adds up to 1.

    Hint: A constant or a log-scale may be missing, or counted once for all entries.
    """
    _, weights = trial.weighted
    require_one(weights, math.prod(trial.event), "a density that adds up to 1", mass.hint)


@clause("draws")
def draws(trial):
    """Require that shares of the draws are masses.

    Hint: sample and log_prob may differ in a scale, a mean, an order of entries or in what they make of a context.
    """
    compare_shares(_flat(trial.draws), *trial.weighted, "by the density", trial.seed)


@clause("rows")
def rows(trial):
    """Require that draws for a context do not depend on the contexts of other rows.

    Hint: Each row is drawn for its own context: do not take the first one, or a mean, for all.
    """
    if trial.context is None:
        raise Undecided("not asked: no context")
    # The other context first and last, the rows that a mistake may read.
    turns = np.resize([1, 0], 2 * (len(trial.draws) // 8) + 1)
    drawn = trial.sample(len(turns), trial.seed + 2, each(lambda c: c[turns], trial.context))
    by = "as where every other row has another context"
    compare_shares(_flat(trial.draws), _flat(drawn[1::2]), 1.0, by, trial.seed)


@clause("temperature")
def temperature(trial):
    """Require that the temperature multiplies the scale, or is refused.

    Hint: It multiplies the scale, not the variance; where it means nothing, raise ValueError for any but 1.
    """
    try:
        colder = trial.sample(len(trial.draws) // 10, trial.seed, temperature=0.5)
    except ContractError:  # a broken promise
        raise
    except ValueError:
        raise Undecided("kept: refused") from None
    usual = trial.log_prob(trial.draws[: len(colder)]).mean()
    higher = trial.log_prob(colder).mean() > usual
    require(higher, "draws at 0.5 to lie where the density is higher", "lower on average")
    # Near 0, how far draws of one seed are from where they end is in proportion to it, whatever becomes of them later.
    end, half, whole = (
        trial.sample(_SEVERAL, trial.seed, temperature=t) for t in (_COLD**4, _COLD / 2, _COLD)
    )
    moved, expected = np.abs(whole - end).mean(), 2 * np.abs(half - end).mean()
    require(
        abs(moved - expected) < 0.1 * expected,
        "draws to spread twice as far at twice the temperature",
        f"{2 * moved / expected:.3f} times as far",
    )


@clause("finite")
def finite(trial):
    """Require a finite log-density far out in the domain, unless float32 cannot hold it.

    Hint: Add logarithms in place of taking that of a product or an exponential; or declare a smaller domain.
    """
    # As of a Gumbel density: the logarithm itself may be too large for float32.
    found = first_infinite(trial, False, lambda z, log_density: log_density < _OVERFLOWING)
    if found is not None:
        z, _, log_density, _ = found
        where = f"{point(z)}, in its domain {trial.spec.domain}"
        raise Broken(f"a finite log-density at {where}", f"{log_density}")


@clause("gradient")
def gradient(trial):
    """Require that gradients of the density, and of reparameterized draws, equal finite differences.

    Hint: A stop_gradient, a detached value or numpy is in the way.
    """
    with contextlib.suppress(Undecided):  # flat, as of a uniform density
        log_det_gradient.check(trial)
    if trial.base.reparameterized and trial.base.trainable_variables:
        _draws_gradient(trial)


def _draws_gradient(trial):
    base, z = trial.layer64.base, trial.points(False)
    variables, rng = base.trainable_variables, np.random.default_rng([trial.seed, 4])
    with engine.float64():
        generator, context = keras.random.SeedGenerator(trial.seed), tensor(trial.context)
        weigh = ops.convert_to_tensor(rng.normal(size=z.shape))

        def draws_of(values, *_):
            # A scope that leaves the generator as it was.
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return ops.sum(base.sample(z.shape, seed=generator, context=context) * weigh)

        eps = rounding_unit("float32")  # in which generators may draw
        total = Sum(engine.compile_gradients(draws_of), [(v.path, v.numpy()) for v in variables])
        try:
            total.compare("draws", eps, ROUNDINGS * eps * float(np.abs(z).sum() + z.size), rng)
        except Broken as found:
            found.hint = "reparameterized = False declares draws that do not carry gradients to all weights."
            raise


@clause("saving")
def saving(trial):
    """Require that a copy from the config has the same density.

    Hint: get_config must name every argument of __init__.
    """
    if trial.subject.given is not None:  # what is checked has come from its config already
        same_attributes(trial.subject.given.base, trial.subject.make().base)
    config.check(trial)


_CLAUSES = (batch, seeds, mass, draws, rows, temperature, finite, gradient, saving)
