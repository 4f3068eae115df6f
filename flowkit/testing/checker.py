"""Check a bijector, or bijectors that Hypothesis draws, against every clause."""

import functools
import inspect
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import hypothesis
import hypothesis.strategies as st
import numpy as np

from flowkit.contract import Context, ContractError, Domain, FlowLayer
from flowkit.contract.arguments import one_of
from flowkit.contract.errors import label
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing.causes import Raised, cause_of, slip_of_the_checker
from flowkit.testing.clauses import CLAUSES, known
from flowkit.testing.examples import Example, drawn_from, failing, replayed, standard, strategy_for
from flowkit.testing.judging import SIDES, Broken, Imprecise, NotAsked, Undecided
from flowkit.testing.report import BrokenPromise, Report, Result
from flowkit.testing.subject import Subject
from flowkit.testing.tolerances import log_abs_det
from flowkit.testing.trial import Trial

ESSENTIAL = ("round trip", "inverse round trip", "log-det", "inverse log-det")
"""The clauses that make a map a bijector with a density: a report without a verdict on them is no success."""

_CLOSE, _LOOKS = 16, 4  # an error of less than _CLOSE times what is allowed is looked at again _LOOKS times
_UNCLEAR = "no digit can be told from rounding, or from the error that the spec allows, at any example"
_SHRINKS = 120  # evaluations spent on making a failing example smaller
_OCTAVES = 10  # by which its numbers may shrink at the end
_COORDINATE = dict(zip(ESSENTIAL, ("x", "z", "x", "z"), strict=True))
_FOLLOWS = {"inverse round trip": "round trip", "gaps": "round trip", "inverse log-det": "log-det"}
"""The clauses that hardly hold where another one is broken: one wrong answer breaks both."""


@dataclass(frozen=True)
class Profile:
    """`examples` for each clause and at most `events` shapes, unless the caller names others.

    `clauses` are those checked. `thorough` takes an engine's compiler through all its stages.
    """

    examples: int
    events: int
    clauses: tuple[str, ...] = tuple(CLAUSES)
    thorough: bool = False


PROFILES = {
    "fast": Profile(examples=8, events=2, clauses=(*ESSENTIAL, "float32")),
    "full": Profile(examples=25, events=3),
    "thorough": Profile(examples=200, events=12, thorough=True),
}


def profile_of(name):
    """Return the `Profile` of that name. Raises ValueError for another."""
    return PROFILES[one_of("profile", name, tuple(PROFILES))]


def chosen(clauses, profile):
    """Return the names of the clauses that are given, or those of a profile. Raises ValueError for an unknown one."""
    return [known(name) for name in (profile_of(profile).clauses if clauses is None else clauses)]


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
    - `profile`: "full" (every clause, 25 examples each), "fast" (round trips, log-dets and float32, 8 examples each)
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
    begin = time.perf_counter()
    names = chosen(clauses, profile)
    waived = {known(name): reason for name, reason in (waived or {}).items()}
    if replay is not None and event_shapes is None:
        event_shapes = [replay.event]
    options = {"event_shapes": event_shapes, "context": context, "examples": examples}
    check = _check_of(bijector, replay, drawn, {**options, "profile": profile, "seed": seed})
    results: list[Result] = []
    causes: dict[object, str] = {}  # of errors that several clauses meet: the first one that reports each
    broken: set[str] = set()
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
        if result.verdict == "broken":
            broken.add(name)
            if _FOLLOWS.get(name) in broken:
                result.follows = _FOLLOWS[name]
                result.reason += f"; probably because {result.follows!r} is broken"
        results.append(result)
    return Report(str(check), engine.name, results, list(check.notes), time.perf_counter() - begin)


def _check_of(bijector, replay, drawn, options):
    """Return the `Check` of one bijector, or `_Drawn` for bijectors that Hypothesis draws."""
    strategy = _strategy(bijector)
    if (drawn is None) != (replay is None or strategy is None):
        raise ValueError(
            f"check_bijector: got replay={replay!r} and drawn={drawn!r}, expected both for a drawn bijector. Take them "
            "from the line of its report."
        )
    if strategy is not None and replay is None:
        return _Drawn(strategy, options)
    return Check(bijector if strategy is None else replayed(strategy, drawn), drawn=drawn, **options)


