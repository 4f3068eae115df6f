"""Checking a bijector against every clause."""

import contextlib
import inspect
import os
import traceback

import hypothesis

import flowkit.testing.clauses  # noqa: F401  (fills CLAUSES)
from flowkit import backends
from flowkit.contract import ContractError
from flowkit.testing.adapters import NOT_APPLICABLE
from flowkit.testing.clause import CLAUSES, Broken, Undecided
from flowkit.testing.drawn import check_drawn
from flowkit.testing.example import Example, standard
from flowkit.testing.report import BrokenPromise, Report, Result
from flowkit.testing.strategies import examples as draw_examples
from flowkit.testing.subject import Subject
from flowkit.testing.tolerances import log_abs_det
from flowkit.testing.trial import Trial

PROFILES = {"quick": 25, "thorough": 200}
"""How many examples a profile draws for each clause, where the caller does not say."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_CLOSE, _LOOKS = 16, 4  # an error of less than so many times what is allowed is looked at again so often
_SHRINKS = 120  # evaluations spent on making a failing example smaller


class Check:
    """One bijector and everything tried on it; trials are kept, so that clauses share their work."""

    def __init__(self, given, *, event_shapes=None, context=None, examples=None, profile="quick", seed=0):
        most = 3 if profile == "quick" else 12
        self.subject = Subject(given, event_shapes=event_shapes, context=context, most_events=most)
        self.examples = PROFILES[profile] if examples is None else examples
        self.profile, self.seed = profile, seed
        self._trials = {}
        self._drawn = None

    def trial(self, example):
        """The trial of an example: the same one to every clause."""
        if example not in self._trials:
            self._trials[example] = Trial(self.subject, example, self.profile == "thorough")
        return self._trials[example]

    def run(self, name, replay=None):
        """The `Result` of one clause."""
        clause = CLAUSES[name]
        reason = getattr(self.subject.model, "not_applicable", None) if name in NOT_APPLICABLE else None
        reason = reason or clause.applies(self.subject)
        if reason is not None:
            return Result(name, "not asked", reason=reason)
        tried, judged, reason = 0, 0, ""
        for example in [replay] if replay is not None else self._plan(clause):
            tried += 1
            fault = self._fault(clause, example)
            if isinstance(fault, Undecided):
                reason = str(fault) or reason
                continue
            judged += 1
            if fault is not None:
                simplest = (
                    example
                    if replay is not None or clause.per != "example"
                    else self._simplify(clause, example)
                )
                return self._broken(clause, simplest, tried)
        if not judged and (reason or clause.per != "example"):
            reason = reason or "rounding in float32 leaves no digit to judge"
            return Result(name, "not asked", tried, reason)
        if not judged:
            text = "none of the examples could be judged: the map is too badly conditioned at all of them"
            error = self._error(clause, example, Broken("an error that can be told from rounding", text))
            return Result(name, "broken", tried, text, error)
        return Result(name, "kept", judged)

    def _plan(self, clause):
        """The examples for a clause: the standard ones, then drawn ones; fewer where that is enough."""
        events = self.subject.events
        if clause.per == "once":
            return [Example(events[-1], seed=1, noise=1.0)]
        if clause.per == "event":
            return [Example(event, seed=1, noise=1.0) for event in events]
        fixed = list(standard(events))
        return [*fixed, *self._draw(max(0, self.examples - len(fixed)))][: max(self.examples, len(events))]

    def _draw(self, count):
        """`count` examples from Hypothesis, the same for every clause and every run with this seed."""
        if self._drawn is None and count:
            drawn = []

            @hypothesis.settings(_SETTINGS, max_examples=count)
            @hypothesis.seed(self.seed)
            @hypothesis.given(draw_examples(self.subject.events))
            def collect(example):
                drawn.append(example)

            collect()
            self._drawn = drawn[:count]
        return self._drawn or []

    def _fault(self, clause, example):
        """None where the promise holds for the example; otherwise what says that it does not, or `Undecided`."""
        try:
            clause.check(self.trial(example))
        except Undecided as found:
            return found
        except Broken as found:
            return None if self._was_chance(clause, example, found) else found
        except ContractError as error:
            return Broken("an answer", str(error))
        except Exception as error:  # an author's code may raise anything, and an error breaks the promise
            if _own(error):
                raise
            text = " ".join(str(error).split())
            return Broken("an answer", f"{type(error).__name__}: {text[:400]}")
        return None

    def _was_chance(self, clause, example, found):
        """Whether a close call is none at a second look: the few random draws that measure errors can be low."""
        if found.measured is None or not found.measured < _CLOSE * found.allowed:
            return False
        for draw in range(1, 1 + _LOOKS):
            try:
                clause.check(Trial(self.subject, example, self.profile == "thorough", draw))
            except Broken:
                continue
            except Undecided:
                pass
            return True
        return False

    def _simplify(self, clause, example):
        """The simplest failing example that Hypothesis finds, starting from the knowledge that one exists."""
        best, left, verdicts = example, [_SHRINKS], {}

        @hypothesis.settings(
            _SETTINGS, max_examples=40, phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink)
        )
        @hypothesis.seed(self.seed)
        @hypothesis.given(draw_examples(self.subject.events))
        def fails(candidate):
            nonlocal best
            if candidate not in verdicts:
                left[0] -= 1
                verdicts[candidate] = left[0] >= 0 and isinstance(self._fault(clause, candidate), Broken)
            if verdicts[candidate]:
                best = min(best, candidate, key=Example.weight)
                raise _Found

        with contextlib.suppress(_Found):
            fails()
        return best

    def _broken(self, clause, example, tried):
        found = self._fault(clause, example)
        if not isinstance(found, Broken):
            found = Broken("the same verdict each time", "one failure that did not happen again")
        error = self._error(clause, example, found)
        return Result(clause.name, "broken", tried, str(found), error)

    def _error(self, clause, example, found):
        subject = self.subject
        return BrokenPromise(
            clause.name,
            subject.model,
            expected=found.expected,
            received=found.received,
            hint=found.hint or clause.hint,
            measured=found.measured,
            allowed=found.allowed,
            conditioning=self._conditioning(example, found.sample),
            config=f"{type(subject.model).__name__}({', '.join(f'{k}={v!r}' for k, v in subject.config.items())})"
            if isinstance(subject.config, dict)
            else subject.config,
            example=example,
            replay=f"check_bijector(..., clauses=[{clause.name!r}], replay={example!r})  # engine {backends.name()}",
        )

    def _conditioning(self, example, sample):
        """The condition number of the Jacobian where the promise broke; None where that cannot be had."""
        if sample is None:
            return None
        try:
            trial = self.trial(example)
            jac, noise = trial.jacobians
            return float(log_abs_det(jac, noise, trial.eps)[2][sample])
        except Exception:  # the layer is broken, so anything may go wrong on the way to a mere detail
            return None


def _own(error):
    """Whether this is a slip of the checker's own, which must not pass for a catch."""
    frames = traceback.extract_tb(error.__traceback__)
    slips = (AttributeError, ImportError, KeyError, NameError, UnboundLocalError)
    return isinstance(error, slips) and frames[-1].filename.startswith(_HERE)


