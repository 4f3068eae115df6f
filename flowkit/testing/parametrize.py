"""The clauses as pytest items: one for each bijector and clause, with a name that says which."""

from dataclasses import dataclass, field

import pytest

import flowkit.testing.clauses  # noqa: F401  (fills CLAUSES)
from flowkit.contract import Bijector
from flowkit.testing.check import Check
from flowkit.testing.clause import CLAUSES

OPTIONS = {"examples": 4, "profile": "quick"}
"""What the pytest plugin's options set for all items."""


@dataclass(frozen=True, eq=False)
class Case:
    """A bijector with a name and what the checker cannot know: events that suit it, what a context looks like.

    `make` makes one, or is an instance. `waived` is {clause: why it is known to be broken}.
    """

    name: str
    make: object
    event_shapes: tuple | None = None
    context: object = None
    waived: dict = field(default_factory=dict)

    def check(self, clause):
        """Raise `ContractError` where this case breaks the clause; an expected failure where it is waived."""
        result = self._checker().run(clause)
        if result.verdict == "broken":
            if clause in self.waived:
                pytest.xfail(self.waived[clause])
            raise result.error

    def _checker(self):
        key = id(self), tuple(OPTIONS.items())
        if _KEPT.get("key") != key:  # items come case by case: one checker's compiled functions at a time
            _KEPT.update(
                key=key,
                checker=Check(self.make, event_shapes=self.event_shapes, context=self.context, **OPTIONS),
            )
        return _KEPT["checker"]


_KEPT = {}


def parametrize_bijectors(bijectors, *, clauses=None, waived=None):
    """A decorator that runs a test once for each bijector and clause, as `test(bijector, check)`.

    `bijectors` is a list of instances, `Case`s, or functions that make one, or a dict of them by name. `waived` is
    {clause: reason} for all of them. The test says `check(bijector)`.
    """
    cases = [_case(name, given, waived or {}) for name, given in _named(bijectors)]
    names = [name for name in CLAUSES if clauses is None or name in clauses]
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
    if isinstance(given, Case):
        return Case(name, given.make, given.event_shapes, given.context, {**waived, **given.waived})
    return Case(name, given, waived=waived)
