"""What a flow of a table begins with: each column onto the real line, and to mean 0 and deviation 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowkit.bijectors import Standardize, Unconstrain
from flowkit.bijectors.unconstrain import domain_of_column
from flowkit.contract import Domain, FlowLayer
from flowkit.contract.arguments import shown, whole_number


def table_front(
    *, features: int | None = None, domains: Any = None, standardize: bool = True
) -> list[FlowLayer]:
    """Return the bijectors that take the columns of a table as they come, to be put before other layers.

    - `domains`: what each column may be, "real", "positive" or (low, high), as for `flowkit.bijectors.Unconstrain`: a
      list of one for each column, or a dict {place: domain}, of which the others are real. None: all are real.
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
        refuse_angles(domains, features)
        unconstrain = Unconstrain(each_domain(domains, features))
        front += [] if unconstrain.spec.domain == Domain.REAL else [unconstrain]
    return [*front, Standardize()] if standardize else front


def angular_columns(domains: Any, features: int | None) -> list[bool]:
    """Return True if each column is circular; nothing for `domains` None. Raises what `table_front` does."""
    if domains is None:
        return []
    return [domain_of_column(d, i).kind == "circle" for i, d in enumerate(each_domain(domains, features))]


def refuse_angles(domains: Any, features: int | None) -> None:
    """Raise ValueError for a circular column, by its place; says who takes them."""
    circular = angular_columns(domains, features)
    if any(circular):
        raise ValueError(
            f"the domain of column {circular.index(True)}: expected an interval, received the circle, which no map "
            "takes onto the line. flowkit.zoo.nsf and nsf_autoregressive take circular columns beside others, "
            "circular_nsf angles alone."
        )


def each_domain(domains: Any, features: int | None) -> list[Any]:
    """Return the domain of each column, as a list. Raises what `table_front` does."""
    if isinstance(domains, Mapping):
        if features is None:
            raise ValueError("domains as a dict: expected features=, the number of columns, received None.")
        places = {
            whole_number(_place(place), "a column in domains", least=0, most=features - 1): d
            for place, d in domains.items()
        }
        return [places.get(place, "real") for place in range(features)]
    if isinstance(domains, str) or not isinstance(domains, Sequence):
        raise ValueError(
            "domains: expected a list of one for each column, such as ['real', 'positive', (0, 1)], or a dict "
            f"{{place: domain}}, received {shown(domains)}."
        )
    if features is not None and len(domains) != features:
        raise ValueError(f"domains: expected one for each of {features} columns, received {len(domains)}.")
    return list(domains)


def _place(told):
    """Return the place of a column, which a TOML file can tell only as text."""
    if not isinstance(told, str) or told.isdecimal():
        return int(told) if isinstance(told, str) else told
    raise ValueError(
        f"domains as a dict: expected the place of each column, from 0, received {told!r}: a flow learns the names of "
        "columns from its data, later. Of pandas, frame.columns.get_loc(name) is the place."
    )