class _Found(Exception):
    """A failing example, to Hypothesis."""


_SETTINGS = hypothesis.settings(
    deadline=None,  # the first call of a shape compiles
    database=None,  # the same verdict whatever ran before
    derandomize=False,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
    verbosity=hypothesis.Verbosity.quiet,
)


def check_bijector(
    bijector,
    *,
    event_shapes=None,
    examples=None,
    clauses=None,
    waived=None,
    context=None,
    profile="quick",
    seed=0,
    replay=None,
    raises=True,
):
    """Check a bijector against every clause; raises `ContractError` for the first that is broken, or returns a report.

    - `bijector`: an instance, which is made again through its config; or a function without arguments that
      makes one; or a function of a Hypothesis `draw` that makes one from drawn arguments; or a strategy.
    - `event_shapes`: those to try; by default some that the spec allows.
    - `examples`: how many for each clause (25, or 200 with `profile="thorough"`).
    - `clauses`: names of those to check; `waived`: {name: why it is known to be broken}. A waived
      clause that holds after all is reported as kept.
    - `context`: the shape of one context, or a function (rng, batch, event) -> array, where the
      bijector reads one. By default labels, where it has `num_classes`, and vectors of 3 otherwise.
    - `seed`: of what is drawn. The same seed gives the same examples.
    - `replay`: the one `Example` of an earlier report.
    - `raises=False`: return the report whatever it says.
    """
    names = list(CLAUSES) if clauses is None else [_known(name) for name in clauses]
    waived = {_known(name): reason for name, reason in (waived or {}).items()}
    options = {
        "event_shapes": event_shapes,
        "context": context,
        "examples": examples,
        "profile": profile,
        "seed": seed,
    }
    if _draws(bijector):
        return check_drawn(bijector, names, waived, options, raises=raises, checker=Check, settings=_SETTINGS)
    check = Check(bijector, **options)
    results = []
    for name in names:
        result = check.run(name, replay)
        if name in waived and result.verdict == "broken":
            result = Result(name, "waived", reason=waived[name])
        if raises and result.error is not None and result.verdict == "broken":
            raise result.error
        results.append(result)
    return Report(str(check.subject), backends.name(), results)


def _known(name):
    if name not in CLAUSES:
        raise ValueError(
            f"check_bijector knows no clause {name!r}: expected one of {', '.join(map(repr, CLAUSES))}."
        )
    return name


def _draws(bijector):
    """Whether this makes another bijector each time: a strategy, or a function of one argument, `draw`."""
    if isinstance(bijector, hypothesis.strategies.SearchStrategy):
        return True
    if not inspect.isfunction(bijector):
        return False
    needed = [p for p in inspect.signature(bijector).parameters.values() if p.default is p.empty]
    return len(needed) == 1 and needed[0].kind in (needed[0].POSITIONAL_ONLY, needed[0].POSITIONAL_OR_KEYWORD)
