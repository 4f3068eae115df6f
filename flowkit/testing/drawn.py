"""Checking a function that draws another bijector each time."""

import hypothesis
import hypothesis.strategies as st

from flowkit import backends
from flowkit.testing.report import Report, Result


def check_drawn(make, names, waived, options, *, raises):
    """Check bijectors from a strategy, or from a function of a Hypothesis `draw`; the simplest that fails is reported.

    Each one drawn is a bijector of its own to compile and check, so far fewer are drawn than examples:
    one in eight.
    """
    from flowkit.testing.check import _SETTINGS, Check

    strategy = make if isinstance(make, st.SearchStrategy) else st.composite(lambda draw: make(draw))()
    count = max(3, (options["examples"] or 25) // 8)
    options = {**options, "examples": 3}
    results, label = [], "drawn bijector"
    verdicts = {}

    def run(bijector, name):
        key = repr(bijector.get_config() | {"name": None}), name
        if key not in verdicts:
            verdicts[key] = Check(bijector, **options).run(name)
        return verdicts[key]

    def first_failing(name):
        """(the simplest broken result, or None; how many were drawn)."""
        found, tried = [], [0]

        @hypothesis.settings(_SETTINGS, max_examples=count)
        @hypothesis.seed(options["seed"])
        @hypothesis.given(strategy)
        def keeps(bijector):
            tried[0] += 1
            if tried[0] > 10 * count:
                return  # enough shrinking
            result = run(bijector, name)
            if result.verdict == "broken":
                found.append(result)
                raise _Failing

        try:
            keeps()
        except _Failing:
            return found[-1], tried[0]
        return None, tried[0]

    for name in names:
        broken, tried = first_failing(name)
        if broken is None:
            results.append(Result(name, "kept", tried))
        elif name in waived:
            results.append(Result(name, "waived", reason=waived[name]))
        elif raises:
            raise broken.error
        else:
            results.append(broken)
    return Report(label, backends.name(), results)


class _Failing(Exception):
    """A bijector that breaks the clause, to Hypothesis."""
