"""Rows of a table that a flow excludes: commands skip and count them, or refuse them with --strict."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from typer import Option

from flowkit.app.failure import CommandError, say

Strict = Annotated[
    bool,
    Option(
        "--strict", help="Refuse a table with a wrong row, such as a word among numbers. Default: skip it."
    ),
]


def right_rows(
    wrong: Mapping[int, str],
    count: int,
    source: str,
    strict: bool,
    *,
    how: str = "skipped",
    all_wrong: bool = False,
) -> np.ndarray:
    """Return the places of the rows that are not among `wrong`, {row: its first wrong entry, in words}.

    Prints how many rows are skipped, and the first wrong entry. Raises a CommandError for a wrong row if `strict`, and
    if no row is left unless `all_wrong` is allowed.
    """
    from flowkit.data.typed_columns import refusal
    from flowkit.distributed import is_main

    if wrong:
        first = refusal(wrong)
        if strict or (len(wrong) == count and not all_wrong):
            raise CommandError(f"{source}: {first}")
        if is_main():
            rows = f"{len(wrong):,} of {count:,} rows are" if count > 1 else "1 of 1 rows is"
            say(f"{source}: {rows} {how}, the first: {first}")
    return np.setdiff1d(np.arange(count), list(wrong))
