"""The clauses as pytest items: one for each bijector and clause, with a name that says which."""

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from flowkit.contract import FlowLayer, Tensor
from flowkit.engines import engine
from flowkit.testing.checker import Check, chosen
from flowkit.testing.clauses import known


def _option(name, usual):
    """Return what an option of the pytest plugin says for all items."""
    return os.environ.get(f"FLOWKIT_BIJECTOR_{name}", usual)


@dataclass(frozen=True, eq=False)
class Case:
    """A bijector with a name and what the checker cannot know: events that suit it, what a context looks like.

    `make` makes one, or is an instance. `waived` is {clause: why it is known to be broken}, or {clause: {backend: why}}
    if only some backends break it. A waiver that is not needed is an error. `tolerated` is like it, for clauses that
    may hold as well.

    >>> from flowkit.bijectors import Exp
    >>> case = Case("exp", Exp, event_shapes=((3,),))
    >>> case.check("round trip", profile="fast")
    >>> case
    Case(name='exp', event_shapes=((3,),), waived={}, tolerated={})
    """

    name: str
    make: object = field(repr=False)
    event_shapes: tuple | None = None
    context: object = field(default=None, repr=False)
    waived: dict = field(default_factory=dict)
    tolerated: dict = field(default_factory=dict)

    def __post_init__(self):
        for clause in (*self.waived, *self.tolerated):
            known(clause)

    def check(self, clause: str, profile: str | None = None) -> None:
        """Raise `ContractError` if this case breaks the clause; an expected failure if it is waived.

        `profile` is the pytest session's, if it is None.
        """
        result, reason = self.run(clause, profile), _reason(self.waived, clause)
        if result.error is not None:
            if accepted := reason or _reason(self.tolerated, clause):
                pytest.xfail(accepted)
            raise result.error
        if reason:
            pytest.fail(
                f"waiver not needed: {self.name!r} waives {clause!r} ({reason}), which is {result.verdict} "
                f"on {engine.name}. Remove it, or name the backends that need it: {{clause: {{backend: reason}}}}.",
                pytrace=False,
            )

    def run(self, clause: str, profile: str | None = None) -> Tensor:
        """Return the `Result` of a clause."""
        examples, profile = int(_option("EXAMPLES", 5)), profile or _option("PROFILE", "full")
        return _checker(self, examples, profile).run(clause)


@functools.lru_cache(maxsize=1)  # items come case by case: one checker's compiled functions at a time
def _checker(case, examples, profile):
    options = {"examples": examples, "profile": profile}
    return Check(case.make, event_shapes=case.event_shapes, context=case.context, **options)


def _reason(waivers, clause):
    """Return why a clause may be broken on this backend, or None."""
    waiver = waivers.get(clause)
    return waiver.get(engine.name) if isinstance(waiver, dict) else waiver


def parametrize_bijectors(
    bijectors: Iterable[FlowLayer],
    *,
    clauses: Sequence[str] | None = None,
    waived: dict[str, Any] | None = None,
    profile: str | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Run a test once for each bijector and clause, as `test(bijector, check)`; a decorator.

    `bijectors` is a list of instances, `Case`s, or functions that make one, or a dict of them by name. `waived` is
    {clause: reason} for those of them that break it. `profile` is that of `check_bijector`; by default what pytest's
    option `--bijector-profile` says: "full", if it is not given. The test says `check(bijector)`.

    Raises ValueError for an unknown profile or clause.
    """
    named = (
        bijectors.items() if isinstance(bijectors, dict) else [(_name(given), given) for given in bijectors]
    )
    cases = [_case(name, given, waived or {}) for name, given in named]
    names = chosen(clauses, profile or _option("PROFILE", "full"))
    params = [
        pytest.param(case, Asked(name, profile), id=f"{case.name}-{name.replace(' ', '_')}")
        for case in cases
        for name in names
    ]
    parametrized = pytest.mark.parametrize(("bijector", "check"), params)
    return lambda test: pytest.mark.bijector_contract(parametrized(test))


@dataclass(frozen=True)
class Asked:
    """A clause as a test calls it."""

    clause: str
    profile: str | None

    def __call__(self, case):
        case.check(self.clause, self.profile)


def _name(given):
    if isinstance(given, FlowLayer):
        return repr(given)
    return getattr(given, "name", None) or getattr(given, "__name__", repr(given))


def _case(name, given, waived):
    given = given if isinstance(given, Case) else Case(name, given)
    return replace(given, name=name, tolerated={**waived, **given.tolerated})
