"""Events, examples of points and weights, and the search for the simplest one that fails."""

import ast
import math
import re
from dataclasses import dataclass, replace

import hypothesis
import hypothesis.strategies as st
import numpy as np

from flowkit.contract import Tensor

ROWS = 3
"""The number of samples of one example: enough to permute, few enough to be quick."""

SCALES = (1, 4, 16)
"""The factors by which weights may move."""

LARGE = (16, 1, 4)

LARGEST = 64
"""Entries of the largest event that is tried: a Jacobian has the square of that."""

_BY_RANK = {
    1: [(1,), (2,), (3,), (4,), (5,)],
    2: [(1, 1), (2, 3), (3, 2), (1, 4)],
    3: [(1, 1, 1), (2, 3, 1), (1, 2, 3), (3, 2, 2), (2, 2, 4), (2, 4, 2)],
}

SETTINGS = hypothesis.settings(
    deadline=None,  # the first call of a shape compiles
    database=None,  # the same verdict whatever ran before
    derandomize=False,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
    verbosity=hypothesis.Verbosity.quiet,
)


@dataclass(frozen=True)
class Example:
    """Points are `values`, repeated over the entries of the batch, plus `noise` times a normal drawn from `seed`.

    They are real numbers, which `Domain.from_real` carries into the domain that is needed. `seed` also sets the weights
    and the context; weights move by `scales` times the usual, dealt out to them in turn: where some are large, and
    others are not, bounds and norms are put to the test.

    >>> Example((2,), values=(1.0, -1.0)).real((2,))[0].tolist()
    [1.0, -1.0]
    """

    event: tuple[int, ...]
    seed: int = 0
    noise: float = 0.0
    values: tuple[float, ...] = (0.0,)
    scales: tuple[int, ...] = (1,)

    def real(self, shape: tuple[int, ...]) -> Tensor:
        """Return the (ROWS, *shape) array of real numbers."""
        rng = np.random.default_rng([self.seed, 1])
        size = ROWS * int(np.prod(shape))
        t = np.resize(np.asarray(self.values, "float64"), size) + self.noise * rng.normal(size=size)
        return t.reshape(ROWS, *shape)

    def times(self, factor: float) -> "Example":
        """Return the example with all its numbers times `factor`."""
        values = tuple(round(factor * value, 12) for value in self.values)
        return replace(self, values=values, noise=factor * self.noise)

    def weight(self) -> Tensor:
        """Return a key that sorts examples: simpler ones first."""
        scales = sum(self.scales), len(self.scales)
        plainness = sum(abs(v) + (v != int(v)) for v in self.values)
        size = math.prod(self.event), len(self.event)
        return *size, *scales, self.noise, len(self.values), plainness, self.seed


def standard(events):
    """Yield what is always tried first.

    Ordinary points for each event, then for each of them repeats and zeros, large weights near the origin, where they
    do not saturate, and far points.
    """
    for event in events:
        yield Example(event, seed=1, noise=1.0)
    for event in events:
        yield Example(event, seed=2, values=(0.0, 1.0))
        yield Example(event, seed=1, noise=0.25, scales=LARGE)
        yield Example(event, seed=3, noise=6.0)


# Event shapes


def event_shapes(spec):
    """Return candidate event shapes for a spec, smallest first: odd channels, one channel, images that are not square.

    The largest is not square either: a profile may try no other image. A spec does not say everything (a coupling
    needs two channels), so a bijector may refuse some.
    """
    rank = spec.event_rank
    ranks = (1, 2, 3) if rank is None else (rank,) if isinstance(rank, int) else tuple(rank)
    shapes = []
    for r in ranks:
        seeds = _BY_RANK.get(r) or [(1,) * r, (*range(1, r), 2)]
        multiple = (*(spec.event_multiple or ()), *(1,) * r)[:r]
        for factor in (1, 2, 4) if spec.event_multiple else (1,):
            factors = [m * (factor if m > 1 else 1) for m in multiple]
            shapes += [tuple(map(math.prod, zip(seed, factors, strict=True))) for seed in seeds]
    shapes = [fitting for shape in shapes if (fitting := _on_domains(shape, spec)) is not None]
    small = [shape for shape in dict.fromkeys(shapes) if math.prod(shape) <= LARGEST]
    return sorted(
        small or shapes[:1], key=lambda event: (math.prod(event), len(event), _square(event), event)
    )


