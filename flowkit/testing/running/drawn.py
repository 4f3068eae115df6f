"""Checking a function that draws another bijector each time."""

from flowkit import backends
from flowkit.testing.running.checker import Check, results_of
from flowkit.testing.running.profiles import profile_of
from flowkit.testing.running.search import failing
from flowkit.testing.verdicts.replay import recorded
from flowkit.testing.verdicts.report import Report, Result

_SHRINKS = 10  # bijectors tried for each one drawn, to find a simpler one that fails


def check_drawn(make, names, waived, options, *, raises):
    """Check bijectors from a strategy, or from a function of a Hypothesis `draw`; the simplest that fails is reported.

    Each one drawn is a bijector of its own to compile and check, so far fewer are drawn than examples:
    one in eight.
    """
    strategy = recorded(make)
    count = max(3, (options["examples"] or profile_of(options["profile"]).examples) // 8)
    options, notes = {**options, "examples": 3}, {}
    results = results_of(
        names,
        lambda name, causes: _first_broken(strategy, name, count, options, causes, notes),
        waived,
        raises=raises,
    )
    return Report("drawn bijector", backends.name(), results, list(notes))


def _first_broken(strategy, name, count, options, causes, notes):
    """The result of the simplest bijector that breaks the clause; without one, what those drawn say together.

    What their reports would note is added to the dict `notes`.
    """
    results = {}

    def breaks(drawn):
        check = Check(drawn.bijector, drawn=drawn.values, **options)
        results[_key(drawn)] = result = check.run(name, causes=causes)
        notes.update(dict.fromkeys(check.notes))
        return result.verdict == "broken"

    looks = _SHRINKS * count
    found = failing(strategy, breaks, examples=count, looks=looks, seed=options["seed"], key=_key)
    if found:
        return results[_key(found[-1])]
    judged = [result for result in results.values() if result.verdict == "kept"]
    if judged:
        return Result(name, "kept", len(judged))
    reasons = dict.fromkeys(result.reason for result in results.values())
    error = next((result.error for result in results.values() if result.error is not None), None)
    return Result(name, "not asked", len(results), "; ".join(reasons), error)


def _key(drawn):
    """The same for bijectors that were made from the same, whatever Keras has named their layers."""
    return repr(_without_names(drawn.values))


def _without_names(value):
    if isinstance(value, dict):
        return {key: _without_names(part) for key, part in value.items() if key != "name"}
    return [_without_names(part) for part in value] if isinstance(value, (list, tuple)) else value
