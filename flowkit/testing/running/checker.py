"""One bijector and everything tried on it, clause by clause."""

import time
import warnings
from dataclasses import replace

from flowkit.contract import ContractError
from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.catalogue import CLAUSES
from flowkit.testing.given.adapters import NOT_APPLICABLE
from flowkit.testing.given.example import Example, standard
from flowkit.testing.given.strategies import examples as some_examples
from flowkit.testing.given.subject import Subject
from flowkit.testing.given.trial import Trial
from flowkit.testing.running.evidence import broken_promise
from flowkit.testing.running.profiles import ESSENTIAL, profile_of
from flowkit.testing.running.search import drawn_from, failing
from flowkit.testing.verdicts import narrowing
from flowkit.testing.verdicts.broken import Broken, Imprecise, Negligible, Undecided
from flowkit.testing.verdicts.cause import Raised, cause_of, slip_of_the_checker
from flowkit.testing.verdicts.report import Result

_CLOSE, _LOOKS = 16, 4  # an error of less than so many times what is allowed is looked at again so often
_UNTOLD = "no digit can be told from rounding, or from the error that the spec allows, at any example"
_SHRINKS = 120  # evaluations spent on making a failing example smaller


class Check:
    """One bijector and everything tried on it; trials are kept, so that clauses share their work.

    `drawn` is what the bijector was made from, for the line that replays a failure.
    """

    def __init__(
        self, given, *, event_shapes=None, context=None, examples=None, profile="full", seed=0, drawn=None
    ):
        self.profile, self.seed = profile_of(profile), seed
        self.subject = Subject(
            given, event_shapes=event_shapes, context=context, most_events=self.profile.events
        )
        self.examples = self.profile.examples if examples is None else examples
        self.replay_options = {"context": context, "profile": profile, "drawn": drawn}
        self._trials = {}
        self._some = None

    def trial(self, example):
        """The trial of an example: the same one to every clause."""
        if example not in self._trials:
            self._trials[example] = Trial(self.subject, example, self.profile.thorough)
        return self._trials[example]

    def run(self, name, replay=None, causes=None):
        """The `Result` of one clause. `causes` {cause: clause} are errors that were reported before."""
        with warnings.catch_warnings():
            # Keras 3.15 reads a variable's value, and on PyTorch any tensor's, in a way that NumPy 2 warns of each
            # time. Where warnings are errors, that would pass for a broken promise.
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept", DeprecationWarning)
            return self._run(name, replay, causes)

    def _run(self, name, replay, causes):
        clause, causes = CLAUSES[name], causes or {}
        reason = self._not_asked(clause)
        if reason is not None:
            return Result(name, "not asked", reason=reason)
        tried, judged, note, imprecise = 0, 0, "", False
        for example in [replay] if replay is not None else self._plan(clause):
            tried += 1
            fault = self._fault(clause, example)
            if isinstance(fault, Undecided):
                reason = str(fault) or reason
                imprecise |= isinstance(fault, Imprecise)
                continue
            cause = _cause(fault)
            if cause in causes:
                reason = f"{cause}, see {causes[cause]!r}"
                continue
            judged += 1
            if isinstance(fault, Negligible):
                note = note or fault.text
            elif fault is not None:
                if replay is None and clause.per == "example":
                    example, fault = self._simplify(clause, example, fault)
                return self._broken(clause, example, fault, tried)
        if judged:
            return Result(name, "kept", judged, note=note)
        reason = reason or _UNTOLD
        unsure = imprecise and name in ESSENTIAL
        return Result(name, "not asked", tried, reason, self._unverified(name, reason) if unsure else None)

    def _unverified(self, name, reason):
        """The error of a promise that no example could verify."""
        return ContractError(
            name,
            self.subject.model,
            expected="an example that can be judged",
            received=f"none: {reason}",
            hint="So the promise was not verified. Pass event_shapes= of fewer entries, or more examples=, use "
            "operations that keep float64, or waive the clause: waived={" + repr(name) + ": reason}.",
        )

    @property
    def notes(self):
        """What the report tells beside the verdicts."""
        notes = narrowing.notes(self.subject.narrow)
        if self.subject.no_inverse is not None:
            left_out = ", ".join(repr(name) for name, clause in CLAUSES.items() if clause.needs_inverse)
            notes.append(f"inverse: {self.subject.no_inverse}: clauses {left_out} not asked")
        if not self.subject.has(False):
            left_out = ", ".join(repr(name) for name, clause in CLAUSES.items() if clause.needs_forward)
            notes.append(f'forward: none, as the spec says (forward="none"): clauses {left_out} not asked')
        return notes

    def _not_asked(self, clause):
        """Why the clause is not asked of this bijector, or None."""
        if clause.name in NOT_APPLICABLE and getattr(self.subject.model, "not_applicable", None):
            return self.subject.model.not_applicable
        try:
            if clause.needs_inverse and self.subject.no_inverse is not None:
                return "no inverse"
            if clause.needs_forward and not self.subject.has(False):
                return "no forward"
            return clause.applies(self.subject)
        except Exception:  # the layer does not even build, as the clause itself will say
            return None

    def _plan(self, clause):
        """The examples for a clause: the standard ones, then drawn ones; fewer if that is enough."""
        events = self.subject.events
        if clause.per == "once":
            return [Example(events[-1], seed=1, noise=1.0)]
        if clause.per == "event":
            return [Example(event, seed=1, noise=1.0) for event in events]
        fixed = list(standard(events))
        if self._some is None:  # the same for every clause
            self._some = drawn_from(some_examples(events), max(0, self.examples - len(fixed)), self.seed)
        return [*fixed, *self._some][: max(self.examples, len(events))]

    def _fault(self, clause, example):
        """None if the promise holds for the example; otherwise what says that it does not, or `Undecided`."""
        try:
            clause.check(self.trial(example))
        except Undecided as found:
            return found
        except Broken as found:
            if found.negligible(rounding_unit(self._type(example))):
                return Negligible(
                    f"{found}: an error of {found.measured:.2g}, which {self._type(example)} cannot show"
                )
            return None if self._was_chance(clause, example, found) else found
        except Exception as error:  # an author's code may raise anything, and an error breaks the promise
            if slip_of_the_checker(error):
                raise
            return Raised(error)
        return None

    def _type(self, example):
        """The type that the layer itself works in, whatever the copy that is judged works in.

        Another library's object works in the type of what it is given, up to its own `precision`.
        """
        layer = self.subject.layer(example.event)
        return getattr(layer, "precision", layer.compute_dtype)

    def _was_chance(self, clause, example, found):
        """Whether a close call is none at a second look: the few random draws that measure errors can be low."""
        if found.measured is None or not found.measured < _CLOSE * found.allowed:
            return False
        for draw in range(1, 1 + _LOOKS):
            try:
                clause.check(Trial(self.subject, example, self.profile.thorough, draw))
            except Broken:
                continue
            except Undecided:
                pass
            return True
        return False

    def _simplify(self, clause, example, fault):
        """The simplest example that Hypothesis finds to fail in the same way as `example` does, and its fault."""
        cause = _cause(fault)

        def fails(candidate):
            found = self._fault(clause, candidate)
            return isinstance(found, Broken) and _cause(found) == cause

        options = {"examples": 40, "looks": _SHRINKS, "seed": self.seed}
        simplest = min(
            [example, *failing(some_examples(self.subject.events), fails, **options)], key=Example.weight
        )
        if simplest == example:
            return example, fault
        fault = self._fault(clause, simplest)
        if not isinstance(fault, Broken):
            fault = Broken("the same verdict each time", "one failure that did not happen again")
        return simplest, fault

    def _broken(self, clause, example, found, tried):
        error = broken_promise(self, clause, example, found)
        return Result(clause.name, "broken", tried, str(found), error, _cause(found))


def results_of(names, run, waived, *, raises):
    """The results of `run(name, causes)` for each clause: an error that several meet is reported by the first."""
    results, causes = [], {}
    for name in names:
        start = time.perf_counter()
        result = run(name, causes)
        result = replace(result, seconds=time.perf_counter() - start)
        if result.error is not None and name in waived:
            result = replace(result, verdict="waived", reason=waived[name], error=None, cause=None)
        elif result.error is not None:
            if raises:
                raise result.error
            if result.cause is not None:
                causes.setdefault(result.cause, name)
        results.append(result)
    return results


def _cause(fault):
    """What other clauses fail by as well: the error behind a fault, or a cast; None if there is none."""
    if getattr(fault, "cause", None) is not None:
        return fault.cause
    behind = getattr(fault, "__cause__", None)
    return None if behind is None else cause_of(behind)
