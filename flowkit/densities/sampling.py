"""Draw from any density: temper, train a flow, weigh fresh draws, and compare three estimates of log Z."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from flowkit.bijectors import Chain, LinearGaussian, Unconstrain
from flowkit.contract.arguments import Count, Seed, checked, whole
from flowkit.densities.coordinates import Coordinates, LogDensity, Target
from flowkit.densities.proposals import Proposal, log_reciprocals, new_flow, train
from flowkit.diagnostics.inference import (
    InferenceReport,
    missed_mass,
    pareto_smoothed,
    relative_error,
    report_of_weights,
)
from flowkit.distributions import Distribution, StudentT
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import real_numbers
from flowkit.flow.tempering import Student, tempered
from flowkit.flow.weighted import effective, resampled
from flowkit.posteriors.prior import PriorLike, as_prior

_SPREAD = 3.0  # the deviation of the first draws, without a prior and rows to start from
_TEMPERING = 0.5  # the share of the budget, at most
_ROUNDS = 4
_TAILS = 8.0  # degrees of freedom of the base of the flow
_ROUND = 0.05  # the share of the budget for each
_TRAINING = 0.68  # the share of the budget that is spent before the last draws
_OF_A_DRAW = 3.2  # calls for each of the last draws, by which walks look for what it missed
_ROWS = 10_000  # to train on after the first round
_ENOUGH = 400  # effective draws
_APART = 4.0  # joint errors between two estimates that agree


@dataclass(frozen=True, repr=False)
class DensityDraws:
    """Draws of a density, its normaliser, and what speaks for and against them. Made by `flowkit.sample_density`.

    - `draws`: (n, features), float64, of equal weight: fresh draws of the flow, resampled by their weights, as many as
      those are worth. Without trust in the weights they are the walkers of the tempering.
    - `log_z`, `log_z_error`: log of the integral of the density, and its standard error.
    - `trusted`: True if the weights, the moves and all three estimates of log Z give no reason for doubt. If False, the
      error is infinite, since the estimates may agree and be wrong together, and `doubts` has the reasons.
    - `estimates`: log Z and its error by "importance" weights of the flow's fresh draws, by "tempering", and by the
      "reverse" mean of q / p over walkers that the flow was not trained on.
    - `report`: the `InferenceReport` of the fresh draws, with their weights and k-hat.
    - `flow`: the trained flow, of rows in the domains of the density.
    - `calls`: rows for which the density was evaluated.

    >>> import flowkit
    >>> log_density = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> found = flowkit.sample_density(log_density, 2, budget=20_000, epochs=2, verbose=0)
    >>> found.draws.shape[1], found.calls <= 20_000
    (2, True)
    """

    draws: np.ndarray = field(compare=False)
    log_z: float
    log_z_error: float
    trusted: bool
    doubts: tuple[str, ...]
    estimates: dict[str, tuple[float, float]]
    report: InferenceReport
    flow: Flow
    calls: int

    def to_arviz(self) -> Any:
        """Return the draws as ArviZ's data of one chain, with a variable "x". Needs ArviZ."""
        try:
            arviz = importlib.import_module("arviz")
        except ImportError as error:
            raise ImportError(
                "to_arviz: got no arviz, expected it installed. Run pip install arviz."
            ) from error
        groups = {"posterior": {"x": self.draws[None]}}
        # Before 1.0 the groups are arguments.
        return arviz.from_dict(**groups) if arviz.__version__.startswith("0.") else arviz.from_dict(groups)

    def __repr__(self) -> str:
        return f"DensityDraws({self.sentence})"

    @property
    def sentence(self) -> str:
        """The result in words."""
        verdict = "Trusted" if self.trusted else f"Not trusted: {'; '.join(self.doubts)}"
        return (
            f"{verdict}. log Z = {self.log_z:.3f} +- {self.log_z_error:.3f}, {len(self.draws):,} draws, "
            f"{self.calls:,} calls. Modes that no walker reached are missing."
        )


