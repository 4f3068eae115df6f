"""Columns that are positive in the data and not in the samples: what to say in a recipe, so that they are."""

import inspect
import json
import re

import numpy as np

from flowkit import zoo
from flowkit.recipes.named_columns import by_place


def hint(recipe, data, samples, names):
    """A line that names the columns and the setting, or None if there are none, or the model has no `domains`.

    `data` and `samples` are (rows, columns). Columns whose domain the recipe gives are as they were asked for.
    """
    if "domains" not in inspect.signature(zoo.ARCHITECTURES[recipe.model["name"]]).parameters:
        return None
    told = _told(by_place(recipe.model.get("domains"), names))
    below = (np.asarray(samples) <= 0).sum(axis=0)
    columns = [
        int(place) for place in np.flatnonzero((data.min(axis=0) > 0) & (below > 0)) if int(place) not in told
    ]
    if not columns:
        return None
    shown = [repr(names[place]) if names is not None else str(place) for place in columns[:3]]
    more = f" and {len(columns) - 3} more" if columns[3:] else ""
    domains = told | dict.fromkeys(columns, "positive")
    listed = ", ".join(
        f"{_key(place, names)} = {json.dumps(domain)}" for place, domain in sorted(domains.items())
    )
    where = f"column {shown[0]}" if len(columns) == 1 else f"columns {', '.join(shown)}{more}"
    return (
        f"note: all data are above 0 in {where}, and {below[columns].max()} of {len(samples)} samples are not: "
        f"--set 'model.domains={{{listed}}}' keeps them there; for what comes round, such as hours, say "
        '["circular", 0, 24]'
    )


def _key(place, names):
    """The name of a column, if it may stand in TOML and in a shell as it is, or else its place."""
    name = str(place if names is None else names[place])
    return name if re.fullmatch(r"\w*[a-zA-Z]\w*", name, re.ASCII) else str(place)


def _told(domains):
    """What a recipe says of columns, place -> domain, without those that it leaves as they are."""
    pairs = domains.items() if isinstance(domains, dict) else enumerate(domains or [])
    return {int(place): domain for place, domain in pairs if domain != "real"}
