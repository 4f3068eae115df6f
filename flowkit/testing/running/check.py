"""Checking a bijector against every clause."""

import inspect
from collections.abc import Sequence
from typing import Any

import hypothesis

from flowkit import backends
from flowkit.testing.clauses.catalogue import CLAUSES, known
from flowkit.testing.running.checker import Check, results_of
from flowkit.testing.running.drawn import check_drawn
from flowkit.testing.running.profiles import profile_of
from flowkit.testing.verdicts.replay import drawn_again
from flowkit.testing.verdicts.report import Report


def check_bijector(
    bijector: Any,
    *,
    event_shapes: Sequence[Sequence[int]] | None = None,
    examples: int | None = None,
    clauses: Sequence[str] | None = None,
    waived: dict[str, str] | None = None,
    context: Any = None,
    profile: str = "full",
    seed: int = 0,
    replay: str | None = None,
    drawn: Any = None,
    raises: bool = True,
) -> Report:
    """Check a bijector against every clause; raises `ContractError` for the first that is broken, or returns a report.

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
    - `replay`: the one `Example` of an earlier report; `drawn`: what that bijector was made from, if it was drawn.
    - `raises=False`: return the report whatever it says. An error that several clauses meet is reported by the first.

    Raises ValueError for a profile or a clause of another name.
    """
    clauses = profile_of(profile).clauses if clauses is None else clauses
    names = list(CLAUSES) if clauses is None else [known(name) for name in clauses]
    waived = {known(name): reason for name, reason in (waived or {}).items()}
    if drawn is not None and replay is None:
        raise ValueError("drawn= is for a replay: give replay= as well, from the same line of the report.")
    if replay is not None and event_shapes is None:
        event_shapes = [replay.event]
    options = {
        "event_shapes": event_shapes,
        "context": context,
        "examples": examples,
        "profile": profile,
        "seed": seed,
    }
    if _draws(bijector):
        if replay is None:
            return check_drawn(bijector, names, waived, options, raises=raises)
        if drawn is None:
            raise ValueError(
                "A replay of a bijector that is drawn needs drawn=, from the line of the report."
            )
        bijector = drawn_again(bijector, drawn)
    check = Check(bijector, drawn=drawn, **options)
    results = results_of(names, lambda name, causes: check.run(name, replay, causes), waived, raises=raises)
    return Report(str(check.subject), backends.name(), results, check.notes)


def _draws(bijector):
    """Whether this makes another bijector each time: a strategy, or a function of one argument, `draw`."""
    if isinstance(bijector, hypothesis.strategies.SearchStrategy):
        return True
    if not inspect.isfunction(bijector):
        return False
    needed = [p for p in inspect.signature(bijector).parameters.values() if p.default is p.empty]
    return len(needed) == 1 and needed[0].kind in (needed[0].POSITIONAL_ONLY, needed[0].POSITIONAL_OR_KEYWORD)
