"""What Hypothesis does for the checker: it draws, and finds the simplest that fails."""

import contextlib

import hypothesis

SETTINGS = hypothesis.settings(
    deadline=None,  # the first call of a shape compiles
    database=None,  # the same verdict whatever ran before
    derandomize=False,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
    verbosity=hypothesis.Verbosity.quiet,
)


def drawn_from(strategy, count, seed):
    """`count` values of a strategy, the same each time; fewer if it has no more."""
    values = []
    if not count:
        return values

    @hypothesis.settings(SETTINGS, max_examples=count)
    @hypothesis.seed(seed)
    @hypothesis.given(strategy)
    def collect(value):
        values.append(value)

    collect()
    return values[:count]


def failing(strategy, fails, *, examples, looks, seed, key=lambda value: value):
    """The values found for which `fails`, simplest last; none if none was found.

    `fails` is asked once for each `key` of a value, so that it answers the same to the same, and for `looks` of
    them at the most.
    """
    found, verdicts = [], {}
    phases = (hypothesis.Phase.generate, hypothesis.Phase.shrink)

    @hypothesis.settings(SETTINGS, max_examples=examples, phases=phases)
    @hypothesis.seed(seed)
    @hypothesis.given(strategy)
    def holds(value):
        k = key(value)
        if k not in verdicts:
            verdicts[k] = len(verdicts) < looks and fails(value)
        if verdicts[k]:
            found.append(value)
            raise _Found

    with contextlib.suppress(_Found):
        holds()
    return found


class _Found(Exception):
    """A failing value, to Hypothesis."""
