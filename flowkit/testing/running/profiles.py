"""How much of a bijector is checked: by which clauses, on how many examples."""

from dataclasses import dataclass

ESSENTIAL = ("round trip", "inverse round trip", "log-det", "inverse log-det")
"""What makes a map a bijector with a density."""


@dataclass(frozen=True)
class Profile:
    """`examples` for each clause and at most `events` shapes, if the caller names none.

    `clauses` are those checked, None for all. `thorough` takes an engine's compiler through all its stages.
    """

    examples: int
    events: int
    clauses: tuple[str, ...] | None = None
    thorough: bool = False


PROFILES = {
    "fast": Profile(examples=8, events=2, clauses=ESSENTIAL),
    "full": Profile(examples=25, events=3),
    "thorough": Profile(examples=200, events=12, thorough=True),
}


def profile_of(name):
    """The `Profile` of that name; "quick" is an older name of "full". Raises ValueError for another."""
    name = "full" if name == "quick" else name
    if name not in PROFILES:
        known = ", ".join(map(repr, PROFILES))
        raise ValueError(f"profile= expects one of {known}, received {name!r}.")
    return PROFILES[name]
