"""The recipes and trained flows that come with flowkit, by name."""

import difflib
from collections.abc import Iterable
from pathlib import Path

# The names in flowkit.zoo.ARCHITECTURES, for messages of a program that has not imported an engine.
FAMILIES = (
    *(
        "glow",
        "nsf",
        "nsf_autoregressive",
        "realnvp",
        "nice",
        "maf",
        "iaf",
        "naf",
        "bnaf",
        "umnn",
        "bernstein",
    ),
    *("sos", "gaussianization", "residual", "planar", "radial", "sylvester", "circular_nsf"),
)


def recipe_files() -> dict[str, Path]:
    """Return {name: path} of the recipes, such as "glow/digits", and "images" and "table" for data of one's own."""
    folder = _zoo()
    paths = [*sorted(folder.glob("*.toml")), *sorted(folder.glob("*/*.toml"))]
    return {_name(path.with_suffix(""), folder): path for path in paths}


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
