"""The clauses as pytest items: one for each bijector and clause, with a name that says which."""

from dataclasses import dataclass, field, replace

import pytest

import flowkit.testing.clauses  # noqa: F401  (fills CLAUSES)
from flowkit import backends
from flowkit.contract import Bijector
from flowkit.testing.checker import Check
from flowkit.testing.clause import CLAUSES, known

OPTIONS = {"examples": 4, "profile": "quick"}
"""What the pytest plugin's options set for all items."""


@dataclass(frozen=True, eq=False)
class Case:
    """A bijector with a name and what the checker cannot know: events that suit it, what a context looks like.

    `make` makes one, or is an instance. `waived` is {clause: why it is known to be broken}, or {clause: {engine: why}}
    where only some engines break it. A waiver that is not needed is an error. `tolerated` is like it, for clauses that
    may hold as well.
    """

    name: str
    make: object
    event_shapes: tuple | None = None
    context: object = None
    waived: dict = field(default_factory=dict)
    tolerated: dict = field(default_factory=dict)

    def __post_init__(self):
        for clause in (*self.waived, *self.tolerated):
            known(clause)

    def check(self, clause):
        """Raise `ContractError` where this case breaks the clause; an expected failure where it is waived."""
        result, reason = self._checker().run(clause), _reason(self.waived, clause)
        if result.verdict == "broken":
            if accepted := reason or _reason(self.tolerated, clause):
                pytest.xfail(accepted)
            raise result.error
        if reason:
            pytest.fail(
                f"waiver not needed: {self.name!r} waives {clause!r} ({reason}), which is {result.verdict} "
                f"on {backends.name()}. Remove it, or name the engines that need it: {{clause: {{engine: reason}}}}.",
                pytrace=False,
            )

    def _checker(self):
        key = id(self), tuple(OPTIONS.items())
        if _KEPT.get("key") != key:  # items come case by case: one checker's compiled functions at a time
            _KEPT.update(
                key=key,
                checker=Check(self.make, event_shapes=self.event_shapes, context=self.context, **OPTIONS),
            )
        return _KEPT["checker"]


_KEPT = {}


def _reason(waivers, clause):
    """Why a clause may be broken on this engine, or None."""
    waiver = waivers.get(clause)
    return waiver.get(backends.name()) if isinstance(waiver, dict) else waiver


def parametrize_bijectors(bijectors, *, clauses=None, waived=None):
    """A decorator that runs a test once for each bijector and clause, as `test(bijector, check)`.

    `bijectors` is a list of instances, `Case`s, or functions that make one, or a dict of them by name. `waived` is
    {clause: reason} for those of them that break it. The test says `check(bijector)`.
    """
    cases = [_case(name, given, waived or {}) for name, given in _named(bijectors)]
    names = list(CLAUSES) if clauses is None else [known(name) for name in clauses]
    params = [
        pytest.param(case, _checker(name), id=f"{case.name}-{name.replace(' ', '_')}")
        for case in cases
        for name in names
    ]
    parametrized = pytest.mark.parametrize(("bijector", "check"), params)
    return lambda test: pytest.mark.bijector_contract(parametrized(test))


def _checker(clause):
    return lambda case: case.check(clause)


def _named(bijectors):
    if isinstance(bijectors, dict):
        return list(bijectors.items())
    return [(_name(given), given) for given in bijectors]


def _name(given):
    if isinstance(given, Bijector):
        config = given.get_config()
        plain = [
            f"{k}={v}"
            for k, v in config.items()
            if isinstance(v, (bool, int, float, str)) and k not in _COMMON
        ]
        return f"{type(given).__name__}({', '.join(plain)})" if plain else type(given).__name__
    return getattr(given, "name", None) or getattr(given, "__name__", repr(given))


_COMMON = ("name", "dtype", "trainable")


def _case(name, given, waived):
    given = given if isinstance(given, Case) else Case(name, given)
    return replace(given, name=name, tolerated={**waived, **given.tolerated})
