"""The recipes and trained flows that come with flowkit, by name."""

import difflib
from collections.abc import Iterable
from pathlib import Path


def recipe_files() -> dict[str, Path]:
    """Name such as "glow/digits" -> path of the recipe."""
    folder = _zoo()
    return {_name(path.with_suffix(""), folder): path for path in sorted(folder.glob("*/*.toml"))}


def preset_folders() -> dict[str, Path]:
    """Name such as "glow/digits" -> folder of the trained flow; each is named after the recipe beside it."""
    folder = _zoo()
    return {_name(path.parent, folder): path.parent for path in sorted(folder.glob("*/*/metadata.json"))}


def closest(name: str, known: Iterable[str]) -> str:
    """The names that `name` may have meant, for a message, "the nearest are ...": all of them if none is near.

    >>> closest("nfs", ["nsf", "maf"]), closest("?", ["nsf", "maf"])
    ('the nearest is nsf', 'there are maf, nsf')
    """
    if near := difflib.get_close_matches(name, known, n=3, cutoff=0.4):
        return f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    return f"there are {', '.join(sorted(known))}"


def _zoo():
    """The folder `zoo` of the checkout, or of the wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "zoo"
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return package / "zoo" / "recipes"


def _name(path, folder):
    return path.relative_to(folder).as_posix()