class Check:
    """The check of one bijector; trials are kept, so that clauses share their work.

    `drawn` is Hypothesis's blob of a drawn bijector, for the line that replays a failure.
    """

    def __init__(
        self, given, *, event_shapes=None, context=None, examples=None, profile="full", seed=0, drawn=None
    ):
        self.profile, self.seed = profile_of(profile), seed
        self.subject = Subject(
            given,
            event_shapes=event_shapes,
            context=context,
            most_events=self.profile.events,
            thorough=self.profile.thorough,
        )
        self.examples = self.profile.examples if examples is None else examples
        self._replay_options = {"drawn": drawn, "context": context}
        if profile != "full":
            self._replay_options["profile"] = profile
        self.trial = functools.cache(functools.partial(Trial, self.subject))

    def run(self, name, replay=None, causes=None):
        """Return the `Result` of one clause. `causes` {cause: clause} are errors that were reported before."""
        with warnings.catch_warnings():
            # Keras 3.15 reads a variable's value, and on PyTorch any tensor's, in a way that NumPy 2 warns of each
            # time. Where warnings are errors, that would pass for a broken promise.
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept", DeprecationWarning)
            return self._run(CLAUSES[name], replay, causes or {})

    def _run(self, clause, replay, causes):
        reason, model = None, self.subject.model
        if clause.name in getattr(model, "not_asked", ()):
            return Result(clause.name, "not asked", reason=model.not_applicable)
        if missing := [inverse for inverse in clause.needs if not self.subject.has(inverse)]:
            return Result(clause.name, "not asked", reason=f"no {SIDES[missing[0]]}")
        tried, judged, note, imprecise = 0, 0, "", False
        for example in [replay] if replay is not None else self._plan(clause):
            tried += 1
            fault = self._fault(clause, example)
            if isinstance(fault, NotAsked):
                return Result(clause.name, "not asked", reason=str(fault))
            if isinstance(fault, Undecided):
                reason, imprecise = str(fault) or reason, imprecise or isinstance(fault, Imprecise)
                continue
            cause = getattr(fault, "cause", None)
            if cause in causes:
                reason = f"{cause}, see {causes[cause]!r}"
                continue
            judged += 1
            if isinstance(fault, str):
                note = note or fault
            elif fault is not None:
                if replay is None and clause.per == "example":
                    example, fault = self._simplify(clause, example, fault)
                error = self._error(clause, example, fault)
                return Result(clause.name, "broken", tried, str(fault), error, cause)
        if judged:
            return Result(clause.name, "kept", judged, note=note)
        result = Result(clause.name, "not asked", tried, reason or _UNCLEAR)
        if imprecise and clause.name in ESSENTIAL:
            result.error = self._unverified(result)
        return result

    def __str__(self):
        return label(self.subject.model)

    @property
    def notes(self):
        """Return the lines of a report beside the verdicts."""
        narrow = (
            "rounds float64 to float32, so all is judged in that: flowkit.numerics has functions that do not"
        )
        notes = [f"{SIDES[inverse]} {narrow}" for inverse in sorted(self.subject.narrow)]
        for inverse in (True, False):
            if not self.subject.has(inverse):
                names = ", ".join(repr(name) for name, clause in CLAUSES.items() if inverse in clause.needs)
                why = self.subject.missing(inverse)
                notes.append(f"{SIDES[inverse]}: {why}: clauses {names} not asked")
        return notes

    def _plan(self, clause):
        """Return the examples for a clause: the standard ones, then drawn ones; fewer if that is enough."""
        events = self.subject.events
        if clause.per != "example":
            chosen = events[-1:] if clause.per == "once" else events
            return [Example(event, seed=1, noise=1.0) for event in chosen]
        return self._examples[: max(self.examples, len(events))]

    @functools.cached_property
    def _examples(self):
        fixed, strategy = list(standard(self.subject.events)), strategy_for(self.subject.events)
        return fixed + drawn_from(strategy, max(0, self.examples - len(fixed)), self.seed)

    def _fault(self, clause, example):
        """Return None if the promise holds for the example, `Broken` if it does not, `Undecided` if that is unclear.

        A text is a note: an error that the layer's own precision cannot show.
        """
        try:
            clause.check(self.trial(example))
        except Undecided as found:
            return found
        except Broken as found:
            if found.cause is None and found.__cause__ is not None:
                found.cause = cause_of(found.__cause__)
            # Another library's object works in the type of what it is given, up to its own `precision`.
            layer = self.subject.layer(example.event)
            kind = getattr(layer, "precision", layer.compute_dtype)
            if found.negligible(rounding_unit(kind)):
                return f"{found}: an error of {found.measured:.2g}, which {kind} cannot show"
            return None if self._was_chance(clause, example, found) else found
        except Exception as error:  # an author's code may raise anything, and an error breaks the promise
            if slip_of_the_checker(error):
                raise
            return Raised(error)
        return None

    def _was_chance(self, clause, example, found):
        """Return True if a narrow failure passes with other random draws, by which errors are measured."""
        if found.measured is None or not found.measured < _CLOSE * found.allowed:
            return False
        for draw in range(1, 1 + _LOOKS):
            try:
                clause.check(Trial(self.subject, example, draw))
            except Broken:
                continue
            except Undecided:
                pass
            return True
        return False

    def _simplify(self, clause, example, fault):
        """Return the simplest example that Hypothesis finds to fail in the same way, and its fault."""
        found = {example: fault}

        def fails(candidate):
            if candidate not in found:
                found[candidate] = self._fault(clause, candidate) if len(found) < _SHRINKS else None
            return _same(found[candidate], fault)

        if not hypothesis.currently_in_test_context():  # Hypothesis refuses a search within another
            failing(strategy_for(self.subject.events), fails, examples=40, seed=self.seed)
        simplest = min(filter(fails, list(found)), key=Example.weight)
        return self._shrink(clause, simplest, found[simplest])

    def _shrink(self, clause, example, fault):
        """Return the example with its numbers as small as they still fail, and its fault, which says how small.

        A promise that breaks near zero too keeps the example: its plain numbers read better.
        """
        found = {}

        def fails(candidate):
            found[candidate] = self._fault(clause, candidate)
            return _same(found[candidate], fault)

        largest = self._largest(clause, example, fault)
        if largest and fails(plain := replace(example, noise=0.0, values=(math.ceil(largest),))):
            example, fault = plain, found[plain]
        least = 0.5**_OCTAVES
        if example.times(least) == example or fails(example.times(least)):
            return example, fault
        low, high = least, 1.0
        while high > 1.01 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if fails(example.times(middle)) else (middle, high)
        size = max(map(abs, example.values))
        few_digits = example.times(float(f"{high * size:.1e}") / size if size else high)
        smallest = few_digits if fails(few_digits) else example.times(high)
        fault = found.get(smallest, fault)
        if largest := self._largest(clause, smallest, fault):
            fault.received += f", first wrong near |{_COORDINATE[clause.name]}| = {largest:.2g}"
        return smallest, fault

    def _largest(self, clause, example, fault):
        """Return the largest absolute entry of the sample that fails, None unless all real numbers may be entries."""
        inverse = _COORDINATE.get(clause.name) == "z"
        trial = self.trial(example)
        if clause.name not in _COORDINATE or fault.sample is None or trial.domain(inverse) != Domain.REAL:
            return None
        return float(np.abs(trial.points(inverse)[fault.sample]).max())

    # Errors of a broken promise, and of one that was not verified

    def _unverified(self, result):
        return ContractError(
            result.clause,
            self.subject.model,
            expected="an example that can be judged",
            received=f"none: {result.reason}",
            hint="So the promise was not verified. Pass event_shapes= of fewer entries, or more examples=, use "
            f"operations that keep float64, or waive the clause: waived={{{result.clause!r}: reason}}.",
        )

    def _error(self, clause, example, found):
        return BrokenPromise(
            clause.name,
            self.subject.model,
            expected=found.expected,
            received=found.received,
            hint=self._hint(clause, example, found),
            measured=found.measured,
            allowed=found.allowed,
            conditioning=self._conditioning(example, found.sample),
            config=repr(self.subject.model),
            example=example,
            replay=replay_line(clause.name, example, self._replay_options),
        )

    def _hint(self, clause, example, found):
        """Return the hint. For an error, its line; and the clause's hint only if a plain call does not raise it."""
        if not isinstance(found, Raised):
            return found.hint or clause.hint
        plain = self._fault(CLAUSES["log-det shape"], example)  # calls both directions
        usual = "" if getattr(plain, "cause", None) == found.cause else clause.hint
        hint = found.hint or _other_shape(Trial(self.subject, example)) or usual
        line = f"It comes from {found.cause.line}." if found.cause.line else ""
        return f"{hint} {line}".strip() or None

    def _conditioning(self, example, sample):
        """Return the condition number of the Jacobian where the promise broke; None if there is none."""
        if sample is None:
            return None
        try:
            trial = self.trial(example)
            return float(log_abs_det(*trial.jacobians, trial.eps)[2][sample])
        except Exception:  # the layer is broken, so anything may go wrong on the way to a mere detail
            return None


def _same(found, fault):
    """Return True if a promise is broken in the same way."""
    return isinstance(found, Broken) and found.cause == fault.cause


def _other_shape(trial):
    """Return the hint for an output of another shape than that of compute_output_shape."""
    try:
        found, expected = trial.run32(inverse=False)[0].shape[1:], trial.latent_event
    except Exception:  # the layer is broken, and how is what the error says
        return ""
    if found == expected:
        return ""
    return (
        f"forward gives events of shape {found}, and compute_output_shape says {expected}: a map that changes "
        "shapes must define compute_output_shape and compute_inverse_shape."
    )


def replay_line(clause, example, options):
    """Return the call that repeats a failure, with ... for the bijector, and for a context that is a function."""
    given = {"clauses": [clause], "replay": example, **options}
    words = [
        f"{name}={'...' if callable(value) else repr(value)}"
        for name, value in given.items()
        if value is not None
    ]
    return f"check_bijector(..., {', '.join(words)})  # backend {engine.name}"


# Bijectors that Hypothesis draws


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