@checked
def sample_density(
    log_density: LogDensity,
    features: Count,
    *,
    prior: PriorLike | None = None,
    start: ArrayLike | None = None,
    domains: Sequence[Any] | None = None,
    budget: Annotated[int, whole(20_000, None)] = 200_000,
    vectorized: bool = True,
    epochs: Count = 30,
    seed: Seed = 0,
    verbose: Annotated[int, whole(0, 1)] = 1,
) -> DensityDraws:
    """Return draws and the normaliser of a density that is known up to a constant, without its gradient.

    - `log_density`: log p in nats, (n,), of rows (n, features), numpy float64; -inf where p is 0. With
      vectorized=False it receives one row (features,) and returns a number.
    - `prior`: where to begin: draws of bounds, scipy's distributions, a `Distribution` or a flow, as for
      `flowkit.posterior`. Its density is no part of p: a posterior's log_density is log prior + log likelihood. Its
      bounds are the domains.
    - `start`: rows around which to begin, (n, features) or (features,), such as a mode: Student's t, with twice the
      covariance of the rows if there are more than `features`, otherwise of deviation 3.
    - `domains`: "real", "positive" or (low, high) for each feature. Without prior and start, the first draws have
      deviation 3 in coordinates without bounds: logarithms, logits or the features themselves.
    - `budget`: rows to evaluate at most, from 20,000 up. `epochs`: of training the flow, at most, in each round.
    - `verbose`: 1 prints a line for each step, 0 none. The same `seed` gives the same draws on one backend.

    The steps, with about half of the budget for the first:

    1. Temper walkers from the first draws to p, by Metropolis moves and resampling. This estimates log Z.
    2. Train a flow on four fifths of the walkers, draw from it, weigh by p / q, and train again on weighted draws, in
       up to 4 rounds. A tenth of the draws come from a wide Student's t, which bounds the weights.
    3. Weigh fresh draws. Z is the mean weight, and the error follows from the weights and their tail.

    The result is `trusted` if the weights are (Pareto k-hat below 0.7, no mass missed by the flow, at least 400
    effective draws), the walkers moved enough, and log Z agrees with that of the tempering, and with that of walkers
    on which the flow was not trained, which shows modes that the flow misses. No method sees a mode far from all first
    draws: start wide.

    Raises ValueError for a density that raises, returns another shape, NaN or +infinity, and names the rows; for one
    that is 0 for all first draws; for a prior without density, and for a prior together with start or domains.

    Del Moral, Doucet & Jasra, Sequential Monte Carlo Samplers (2006); Muller, McWilliams, Rousselle, Gross & Novak,
    Neural Importance Sampling (2019); Karamanis et al., Accelerating astronomical and cosmological inference with
    preconditioned Monte Carlo (2022), who temper with a flow.

    >>> def log_density(x):  # a Gaussian, times 5
    ...     return -0.5 * (x**2).sum(axis=1) + np.log(5)
    >>> found = sample_density(log_density, 2, budget=20_000, epochs=5, verbose=0)
    >>> abs(found.log_z - np.log(5 * 2 * np.pi)) < 5 * found.log_z_error < 0.5
    True
    """
    rng = np.random.default_rng(seed)
    target = Target(log_density, vectorized)
    walkers = int(np.clip(budget // 100, 500, 4000))
    place, first, log_base = _base(features, prior, start, domains, walkers, rng)

    def log_p(u):
        x, log_det = place.rows(u)
        return target(x) + log_det

    moved = tempered(first, log_base, lambda u: log_p(u) - log_base(u), rng, _TEMPERING * budget)
    say = print if verbose else (lambda line: None)
    say(
        f"tempering: {moved.steps} steps, {target.calls:,} calls, log Z = {moved.log_z:.3f} +- {moved.error:.3f}"
    )
    if len(np.unique(moved.draws, axis=0)) < 10 + 2 * features:
        raise ValueError(
            f"sample_density's budget: got {budget}, too few calls for walkers to leave their start, expected more. "
            "Raise it, or start where the density is."
        )

    place, u = place.standardized(moved.draws)
    held, rows = np.split(rng.permutation(u.astype("float32")), [walkers // 5])
    proposal = Proposal(new_flow(features, seed, StudentT(_TAILS)), Student.of(rows, inflate=3.0))
    learn = {"seed": seed, "epochs": epochs}
    _in_rounds(proposal, rows, held, log_p, lambda: budget - target.calls, budget, learn, rng, say)

    final = proposal.draw(min(int((budget - target.calls - len(held)) / _OF_A_DRAW), budget // 6), rng)
    log_weights = log_p(final) - proposal.log_prob(final)
    missed, error = missed_mass(final, log_weights, log_p, proposal.log_prob, seed)
    report = report_of_weights(place.rows(final)[0], log_weights, missed, error, wide_base=True)
    ratios = log_reciprocals(proposal.flow, held, log_p(held), seed)
    of_ratios = relative_error(ratios) if np.isfinite(ratios).any() else math.inf
    estimates = {
        "importance": (report.log_normaliser, report.standard_error),
        "tempering": (moved.log_z, moved.error),
        "reverse": (float(math.log(len(ratios)) - logsumexp(ratios)), of_ratios),
    }
    found = _judged(report, moved, estimates, place.rows(u)[0], rng)
    found = DensityDraws(*found, estimates, report, _in_domains(proposal.flow, place), target.calls)
    say(found.sentence)
    return found


def _base(features, prior, start, domains, n, rng):
    """Return the coordinates, `n` first draws in them, and their log-density."""
    if prior is None:
        place = Coordinates(features, domains)
        student = Student(np.zeros(features), _SPREAD * np.eye(features))
        if start is not None:
            rows = np.atleast_2d(np.asarray(real_numbers(start, "start"), "float64"))
            if rows.ndim != 2 or rows.shape[1] != features:
                raise ValueError(
                    f"sample_density's start: got shape {rows.shape}, expected (n, {features}) or ({features},)."
                )
            place.check_inside(rows, "sample_density's start")
            u = place.of_rows(rows)
            student = student._replace(mean=u.mean(axis=0))
            if len(np.unique(u, axis=0)) > features:
                student = Student.of(u, inflate=2.0)
        return place, student.draw(n, rng), student.log_prob
    if start is not None or domains is not None:
        raise ValueError(
            "sample_density: got a prior with start= or domains=, expected it alone: it says where to begin, and its "
            "bounds are the domains."
        )
    known = as_prior(prior, features if isinstance(prior, Distribution) else None)
    if known.density is None or known.features != features:
        raise ValueError(
            f"sample_density's prior: got {'no density' if known.density is None else known.features} of it, expected "
            f"one with a density of {features} features. Pass draws of others as start=."
        )
    if known.whole:
        raise ValueError(
            f"sample_density's prior: got whole numbers or categories in places {known.whole}, expected real "
            "parameters. Sum the density over them, or use flowkit.posterior."
        )
    place = Coordinates(features, known.domains)

    def log_base(u):
        x, log_det = place.rows(u)
        return known.log_prob(x) + log_det

    return place, place.of_rows(known.draw(n, rng)), log_base


def _in_rounds(proposal, rows, held, log_p, left, budget, learn, rng, say):
    """Train the proposal's flow on walkers, then on them and its own weighted draws of all rounds."""
    n, drawn, log_weights, learned = round(_ROUND * budget), [], [], rows
    for number in range(_ROUNDS):
        train(proposal.flow, learned, held, rate=2e-3 / (1 + number), **learn)
        if left() - n < (1 - _TRAINING) * budget:
            break
        u = proposal.draw(n, rng)
        smooth, k_hat = pareto_smoothed(log_p(u) - proposal.log_prob(u))
        worth = effective(np.exp(smooth - smooth.max()))
        say(f"round {number + 1}: {n:,} draws are worth {worth:,.0f}, k-hat {k_hat:.2f}")
        if worth > 0.8 * n and k_hat < 0.4:
            break
        drawn.append(u)
        log_weights.append(
            smooth - logsumexp(smooth) + math.log(worth)
        )  # of each round as much as it is worth
        weights = np.exp(np.concatenate(log_weights))
        again = resampled(weights, min(_ROWS, int(2 * weights.sum())), rng)
        learned = np.concatenate([rows, np.concatenate(drawn)[again]])


def _judged(report, moved, estimates, walkers, rng):
    """Return (draws, log Z, its error, trusted, doubts)."""
    doubts, worth = [], report.effective_sample_size
    if not report.trusted:
        doubts.append(
            f"the weights have k-hat {report.k_hat:.2f} and miss {report.missed:.1%} of the density"
        )
    if worth < _ENOUGH:
        doubts.append(f"the weighted draws are worth {worth:.0f}, fewer than {_ENOUGH}")
    if not moved.mixed:
        doubts.append("the walkers moved too little for the budget")
    for name in ("tempering", "reverse"):
        apart = abs(estimates[name][0] - report.log_normaliser)
        joint = math.hypot(estimates[name][1], report.standard_error if report.trusted else 0.0)
        if not apart <= _APART * joint < math.inf:
            doubts.append(f"log Z by {name} differs by {apart:.2f} +- {joint:.2f}")
    error = math.inf if doubts else report.standard_error
    if not report.trusted:
        return walkers, moved.log_z, error, False, tuple(doubts)
    draws = report.samples[rng.permutation(resampled(report.weights, max(1, int(worth)), rng))]
    return draws, report.log_normaliser, error, not doubts, tuple(doubts)


def _in_domains(flow, place):
    """Return the flow of coordinates as one of rows in their domains."""
    front = [Unconstrain(place.domains)] if place.bounded else []
    whole_flow = Flow(
        Chain([*front, LinearGaussian.of(place.mean, place.root), flow.bijector]), flow.base, name="density"
    )
    whole_flow.build((None, len(place.mean)))
    return whole_flow
