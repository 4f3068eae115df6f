"""The prior and the simulator of a posterior: draws of parameters, pairs of parameters and data, checked."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit.bijectors import Chain
from flowkit.contract import Domain
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.domain import first_and_last
from flowkit.distributions import Distribution
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import real_numbers
from flowkit.flow.seeding import seeded

Box = Sequence[tuple[float, float]] | Mapping[str, tuple[float, float]]
PriorLike = Box | Distribution | Flow | Callable[[int], ArrayLike]
_FIRST = 16  # draws of a function, to see how many parameters it has


@dataclass(frozen=True)
class Prior:
    """Draws of parameters, and what is known of them.

    - `draw(n, rng)`: (n, features) in float32, with a numpy generator.
    - `density(theta)`: log p in nats, (n,), of parameters in their domains; None for a function that only draws.
    - `domains`: the set of each parameter; None if all are real, or nothing is known.
    - `names`: of the parameters, or None.
    """

    features: int
    draw: Callable[[int, np.random.Generator], np.ndarray]
    density: Callable[[np.ndarray], np.ndarray] | None = None
    domains: list[Domain] | None = None
    names: tuple[str, ...] | None = None

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Return True for rows of parameters in their domains, (n,)."""
        if self.domains is None:
            return np.ones(len(theta), bool)
        low, high = np.array([(domain.low, domain.high) for domain in self.domains]).T
        return ((theta > low) & (theta < high)).all(axis=1)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Return log p in nats, (n,), in float64: -inf outside of the domains."""
        answer, inside = np.full(len(theta), -np.inf), self.inside(theta)
        if self.density is not None and inside.any():
            answer[inside] = self.density(theta[inside].astype("float32"))
        return answer


def as_prior(prior: PriorLike, features: int | None = None) -> Prior:
    """Return the `Prior` of a box, a distribution, a flow or a function.

    - A list of (low, high), one for each parameter, or a dict {name: (low, high)}: uniform on that box.
    - A `flowkit.distributions.Distribution`, of `features` independent or joint entries.
    - A `flowkit.Flow` of vectors, such as the posterior of an earlier experiment.
    - A function: `prior(n)` returns n rows. Its density and its bounds are unknown.

    Raises ValueError for anything else, for a box without width and for draws of another shape.

    >>> prior = as_prior({"rate": (0, 1), "size": (2, 6)})
    >>> prior.names, prior.draw(3, np.random.default_rng(0)).shape
    (('rate', 'size'), (3, 2))
    >>> prior.log_prob(np.array([[0.5, 3.0], [0.5, 7.0]])).round(4).tolist()  # -ln 4
    [-1.3863, -inf]
    """
    if isinstance(prior, Distribution):
        return _of_distribution(prior, features)
    if features is not None:
        raise ValueError(
            f"posterior: got features={features} with a prior that has its own number of parameters, expected it for a "
            "Distribution alone. Leave features out."
        )
    if isinstance(prior, Flow):
        return _of_flow(prior)
    if callable(prior):
        return _of_function(prior)
    return _of_box(prior)


def _of_box(prior):
    """Return the uniform prior of a box."""
    names = tuple(map(str, prior)) if isinstance(prior, Mapping) else None
    try:
        box = np.array(list(prior.values()) if names else prior, "float64")
    except (TypeError, ValueError):  # ragged, or no numbers
        box = np.empty(0)
    if box.shape[1:] != (2,) or not (np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
        raise ValueError(
            f"posterior's prior: got {shown(prior)}, expected a list of (low, high) or a dict {{name: (low, high)}}, "
            "finite numbers low < high, a Distribution, a Flow, or a function n -> n rows."
        )
    low, high = box.T
    # Rounding to float32 must not move a draw onto an end.
    first, last = first_and_last(low, high, "float32")

    def draw(n, rng):
        return np.clip(rng.uniform(low, high, (n, len(box))).astype("float32"), first, last)

    def density(theta):
        return np.full(len(theta), -np.log(high - low).sum())

    return Prior(len(box), draw, density, [Domain.interval(*ends) for ends in box], names)


def _of_distribution(prior, features):
    """Return the prior of a distribution, whose number of entries only `features` knows."""
    if features is None:
        raise ValueError(
            f"posterior: got {prior!r} as prior, expected features=, the number of parameters, with it."
        )
    features = whole_number(features, "posterior's features", least=1)
    with seeded(0):  # its own generator is never used: `draw` passes a seed
        flow = Flow(Chain([]), prior)
        flow.build((None, features))
    return replace(_of_flow(flow), domains=_domains_of(prior.domain, features))


def _of_flow(prior):
    """Return the prior that a flow of vectors without a context is."""
    if not prior.built or len(prior.event_shape or ()) != 1:
        raise ValueError(
            f"posterior's prior: got {prior!r}, expected a flow of vectors that is built. Call fit first."
        )

    def draw(n, rng):
        return np.asarray(prior.sample(n, seed=int(rng.integers(2**31))), "float32")

    features = prior.event_shape[0]
    return Prior(features, draw, prior.log_prob, _domains_of(prior.bijector.spec.domain, features))


def _of_function(function):
    """Return the prior of a function n -> n rows."""

    def draw(n, rng):
        drawn = as_float32(function(n), "the prior's draws")
        if drawn.ndim != 2 or len(drawn) != n:
            raise ValueError(
                f"posterior's prior: got draws of shape {drawn.shape} from prior({n}), expected ({n}, d), a row for "
                "each set of parameters."
            )
        return drawn

    return Prior(draw(_FIRST, np.random.default_rng(0)).shape[1], draw)


def _domains_of(domain, features):
    """Return the set of each parameter; None if all are real."""
    return None if domain == Domain.REAL else domain.columns or [domain] * features


# Simulations

Simulator = Callable[[np.ndarray], Any]


_PARALLEL = (
    "For a simulator of one set of parameters pass lambda theta: np.stack([simulate(row) for row in theta])."
)


def as_float32(given: ArrayLike, what: str) -> np.ndarray:
    """Return real numbers, or a single one, in float32. Raises ValueError for what a flow refuses as data."""
    return real_numbers([given] if np.ndim(given) == 0 else given, what).astype("float32")


def simulated(simulator: Simulator, theta: np.ndarray) -> np.ndarray:
    """Return `simulator(theta)` in float32, (n, *event). Raises ValueError unless it has a row for each of theta."""
    try:
        x = simulator(theta.copy())  # which it may change
    except Exception as error:
        error.add_note(f"flowkit called simulator(theta) with theta of shape {theta.shape}. {_PARALLEL}")
        raise
    x = as_float32(x, "the simulator's data")
    if x.shape[:1] != theta.shape[:1]:
        raise ValueError(
            f"simulator: got an array of shape {x.shape}, expected {len(theta):,} rows, one for each row of theta. "
            f"{_PARALLEL}"
        )
    return x[:, None] if x.ndim == 1 else x


def given_pairs(pairs: Any, features: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (theta, x) in float32. Raises ValueError unless they have as many rows, and the prior's columns."""
    theta, x = (as_float32(part, "pairs") for part in pairs)
    x = x[:, None] if x.ndim == 1 else x
    if theta.ndim != 2 or x.ndim < 2 or len(theta) != len(x) or features not in (None, theta.shape[1]):
        raise ValueError(
            f"posterior's pairs: got arrays of shapes {theta.shape} and {x.shape}, expected (n, {features or 'd'}) and "
            "(n, ...), a row of data for each row of parameters."
        )
    return theta, x


def finite_pairs(theta: np.ndarray, x: np.ndarray, leave_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without NaN and infinity; warn of the others, with their number.

    p(theta | x) of finite data does not depend on them. A likelihood does, so with `leave_out` False they are refused.
    Raises ValueError for parameters that are not finite, and if fewer than two pairs are left.
    """
    if not np.isfinite(theta).all():
        row = int(np.argmin(np.isfinite(theta).all(axis=1)))
        raise ValueError(f"posterior: got {theta[row]} as parameters in row {row}, expected finite numbers.")
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    failed = len(x) - int(finite.sum())
    if not failed:
        return theta, x
    first = int(np.argmin(finite))
    found = f"{failed:,} of {len(x):,} simulations hold NaN or infinity, the first for the parameters {theta[first]}"
    if not leave_out:
        raise ValueError(
            f"posterior: {found}, expected finite data: a likelihood of finite data alone would be too high. Repair "
            "the simulator, or take method='npe'."
        )
    if finite.sum() < 2:
        raise ValueError(f"posterior: {found}. Repair the simulator.")
    warnings.warn(f"posterior: {found}. They are left out.", stacklevel=4)
    return theta[finite], x[finite]
