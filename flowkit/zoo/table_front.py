"""What a flow of a table begins with: each column onto the real line, and to mean 0 and deviation 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowkit.bijectors import Standardize, Unconstrain
from flowkit.bijectors.unconstrain import domain_of_column
from flowkit.contract import Domain, FlowLayer
from flowkit.contract.arguments import shown, whole_number


def table_front(
    *,
    features: int | None = None,
    domains: Sequence[Any] | Mapping[Any, Any] | None = None,
    standardize: bool = True,
) -> list[FlowLayer]:
    """Return the bijectors that take the columns of a table as they come, to be put before other layers.

    - `domains`: the domain of each column, "real", "positive" or (low, high), as for `flowkit.bijectors.Unconstrain`: a
      list of one for each column, or a dict {place: domain}; columns that it lacks are real. None: all are real.
    - `features`: how many columns there are; only a dict needs it.
    - `standardize`: to mean 0 and deviation 1, after that, by statistics of up to 10,000 rows of the data.

    Raises ValueError for domains that are none, for angles, whose circle no map takes onto the line, and for another
    number of domains than columns.

    >>> [type(part).__name__ for part in table_front(features=3, domains={1: "positive"})]
    ['Unconstrain', 'Standardize']
    """
    if features is not None:
        whole_number(features, "features", least=1)
    front: list[FlowLayer] = []
    if domains is not None:
        circular = angular_columns(domains, features)
        if any(circular):
            raise ValueError(
                f"the domain of column {circular.index(True)}: expected an interval, received the circle, which no map "
                "takes onto the line. flowkit.zoo.nsf and nsf_autoregressive take circular columns beside others, "
                "circular_nsf angles alone."
            )
        unconstrain = Unconstrain(each_domain(domains, features))
        front += [] if unconstrain.spec.domain == Domain.REAL else [unconstrain]
    return [*front, Standardize()] if standardize else front


def angular_columns(domains: Sequence[Any] | Mapping[Any, Any] | None, features: int | None) -> list[bool]:
    """Return True if each column is circular; nothing for `domains` None. Raises what `table_front` does."""
    if domains is None:
        return []
    return [domain_of_column(d, i).kind == "circle" for i, d in enumerate(each_domain(domains, features))]


def each_domain(
    domains: Sequence[Any] | Mapping[Any, Any] | None, features: int | None, names: Sequence[Any] = ()
) -> list[Any]:
    """Return the domain of each column, as a list; a dict may use `names` of columns. Raises what `table_front` does.

    >>> each_domain({"age": "positive", 2: (0, 1)}, 3, names=["age", "height", "share"])
    ['positive', 'real', (0, 1)]
    """
    if isinstance(domains, Mapping):
        if features is None:
            raise ValueError("domains as a dict: expected features=, the number or the names of the columns.")
        places = {_place(column, features, names): domain for column, domain in domains.items()}
        return [places.get(place, "real") for place in range(features)]
    if isinstance(domains, str) or not isinstance(domains, Sequence):
        raise ValueError(
            "domains: expected a list of one for each column, such as ['real', 'positive', (0, 1)], or a dict "
            f"{{place: domain}}, received {shown(domains)}."
        )
    if features is not None and len(domains) != features:
        raise ValueError(f"domains: expected one for each of {features} columns, received {len(domains)}.")
    return list(domains)


def _place(column, features, names):
    """Return the place of a column by its name, or by a number that is no name, which TOML files hold as text."""
    known = [str(name) for name in names]
    if str(column) in known:
        return known.index(str(column))
    if isinstance(column, str) and not column.isdecimal():
        wanted = f"columns among {', '.join(map(repr, known))}." if known else "places of columns, from 0."
        cure = "" if known else " To use names, give those of all columns: features=list(frame.columns)."
        raise ValueError(f"domains: got the column {column!r}, expected {wanted}{cure}")
    place = int(column) if isinstance(column, str) else column
    return whole_number(place, "a column in domains", least=0, most=features - 1)
