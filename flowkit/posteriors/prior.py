"""The prior of a posterior's parameters: bounds, distributions, categories, flows, functions; and its file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from flowkit.bijectors import Chain
from flowkit.contract import Domain
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.domain import first_and_last
from flowkit.distributions import Distribution, Normal
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import real_numbers
from flowkit.flow.sampling import decoded
from flowkit.flow.seeding import seeded
from flowkit.surjections.dequantize_columns import LARGEST_WHOLE

Frozen = stats.distributions.rv_frozen
# Multivariate distributions of scipy, and the attributes that make them.
_MULTIVARIATE = {
    "multivariate_normal": ("mean", "cov", "allow_singular"),
    "multivariate_t": ("loc", "shape", "df", "allow_singular"),
}
_FROZEN = {name: type(getattr(stats, name)()) for name in _MULTIVARIATE}
Column = tuple[float, float] | Frozen | Sequence[str] | Mapping[str, float]
Columns = Sequence[Column] | Mapping[str, Column]
PriorLike = Columns | Distribution | Flow | Callable[[int], ArrayLike]
_WANTED = (
    "expected a list of one entry for each parameter, or a dict {name: entry}: (low, high), finite numbers low < high; "
    "a frozen distribution of scipy.stats; or a list of words or a dict {word: share}, for categories. Or scipy's "
    "multivariate_normal or multivariate_t, a Distribution, a Flow, or a function n -> n rows."
)
_CATEGORIES = "categories"
_RARE = 1e-12  # the mass of whole numbers that is cut off beyond each end that is infinite
_FIRST = 16  # draws of a function, to see how many parameters it has


@dataclass(frozen=True)
class Prior:
    """Draws of parameters, and what is known of them.

    - `draw(n, rng)`: (n, features) in float32, with a numpy generator.
    - `density(theta)`: log p in nats, (n,), of parameters in their domains; None for a function that only draws.
    - `domains`: the set of each parameter; None if all are real, or nothing is known.
    - `names`: of the parameters, or None; `words`: the categories {place: words} of parameters that are one of them,
      as numbers 0, 1, ... in their order.
    - `flow`: the flow that it is, or None; `columns`: what JSON can hold of the others, or None for a function.
    """

    features: int
    draw: Callable[[int, np.random.Generator], np.ndarray]
    density: Callable[[np.ndarray], np.ndarray] | None = None
    domains: list[Domain] | None = None
    names: tuple[str, ...] | None = None
    words: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    flow: Flow | None = None
    columns: list[Any] | None = None

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Return True for rows of parameters in their domains, (n,)."""
        if self.domains is None:
            return np.ones(len(theta), bool)
        return Domain.each(*self.domains).inside(theta).all(axis=1)

    @property
    def whole(self) -> list[int]:
        """The places of parameters that are whole numbers, categories among them."""
        return [place for place, domain in enumerate(self.domains or ()) if domain.kind == "whole"]

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Return log p in nats, (n,), in float64: -inf outside of the domains. Raises ValueError if it is unknown."""
        if self.density is None:
            raise ValueError(
                "posterior's prior: got one of unknown density, expected bounds, distributions or a Flow as prior."
            )
        answer, inside = np.full(len(theta), -np.inf), self.inside(theta)
        if inside.any():
            answer[inside] = self.density(theta[inside].astype("float32"))
        return answer

    def named(self, names: Sequence[str] | None) -> "Prior":
        """Return the prior with names of its parameters; None leaves those that it has.

        Raises ValueError unless there is a different word for each, and for a prior that has others.
        """
        if names is None:
            return self
        found = (names,) if isinstance(names, str) else tuple(names)
        wrong = [name for name in found if not isinstance(name, str)]
        if wrong or len({*found}) != self.features or len(found) != self.features:
            raise ValueError(
                f"posterior's names: got {shown(names)}, expected {self.features} different words, one for each "
                "parameter."
            )
        if self.names not in (None, found):
            raise ValueError(
                f"posterior's names: got {list(found)} and a prior that names its parameters {list(self.names)}, "
                "expected one of them. Leave names out."
            )
        return replace(self, names=found)


def as_prior(prior: PriorLike, features: int | None = None) -> Prior:
    """Return the `Prior` of bounds, of scipy's distributions, of a distribution, a flow or a function.

    - A list of one entry for each parameter, or a dict {name: entry}, independent: (low, high) is uniform between them,
      a frozen distribution of scipy.stats such as `stats.gamma(2.0)` has its own density and support. A discrete one,
      such as `stats.randint(1, 10)`, is of whole numbers. A list of words, such as ["linear", "cubic"], is of
      categories that are equally probable, which draws hold as 0, 1, ...; a dict {word: share} says how probable.
    - `stats.multivariate_normal(mean, cov)` or `stats.multivariate_t(...)`, of all parameters.
    - A `flowkit.distributions.Distribution`, of `features` independent or joint entries.
    - A `flowkit.Flow` of vectors, such as the posterior of an earlier experiment.
    - A function: `prior(n)` returns n rows. Its density and its bounds are unknown.

    Raises ValueError for anything else, for a box without width, for whole numbers beyond 2^20, and for draws of
    another shape.

    >>> prior = as_prior({"rate": (0, 1), "size": (2, 6)})
    >>> prior.names, prior.draw(3, np.random.default_rng(0)).shape
    (('rate', 'size'), (3, 2))
    >>> prior.log_prob(np.array([[0.5, 3.0], [0.5, 7.0]])).round(4).tolist()  # -ln 4
    [-1.3863, -inf]
    >>> as_prior([stats.randint(1, 5), ["linear", "cubic"]]).log_prob(np.array([[4, 1], [5, 1]])).round(4).tolist()
    [-2.0794, -inf]
    >>> as_prior([stats.gamma(2.0), stats.norm()]).log_prob(np.array([[1.0, 0.0], [-1.0, 0.0]])).round(4).tolist()
    [-1.9189, -inf]
    """
    if isinstance(prior, Distribution):
        return _of_distribution(prior, features)
    if isinstance(prior, Flow):
        return of_flow(prior)
    for name, kind in _FROZEN.items():
        if isinstance(prior, kind):
            return _of_multivariate(prior, name)
    if callable(prior):
        return _of_function(prior)
    return _of_columns([prior] if isinstance(prior, Frozen) else prior)


# Bounds, and frozen distributions of scipy


def _of_columns(prior):
    """Return the prior of independent parameters, each uniform within bounds or a frozen distribution of scipy."""
    names = tuple(map(str, prior)) if isinstance(prior, Mapping) else None
    try:
        entries = list(prior.values() if names else prior)
    except TypeError:
        entries = []
    columns = [_column(entry, prior) for entry in entries]
    if not columns:
        raise ValueError(f"posterior's prior: got {shown(prior)}, {_WANTED}")
    sets = [_set_of(column) for column in columns]
    low, high = np.array([(domain.low, domain.high) for domain in sets]).T
    boxed = all(column.dist.name == "uniform" for column in columns)
    whole = np.array([domain.kind == "whole" for domain in sets])

    def draw(n, rng):
        if boxed:
            return rng.uniform(low, high, (n, len(columns)))
        return np.stack([column.rvs(size=n, random_state=rng) for column in columns], axis=1)

    def density(theta):
        if boxed:
            return np.full(len(theta), -np.log(high - low).sum())
        theta = theta.astype("float64")
        return sum(
            column.logpmf(np.round(theta[:, i])) if whole[i] else column.logpdf(theta[:, i])
            for i, column in enumerate(columns)
        )

    described = [_described(entry) for entry in entries]
    first, last = first_and_last(low, high, "float32")
    found = Prior(
        len(columns),
        draw,
        density,
        None if all(domain == Domain.REAL for domain in sets) else sets,
        names,
        {place: _words(entry) for place, entry in enumerate(entries) if _words(entry)},
        columns=described if all(described) else None,
    )
    return _in_float32(found, np.where(whole, low, first), np.where(whole, high, last))


def _words(entry):
    """Return the words of a parameter that is one of several categories, or ()."""
    listed = isinstance(entry, Sequence | Mapping) and not isinstance(entry, str)
    return tuple(entry) if listed and any(isinstance(word, str) for word in entry) else ()


def _column(entry, prior):
    """Return the frozen distribution of one parameter. Raises ValueError for what is none."""
    if isinstance(entry, Frozen):
        if any(np.ndim(value) for value in (*entry.args, *entry.kwds.values())):
            raise ValueError(
                f"posterior's prior: got {entry.dist.name} with an array as argument, expected numbers: a distribution "
                "for each parameter, in a list."
            )
        return entry
    if words := _words(entry):
        return _categories(words, entry)
    try:
        low, high = map(float, entry)
    except (TypeError, ValueError):  # ragged, or no numbers
        low, high = np.nan, np.nan
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"posterior's prior: got {shown(prior)}, {_WANTED}")
    return stats.uniform(low, high - low)


def _categories(words, entry):
    """Return the distribution of the numbers of categories. Raises ValueError for less than two, and for bad shares."""
    given = list(entry.values()) if isinstance(entry, Mapping) else [1.0] * len(words)
    try:
        shares = np.array(given, "float64")
    except (TypeError, ValueError):
        shares = np.array([np.nan])
    right = len({*words}) == len(words) > 1 and all(isinstance(word, str) for word in words)
    if not right or not (shares > 0).all() or not np.isfinite(shares.sum()):
        raise ValueError(
            f"posterior's prior: got {shown(entry)}, expected two or more different words, as a list or with a share "
            "above 0 of each, {word: share}."
        )
    return stats.rv_discrete(name=_CATEGORIES, values=(range(len(words)), shares / shares.sum()))()


def _set_of(column):
    """Return the set of one parameter. Raises ValueError for whole numbers that float32 cannot keep apart."""
    low, high = map(float, column.support())
    if isinstance(column.dist, stats.rv_continuous):
        return Domain.interval(low, high)
    low = low if np.isfinite(low) else float(column.ppf(_RARE))
    high = high if np.isfinite(high) else float(column.isf(_RARE))
    if not -LARGEST_WHOLE <= low < high <= LARGEST_WHOLE or low != int(low):
        raise ValueError(
            f"posterior's prior: got {column.dist.name} on the numbers from {low:g} to {high:g}, expected two or more "
            f"whole numbers, within {LARGEST_WHOLE:,} of 0. Take a continuous distribution, and round it inside the "
            "simulator."
        )
    return Domain.whole(low, high)


def _of_multivariate(prior, name):
    """Return the prior of a frozen multivariate distribution of scipy."""

    def draw(n, rng):
        return prior.rvs(size=n, random_state=rng).reshape(n, prior.dim)

    def density(theta):
        return np.atleast_1d(prior.logpdf(theta.astype("float64")))

    values = {key: np.asarray(getattr(prior, key)).tolist() for key in _MULTIVARIATE[name]}
    return _in_float32(Prior(prior.dim, draw, density, columns=[[name, [], values]]))


def _in_float32(prior, first=-np.inf, last=np.inf):
    """Return a prior with draws in float32 from `first` to `last`: rounding must not move a draw onto an end.

    Raises ValueError if its own draws have no density, as those of a singular covariance.
    """
    limit = np.finfo("float32").max
    first, last = np.maximum(first, -limit), np.minimum(last, limit)

    def draw(n, rng):
        return np.clip(prior.draw(n, rng), first, last).astype("float32")

    rounded = replace(prior, draw=draw)
    drawn = rounded.draw(_FIRST, np.random.default_rng(0))
    if not np.isfinite(rounded.log_prob(drawn)).all():
        raise ValueError(
            "posterior's prior: got a distribution of scipy whose draws have no finite density in float32, expected a "
            "density on a set of full dimension, in units in which it is not too narrow."
        )
    return rounded


def _described(entry):
    """Return [name, args, kwds] of one parameter's distribution for a file; None if scipy.stats has none of that name.

    Bounds are [None, [low, high], {}], categories ["categories", [], {word: share}].
    """
    if words := _words(entry):
        shares = entry if isinstance(entry, Mapping) else dict.fromkeys(words, 1.0)
        return [_CATEGORIES, [], {word: float(share) for word, share in shares.items()}]
    if not isinstance(entry, Frozen):
        return [None, [float(end) for end in entry], {}]
    if type(getattr(stats, entry.dist.name, None)) is not type(entry.dist):
        return None
    args, kwds = entry.args, entry.kwds  # whole numbers stay whole: a binomial draws with no others
    return [
        entry.dist.name,
        [np.asarray(a).item() for a in args],
        {k: np.asarray(a).item() for k, a in kwds.items()},
    ]


def from_columns(columns: list[Any]) -> Prior:
    """Return the prior that a file describes, with distributions of scipy.stats alone.

    Raises ValueError for other names, and what scipy raises for wrong arguments.
    """
    made = [_entry(*column) for column in columns]
    single = len(made) == 1 and isinstance(made[0], tuple(_FROZEN.values()))
    return as_prior(made[0] if single else made)


def _entry(name, args, kwds):
    """Return the entry of a prior: bounds, categories, or a frozen distribution of scipy.stats by its name."""
    if name is None:
        return tuple(args)
    if name == _CATEGORIES:
        return kwds
    kind = getattr(stats, str(name), None)
    if name not in _MULTIVARIATE and not isinstance(kind, stats.rv_continuous | stats.rv_discrete):
        raise ValueError(f"prior: got {name!r}, expected the name of a distribution of scipy.stats.")
    return kind(*args, **kwds)


# Flows and functions


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
    return of_flow(flow)


def of_flow(prior: Flow) -> Prior:
    """Return the prior that a flow of vectors without a context is."""
    if not prior.built or len(prior.event_shape or ()) != 1:
        raise ValueError(
            f"posterior's prior: got {prior!r}, expected a flow of vectors that is built. Call fit first."
        )

    def draw(n, rng):
        return flow_draws(prior, n, rng)

    features = prior.event_shape[0]
    domain = prior.bijector.spec.domain
    if isinstance(prior.bijector, Chain) and not prior.bijector.parts:  # a distribution as it is
        domain = prior.base.domain
    domains = None if domain == Domain.REAL else domain.columns or [domain] * features
    return Prior(features, draw, prior.log_prob, domains, flow=prior)


def flow_draws(flow: Flow, n: int, rng: np.random.Generator, context: np.ndarray | None = None) -> np.ndarray:
    """Return `n` draws, for b rows of context (n * b, features), row after row: equal on all backends.

    Only a standard normal base has latents that numpy draws. Draws of others follow from the generator on one backend.
    """
    rows = 1 if context is None else len(context)
    base = flow.base
    standard = type(base) is Normal and not base.learn and base.conditioner is None
    if not standard:
        drawn = flow.sample(n, context, seed=int(rng.integers(2**31)))
        return np.asarray(drawn, "float32").reshape(n * rows, -1)
    z = rng.standard_normal((n * rows, *flow.latent_shape), "float32")
    return decoded(flow, z, context)


def of_draws(
    drawn: np.ndarray, domains: list[Domain] | None = None, share: np.ndarray | None = None
) -> Prior:
    """Return a prior of which only draws are known, each with its share of all, or the same."""
    return Prior(drawn.shape[1], lambda n, rng: drawn[rng.choice(len(drawn), size=n, p=share)], None, domains)


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


def as_float32(given: ArrayLike, what: str) -> np.ndarray:
    """Return real numbers, or a single one, in float32. Raises ValueError for what a flow refuses as data."""
    return real_numbers([given] if np.ndim(given) == 0 else given, what).astype("float32")
