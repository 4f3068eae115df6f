"""Check a bijector, or bijectors that Hypothesis draws, against every clause."""

import inspect
import time
from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st

from flowkit.contract import Context, FlowLayer
from flowkit.engines import engine
from flowkit.testing.checker import Check, profile_of
from flowkit.testing.clauses import CLAUSES, known
from flowkit.testing.examples import Example, failing, replayed
from flowkit.testing.report import Report, Result


def check_bijector(
    bijector: FlowLayer,
    *,
    event_shapes: Sequence[Sequence[int]] | None = None,
    examples: int | None = None,
    clauses: Sequence[str] | None = None,
    waived: dict[str, str] | None = None,
    context: Context = None,
    profile: str = "full",
    seed: int = 0,
    replay: Example | None = None,
    drawn: str | None = None,
    raises: bool = True,
) -> Report:
    """Check a bijector against every clause; raise `ContractError` for the first that is broken, or return a report.

    - `bijector`: an instance, which is made again through its config; or a function without arguments that
      makes one; or a function of a Hypothesis `draw` that makes one from drawn arguments; or a strategy.
    - `event_shapes`: those to try; by default some that the spec allows.
    - `profile`: "full" (every clause, 25 examples each), "fast" (round trips and log-dets alone, 8 examples each)
      or "thorough" (every clause, 200 examples each). `examples`: another number of them.
    - `clauses`: names of those to check, in place of the profile's; `waived`: {name: why it is known to be broken}.
      A waived clause that holds after all is reported as kept.
    - `context`: the shape of one context, or a dict of shapes, or a function (rng, batch, event) -> array or dict of
      arrays, if the bijector reads one. By default labels, if it has `num_classes`, and vectors of 3 otherwise.
    - `seed`: of what is drawn. The same seed gives the same examples.
    - `replay`: the one `Example` of an earlier report; `drawn`: Hypothesis's blob of the bijector, if it was drawn.
    - `raises=False`: return the report whatever it says. An error that several clauses meet is reported by the first.

    A round trip or log-det that no example could judge, for lack of precision, is not verified: it raises, and a report
    of it is False. Raises ValueError for an unknown profile or clause.
    """
    clauses = profile_of(profile).clauses if clauses is None else clauses
    names = list(CLAUSES) if clauses is None else [known(name) for name in clauses]
    waived = {known(name): reason for name, reason in (waived or {}).items()}
    if drawn is not None and replay is None:
        raise ValueError("drawn= is for a replay: give replay= as well, from the same line of the report.")
    if replay is not None and event_shapes is None:
        event_shapes = [replay.event]
    options = {"event_shapes": event_shapes, "context": context, "examples": examples}
    options |= {"profile": profile, "seed": seed}
    strategy = _strategy(bijector)
    check: Check | _Drawn
    if strategy is not None and replay is None:
        check = _Drawn(strategy, options)
    else:
        if strategy is not None and drawn is None:
            raise ValueError(
                "A replay of a bijector that is drawn needs drawn=, from the line of the report."
            )
        bijector = bijector if strategy is None else replayed(strategy, drawn)
        check = Check(bijector, drawn=drawn, **options)
    results: list[Result] = []
    causes: dict[object, str] = {}  # of errors that several clauses meet: the first one that reports each
    for name in names:
        start = time.perf_counter()
        result = check.run(name, replay, causes)
        result.seconds = time.perf_counter() - start
        if result.error is not None and name in waived:
            result = replace(result, verdict="waived", reason=waived[name], error=None, cause=None)
        elif result.error is not None and raises:
            raise result.error
        elif result.cause is not None:
            causes.setdefault(result.cause, name)
        results.append(result)
    return Report(str(check), engine.name, results, list(check.notes))


def _strategy(make):
    """Return the strategy of a strategy or a function of `draw`; None for what makes one bijector."""
    if isinstance(make, st.SearchStrategy):
        return make
    if not inspect.isfunction(make):
        return None
    needed = [p for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    return st.composite(lambda draw: make(draw))() if len(needed) == 1 else None


class _Drawn:
    """Bijectors that Hypothesis draws, with the methods of `Check`; reports the simplest one that fails.

    Each is a bijector of its own to compile and check, so far fewer are drawn than examples: one in eight.
    """

    def __init__(self, strategy, options):
        examples = options["examples"] or profile_of(options["profile"]).examples
        self.strategy, self.count = strategy, max(3, examples // 8)
        self.options, self.notes = {**options, "examples": 3}, {}

    def __str__(self):
        return "drawn bijector"

    def run(self, name, replay, causes):
        """Return the result of the simplest bijector that breaks the clause, or the common result of all drawn."""
        results = []

        def breaks(bijector):
            if len(results) == 10 * self.count:
                return False
            check = Check(bijector, drawn=b"", **self.options)
            results.append(check.run(name, causes=causes))
            self.notes.update(dict.fromkeys(check.notes))
            return results[-1].verdict == "broken"

        blob = failing(self.strategy, breaks, examples=self.count, seed=self.options["seed"])
        if blob is not None:
            *_, simplest = (result for result in results if result.verdict == "broken")
            simplest.error.set_drawn(blob)
            return simplest
        judged = sum(result.verdict == "kept" for result in results)
        if judged:
            return Result(name, "kept", judged)
        reasons = "; ".join(dict.fromkeys(result.reason for result in results))
        error = next((result.error for result in results if result.error is not None), None)
        return Result(name, "not asked", len(results), reasons, error)