def _on_domains(event, spec):
    """Return the event with as many columns as the domains have; None if no domain has it, as one part of a whole."""
    domains = spec.domain, spec.codomain
    if any(domain.kind == "simplex" for domain in domains) and event[-1] == 1:
        return None  # the one part is 1: a point, not a density
    columns = [len(domain.columns) for domain in domains if domain.columns]
    return (*event[:-1], columns[0]) if columns else event


def _square(event):
    """Return 0, to sort it first, for an image as high as wide: it hides a height in the place of a width."""
    return int(len(event) < 3 or event[0] != event[1])


def evenly(events, count):
    """Return `count` of the events: the smallest, the largest and some between."""
    if len(events) <= count:
        return events
    return [events[round(i * (len(events) - 1) / (count - 1))] for i in range(count)]


# What Hypothesis does: it draws, finds the simplest that fails, and replays it

_PLAIN = st.integers(-3, 3).map(float)
_REAL = st.floats(-8, 8, width=32, allow_subnormal=False)
_FAR = st.sampled_from([0.0, 1e-6, -1e-3, 30.0, -30.0, 100.0, -1000.0])


def strategy_for(events):
    """Draw an `Example` for one of `events`; shrinks to the first event, few whole values, no noise, scales of 1."""
    return st.builds(
        Example,
        event=st.sampled_from(list(events)),
        seed=st.integers(0, 7),
        noise=st.sampled_from([0.0, 1.0, 0.1, 6.0]),
        values=st.lists(st.one_of(_PLAIN, _REAL, _FAR), min_size=1, max_size=6).map(tuple),
        scales=st.lists(st.sampled_from(SCALES), min_size=1, max_size=4).map(tuple),
    )


def drawn_from(strategy, count, seed):
    """Return `count` values of a strategy, the same each time; fewer if it has no more."""
    values = []
    if count:
        run = hypothesis.given(strategy)(lambda value: values.append(value))
        hypothesis.seed(seed)(hypothesis.settings(SETTINGS, max_examples=count)(run))()
    return values[:count]


def failing(strategy, fails, *, examples, seed):
    """Return Hypothesis's blob for the simplest value found for which `fails`, None if none was found.

    That value is the last one for which `fails` is called and returns True.
    """
    phases = (hypothesis.Phase.generate, hypothesis.Phase.shrink)
    settings = hypothesis.settings(SETTINGS, max_examples=examples, phases=phases)
    try:
        hypothesis.seed(seed)(settings(_property(strategy, fails)))()
    except (_Found, hypothesis.errors.Flaky) as found:
        blobs = re.findall(r"reproduce_failure\('.*?', (b'.*?')\)", "".join(getattr(found, "__notes__", ())))
        return ast.literal_eval(blobs[0]) if blobs else b""
    return None


def replayed(strategy, blob):
    """Return the value of a strategy that Hypothesis's blob stands for; raise ValueError if it stands for none."""
    values = []
    again = hypothesis.reproduce_failure(hypothesis.__version__, blob)
    try:
        again(SETTINGS(_property(strategy, lambda value: values.append(value) or True)))()
    except _Found:
        return values[0]
    except hypothesis.errors.HypothesisException as error:
        raise ValueError(
            f"drawn: got {blob!r}, expected the blob in a report of this bijector. Take the line of its own report, by "
            f"the same version of Hypothesis: {hypothesis.__version__} runs here."
        ) from error


def _property(strategy, fails):
    @hypothesis.given(strategy)
    def holds(value):
        if fails(value):
            raise _Found

    return holds


class _Found(Exception):
    """The error of a value that fails, for Hypothesis."""
