"""The clauses as pytest items: one for each bijector and clause, with a name that says which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from flowkit import backends
from flowkit.contract import FlowLayer
from flowkit.testing.clauses.catalogue import CLAUSES, known
from flowkit.testing.running.checker import Check
from flowkit.testing.running.profiles import profile_of

OPTIONS = {"examples": 5, "profile": "full"}
"""What the pytest plugin's options set for all items."""


@dataclass(frozen=True, eq=False)
class Case:
    """A bijector with a name and what the checker cannot know: events that suit it, what a context looks like.

    `make` makes one, or is an instance. `waived` is {clause: why it is known to be broken}, or {clause: {engine: why}}
    where only some engines break it. A waiver that is not needed is an error. `tolerated` is like it, for clauses that
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
        result, reason = self._checker(profile).run(clause), _reason(self.waived, clause)
        if result.error is not None:
            if accepted := reason or _reason(self.tolerated, clause):
                pytest.xfail(accepted)
            raise result.error
        if reason:
            pytest.fail(
                f"waiver not needed: {self.name!r} waives {clause!r} ({reason}), which is {result.verdict} "
                f"on {backends.name()}. Remove it, or name the engines that need it: {{clause: {{engine: reason}}}}.",
                pytrace=False,
            )

    def _checker(self, profile):
        options = OPTIONS if profile is None else {**OPTIONS, "profile": profile}
        key = id(self), tuple(options.items())
        if _KEPT.get("key") != key:  # items come case by case: one checker's compiled functions at a time
            _KEPT.update(
                key=key,
                checker=Check(self.make, event_shapes=self.event_shapes, context=self.context, **options),
            )
        return _KEPT["checker"]


_KEPT = {}


def _reason(waivers, clause):
    """Why a clause may be broken on this engine, or None."""
    waiver = waivers.get(clause)
    return waiver.get(backends.name()) if isinstance(waiver, dict) else waiver


def parametrize_bijectors(
    bijectors: Any,
    *,
    clauses: Sequence[str] | None = None,
    waived: dict[str, Any] | None = None,
    profile: str | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that runs a test once for each bijector and clause, as `test(bijector, check)`.

    `bijectors` is a list of instances, `Case`s, or functions that make one, or a dict of them by name. `waived` is
    {clause: reason} for those of them that break it. `profile` is that of `check_bijector`; by default what pytest's
    option `--bijector-profile` says: "full", if it is not given. The test says `check(bijector)`.

    Raises ValueError for a profile or a clause of another name.
    """
    fixed = clauses is not None or profile is not None
    if clauses is None and profile is not None:
        clauses = profile_of(profile).clauses
    cases = [_case(name, given, waived or {}) for name, given in _named(bijectors)]
    names = list(CLAUSES) if clauses is None else [known(name) for name in clauses]
    params = [
        pytest.param(case, Asked(name, profile, fixed), id=f"{case.name}-{name.replace(' ', '_')}")
        for case in cases
        for name in names
    ]
    parametrized = pytest.mark.parametrize(("bijector", "check"), params)
    return lambda test: pytest.mark.bijector_contract(parametrized(test))


@dataclass(frozen=True)
class Asked:
    """A clause as a test calls it; `fixed` if the module itself says which clauses are asked."""

    clause: str
    profile: str | None
    fixed: bool

    def __call__(self, case):
        case.check(self.clause, self.profile)


def asked(items):
    """(items, others): those of a session's items that its profile asks, which then say what they are; and the rest."""
    clauses = profile_of(OPTIONS["profile"]).clauses
    kept, others = [], []
    for item in items:
        check = getattr(item, "callspec", None) and item.callspec.params.get("check")
        if isinstance(check, Asked):
            item.user_properties.append(
                ("bijector_contract", [item.callspec.params["bijector"].name, check.clause])
            )
            if not (check.fixed or clauses is None or check.clause in clauses):
                others.append(item)
                continue
        kept.append(item)
    return kept, others


def _named(bijectors):
    if isinstance(bijectors, dict):
        return list(bijectors.items())
    return [(_name(given), given) for given in bijectors]


def _name(given):
    if isinstance(given, FlowLayer):
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
