"""What each family of vectors can do, read off the specs of its parts: the table of docs/families.md."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from flowkit.bijectors import Autoregressive, BlockAutoregressive
from flowkit.contract import ContractError
from flowkit.contract.inside import layers_inside

HEADINGS = ("call", "log-likelihood", "density", "time", "sampling", "time", "one feature", "data")
UNIT = "realnvp"  # the family whose times are 1
SMALL = {"layers": 2, "hidden": [8]}  # the least that shows what a family is made of


def with_variants(families: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return `families`, and those of their arguments that change a row of the table, by the call that is meant."""
    return {
        **families,
        'residual(trace="roulette")': functools.partial(families["residual"], trace="roulette"),
    }


def comparison(
    families: dict[str, Callable[..., Any]], times: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """Return a table in Markdown, a row for each family: what its flow's likelihood is, and what each direction costs.

    "one pass" asks each network once; "one by one" finds a feature after the other; a "solved" number is found to
    rounding by a search. `times` are what a "density" and a "sample" of a row took, name -> direction -> time, as
    benchmarks/families.json has them; they are told as multiples of those of `realnvp`.

    >>> from flowkit.zoo import nsf
    >>> times = {"realnvp": {"density": 2.0, "sample": 4.0}, "nsf": {"density": 5.0, "sample": 8.0}}
    >>> print(comparison({"nsf": nsf}, times).splitlines()[-1])
    | `nsf` | exact | one pass | 2.5 | one pass | 2.0 | no | real |
    """
    rows = [_row(name, family, times or {}) for name, family in families.items()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (HEADINGS, ("---",) * len(HEADINGS), *rows))


def _row(name, family, times):
    flow = family(features=3, context=2, **SMALL)
    return (
        f"`{name}`",
        flow.exact,
        _cost(flow.bijector, inverse=False),
        _multiple(times, name, "density"),
        _cost(flow.bijector, inverse=True),
        _multiple(times, name, "sample"),
        "yes" if _takes_one(family) else "no",
        _words_of(flow.bijector.spec.domain),
    )


def _multiple(times, name, direction):
    """Return how many times as long as `UNIT`; a dash where nothing was measured."""
    if name not in times or UNIT not in times:
        return "-"
    multiple = times[name][direction] / times[UNIT][direction]
    return f"{multiple:.1f}" if multiple < 9.95 else f"{multiple:,.0f}"


def _cost(bijector, *, inverse):
    spec = bijector.spec
    word = spec.inverse if inverse else spec.forward
    if word == "iterative" and any(map(_one_by_one, layers_inside(bijector))):
        return "one by one, each solved"
    return {"analytic": "one pass", "sequential": "one by one", "iterative": "solved"}[word]


def _one_by_one(part):
    """Return True if a part finds one feature after the other in a direction that is solved."""
    return isinstance(part, Autoregressive | BlockAutoregressive) and part.spec.inverse == "iterative"


def _takes_one(family):
    try:
        family(features=1, context=2, **SMALL)
    except (ValueError, ContractError):
        return False
    return True


def _words_of(domain):
    return {"interval": "real", "circle": "angles in [-pi, pi)"}[domain.kind]
