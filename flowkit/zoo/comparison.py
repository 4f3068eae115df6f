"""What each family of vectors can do, read off the specs of its parts: the table of docs/families.md."""

from collections.abc import Callable
from typing import Any

from flowkit.bijectors import Autoregressive, BlockAutoregressive, Inverse
from flowkit.contract import ContractError

HEADINGS = ("call", "log-likelihood", "density", "sampling", "one feature", "data")
SMALL = {"layers": 2, "hidden": [8]}  # the least that shows what a family is made of


def comparison(families: dict[str, Callable[..., Any]]) -> str:
    """A table in Markdown, a row for each family: what its flow's likelihood is, and what each direction costs.

    "one pass" asks each network once; "one by one" finds a feature after the other; a "solved" number is found to
    rounding by a search.

    >>> from flowkit.zoo import nsf
    >>> print(comparison({"nsf": nsf}).splitlines()[-1])
    | `nsf` | exact | one pass | one pass | no | real |
    """
    rows = [_row(name, family) for name, family in families.items()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (HEADINGS, ("---",) * len(HEADINGS), *rows))


def _row(name, family):
    flow = family(features=3, context=2, **SMALL)
    return (
        f"`{name}`",
        flow.exact,
        _cost(flow.bijector, inverse=False),
        _cost(flow.bijector, inverse=True),
        "yes" if _takes_one(family) else "no",
        _words_of(flow.bijector.spec.domain),
    )


def _cost(bijector, *, inverse):
    spec = bijector.spec
    word = spec.inverse if inverse else spec.forward
    if word == "iterative" and any(_one_by_one(part) for part in bijector.parts):
        return "one by one, each solved"
    return {"analytic": "one pass", "sequential": "one by one", "iterative": "solved"}[word]


def _one_by_one(part):
    """Whether a part finds one feature after the other in a direction that is solved."""
    inner = part.bijector if isinstance(part, Inverse) else part
    return isinstance(inner, Autoregressive | BlockAutoregressive) and inner.spec.inverse == "iterative"


def _takes_one(family):
    try:
        family(features=1, context=2, **SMALL)
    except (ValueError, ContractError):
        return False
    return True


def _words_of(domain):
    return {"interval": "real", "circle": "angles in [-pi, pi)"}[domain.kind]
