"""Columns of a table by their names in a recipe, where the zoo takes places."""

from collections.abc import Sequence
from typing import Any

from flowkit.recipes.schema import RecipeError


def by_place(domains: Any, names: Sequence[Any] | None) -> Any:
    """`domains` with each name of a column as its place; anything but a dict as it is.

    A number is a place, also in a table of names. Raises a RecipeError for a column that is not there.

    >>> by_place({"age": "positive", "2": [0, 1]}, ("name", "age", "share"))
    {1: 'positive', 2: [0, 1]}
    """
    if not isinstance(domains, dict):
        return domains
    places = {str(name): place for place, name in enumerate(names or ())}
    told: dict[int, Any] = {}
    for key, domain in domains.items():
        text = str(key)
        if not text.isdecimal() and text not in places:
            known = f"columns among {', '.join(map(repr, places))}"
            if not places:
                known = "places of columns, from 0, since the table has no names"
            raise RecipeError(f"model.domains: expected {known}, received {text!r}")
        place = int(text) if text.isdecimal() else places[text]
        if place in told:
            raise RecipeError(f"model.domains: expected each column once, received column {place} twice")
        told[place] = domain
    return told
